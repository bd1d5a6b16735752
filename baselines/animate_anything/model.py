"""AnimateAnything as a model of the bench."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from baselines.adapter import Noise, last, precision_of, truncated
from baselines.animate_anything.checkpoint import (
    Spacing,
    check_configurations,
    load_text,
    load_unet,
    load_vae,
    read_spacing,
)
from baselines.animate_anything.network import predict_guided
from baselines.animate_anything.preprocess import frame_size, mask_latent, mask_pixels, picture_pixels
from baselines.animate_anything.settings import CARD, Settings
from baselines.animate_anything.solver import Schedule, schedule, solve, start
from baselines.modelscope.adapter import Adapter, made_ready
from baselines.modelscope.networks import TINY, Sizes
from baselines.modelscope.unet import TextUnet
from baselines.nn.stable_vae import decode, encode_mean
from baselines.settings import SettingsError, with_changes
from baselines.source import Source
from ti2v_bench.model import Frames, ModelOptions
from ti2v_bench.pictures import open_picture
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


@dataclass(kw_only=True)
class AnimateAnything(Adapter[Settings, TextUnet]):
    """Turns a picture and a prompt into frames of the picture's aspect."""

    plan: Schedule
    spacing: Spacing
    """What the checkpoint says of timesteps, for the sidecar."""
    name: str = CARD.name

    @torch.inference_mode()
    def generate_batch(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> list[Frames]:
        """One video per pair; pictures of one size share the network's calls."""
        prepared = [prepare(open_picture(pair.image), self.settings) for pair in pairs]
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
        states = self.read_text(["", *prompts]).to(self.unet.dtype)
        texts = (states[:1].expand(len(prompts), -1, -1), states[1:])
        mask = torch.cat([one.mask for one in prepared]).to(device)
        strength = torch.tensor([one.strength for one in prepared], device=device)

        def network(x: Tensor, t: int) -> Tensor:
            step = torch.full((), t, device=device)
            return predict_guided(self.unet, x, step, texts, first, mask, strength, self.settings.guidance)

        drawn = noise(first.shape[1], self.settings.frames, *first.shape[3:])
        latents = last(solve(network, start(first.expand_as(drawn), drawn, self.plan.sigmas[0]), self.plan))
        frames = decode(self.vae, latents.transpose(1, 2).flatten(0, 1), at_once=4)  # frames do not meet here; memory
        return [truncated(video) for video in torch.unflatten(frames, 0, (len(prepared), -1))]

    def provenance(self) -> Mapping[str, object]:
        """What the sidecar says of this model."""
        return {**super().provenance(), "checkpoint_spacing": self.spacing.name}


def prepare(picture: Image.Image, settings: Settings) -> Prepared:
    """Size, pixels, mask and strength of one picture."""
    height, width = frame_size(picture.width, picture.height, settings.area, settings.iteration + 1)
    pixels = mask_pixels(Image.open(settings.mask) if settings.mask else None, height, width)
    if settings.strength_rule == "app" and not pixels.any():
        pixels[:] = 255  # Published, in the app only: nothing drawn means everything.
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
    _check_mask(settings.mask)
    source, dtype = Source(options), precision_of(options, CARD.precision)
    check_configurations(source, sizes)
    unet = load_unet(source, sizes, dtype)
    vae, read_text = load_vae(source, sizes, dtype), load_text(source, sizes, dtype)
    spacing = read_spacing(source)
    return AnimateAnything(
        settings=settings,
        unet=made_ready(unet, options),
        vae=vae,
        read_text=read_text,
        plan=_plan(settings, spacing),
        spacing=spacing,
        batch=options.batch,
        made_of=source.record(),
    )


def _check_mask(path: Path | None) -> None:
    """Raise a SettingsError now where otherwise every pair would fail."""
    if path is None:
        return
    try:
        with Image.open(path) as mask:
            mask.load()
    except OSError as error:
        raise SettingsError(f"Setting mask={str(path)!r} is no picture that can be read: {error}.") from error


def _plan(settings: Settings, published: Spacing) -> Schedule:
    name = published.name if settings.spacing == "checkpoint" else settings.spacing
    try:
        return schedule(settings.steps, name, published.offset)
    except ValueError as error:
        raise SettingsError(f"These settings do not fit together: {error}.") from error
