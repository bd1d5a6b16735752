"""AnimateAnything as a model of the bench."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
from PIL import Image
from torch import Tensor

from baselines.adapter import Noise, precision_of, settings_record
from baselines.animate_anything.checkpoint import Spacing, load_text, load_unet, load_vae, read_spacing
from baselines.animate_anything.network import predict
from baselines.animate_anything.preprocess import frame_size, mask_latent, mask_pixels, picture_pixels
from baselines.animate_anything.settings import CARD, Settings
from baselines.animate_anything.solver import schedule, solve, start
from baselines.fast import speed_up
from baselines.modelscope.adapter import ReadText, as_frames, both
from baselines.modelscope.blocks import BLOCKS, join_projections
from baselines.modelscope.networks import TINY, Sizes
from baselines.nn.stable_vae import decode, encode_mean
from baselines.sampling.guidance import guided
from baselines.settings import with_changes
from baselines.source import Source
from ti2v_bench.model import Frames, ModelOptions
from ti2v_bench.records import Pair

SMALL = Settings(area=64 * 64, frames=4, steps=3)
"""Settings that go with tiny networks: every path, no quality."""


@dataclass(frozen=True)
class Prepared:
    """One pair, ready for the network."""

    pixels: Tensor
    """(1, 3, H, W) in [-1, 1]."""
    mask: Tensor
    """(1, 1, 1, H/8, W/8), 1 where it may move."""
    strength: float
    """Motion strength."""


@dataclass
class AnimateAnything:
    """Turns a picture and a prompt into frames of the picture's aspect."""

    settings: Settings
    unet: UNet3DConditionModel
    vae: AutoencoderKL
    read_text: ReadText
    spacing: Spacing = field(default_factory=Spacing)
    batch: int = 1
    made_of: object = None
    """Weights for the sidecar."""
    name: str = CARD.name

    @property
    def fps(self) -> int:
        """Frame rate of the video."""
        return self.settings.fps

    def generate(self, pair: Pair, seed: int) -> Frames:
        """One video."""
        return self.generate_batch([pair], [seed])[0]

    @torch.inference_mode()
    def generate_batch(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> list[Frames]:
        """One video per pair; pictures of one size share the network's calls."""
        prepared = [prepare(Image.open(pair.image), self.settings) for pair in pairs]
        by_size: dict[tuple[int, ...], list[int]] = {}
        for index, one in enumerate(prepared):
            by_size.setdefault(tuple(one.pixels.shape), []).append(index)
        videos: dict[int, Frames] = {}
        for members in by_size.values():
            prompts = [pairs[index].prompt for index in members]
            noise = Noise([seeds[index] for index in members], self.unet.device)
            made = self._animate([prepared[index] for index in members], prompts, noise)
            videos |= dict(zip(members, made, strict=True))
        return [videos[index] for index in range(len(pairs))]

    def _animate(self, prepared: Sequence[Prepared], prompts: Sequence[str], noise: Noise) -> list[Frames]:
        device = self.unet.device
        first = encode_mean(self.vae, torch.cat([one.pixels for one in prepared]).to(device)).float()[:, :, None]
        texts = self.read_text(["", *prompts])
        context = torch.cat([texts[:1].expand(len(prompts), -1, -1), texts[1:]]).to(self.unet.dtype)
        mask = torch.cat([one.mask for one in prepared]).to(device).repeat(2, 1, 1, 1, 1)
        strength = torch.tensor([one.strength for one in prepared], device=device).repeat(2)
        twice = first.repeat(2, 1, 1, 1, 1)

        def network(x: Tensor, t: int) -> Tensor:
            step = torch.tensor(t, device=device)
            predicted = predict(self.unet, torch.cat([x, x]), step, context, twice, mask, strength)
            without, with_prompt = both(predicted)
            return guided(with_prompt, without, self.settings.guidance)

        drawn = noise(first.shape[1], self.settings.frames, *first.shape[3:])
        spacing = self.spacing.name if self.settings.spacing == "checkpoint" else self.settings.spacing
        plan = schedule(self.settings.steps, spacing, self.spacing.offset)
        *_, latents = solve(network, start(first.expand_as(drawn), drawn, plan.sigmas[0]), plan)
        frames = decode(self.vae, latents.transpose(1, 2).flatten(0, 1), at_once=4)  # frames do not meet here; memory
        return as_frames(torch.unflatten(frames, 0, (len(prepared), -1)))

    def provenance(self) -> Mapping[str, object]:
        """What the sidecar says of this model."""
        return {
            "settings": settings_record(self.settings),
            "weights": self.made_of,
            "precision": str(self.unet.dtype).removeprefix("torch."),
            "device": str(self.unet.device),
            "checkpoint_spacing": self.spacing.name,
        }


def prepare(picture: Image.Image, settings: Settings) -> Prepared:
    """Size, pixels, mask and strength of one picture."""
    height, width = frame_size(picture.width, picture.height, settings.area, settings.iteration + 1)
    pixels = mask_pixels(Image.open(settings.mask) if settings.mask else None, height, width)
    mask = mask_latent(pixels)
    return Prepared(picture_pixels(picture, height, width), mask, _strength(settings, float(mask.mean())))


def _strength(settings: Settings, share: float) -> float:
    """The strength asked for, or by one of the two published rules; `share` is the mask's mean."""
    if settings.strength is not None:
        return settings.strength
    return settings.iteration + 3 if settings.strength_rule == "eval" else settings.slider * share


def build(options: ModelOptions, sizes: Sizes | None = None) -> AnimateAnything:
    """The model with published or random weights.

    Args:
        options: As from the command line.
        sizes: Of the networks; None: tiny for `random-tiny`, else as published.
    """
    tiny = options.weights == "random-tiny"
    sizes = sizes or (TINY if tiny else Sizes())
    settings = with_changes(SMALL if tiny else Settings(), options.settings)
    source, dtype = Source(options), precision_of(options, CARD.precision)
    unet = load_unet(source, sizes, dtype)
    vae, read_text = load_vae(source, sizes, dtype), load_text(source, sizes, dtype)
    spacing = read_spacing(source)
    join_projections(unet)
    if options.fast:
        speed_up(unet, BLOCKS, options.compile_cache)
    return AnimateAnything(settings, unet, vae, read_text, spacing, options.batch, source.record())
