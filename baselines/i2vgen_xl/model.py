"""I2VGen-XL as a model of the bench."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from baselines.adapter import Noise, last, precision_of, truncated
from baselines.checkpoints import State, read_state
from baselines.i2vgen_xl.preprocess import clip_pixels, vae_pixels
from baselines.i2vgen_xl.sampler import Conditions, predict, trajectory, weigh_image_branch
from baselines.i2vgen_xl.settings import BEHAVIOURS, CARD, CLIP, UNET, UNET_OF_HUB, VAE, Behaviour, Settings
from baselines.lvdm.recipe import VOCABULARY
from baselines.modelscope.adapter import Adapter, both, made_ready
from baselines.modelscope.keys import to_diffusers
from baselines.modelscope.networks import TINY, Sizes, load_text, load_vae, load_vision
from baselines.modelscope.trunk import build_image_unet
from baselines.modelscope.unet import ImageUnet
from baselines.nn.stable_vae import decode, encode_sample
from baselines.settings import with_changes
from baselines.source import Source
from ti2v_bench.model import Frames, ModelOptions
from ti2v_bench.pictures import open_picture
from ti2v_bench.records import Pair

SMALL = Settings(height=64, width=112, frames=4, steps=4)
"""Settings that go with tiny networks: every path, no quality."""


@dataclass(kw_only=True)
class I2VGenXL(Adapter[Settings, ImageUnet]):
    """Turns a picture and a prompt into a wide video."""

    vision: CLIPVisionModelWithProjection
    name: str = CARD.name

    @property
    def behaviour(self) -> Behaviour:
        """The published reading that is followed."""
        return BEHAVIOURS[self.settings.behaviour]

    @torch.inference_mode()
    def generate_batch(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> list[Frames]:
        """One video per pair, (frames or one fewer, height, width, 3) uint8."""
        device, settings = self.unet.device, self.settings
        noise = Noise(seeds, device)
        pictures = [open_picture(pair.image) for pair in pairs]
        pixels = torch.cat([vae_pixels(picture, settings.width, settings.height) for picture in pictures])
        grid = (4, settings.height // 8, settings.width // 8)
        first = encode_sample(self.vae, pixels.to(device), noise(*grid), self.behaviour.latent_scale)
        start = noise(4, settings.frames, *grid[1:])
        conditions = self._conditions(pairs, pictures, first)

        def network(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
            return both(predict(self.unet, x, torch.full((), t, device=device), conditions))

        guidance = max(settings.guidance, self.behaviour.least_guidance)
        latents, _ = last(trajectory(network, start, settings.steps, guidance, self.behaviour.last_alpha))
        videos = [self._decoded(video) for video in latents]
        return [without_grey_end(video) if settings.drop_grey_end else video for video in videos]

    def _conditions(self, pairs: Sequence[Pair], pictures: Sequence[Image.Image], first: Tensor) -> Conditions:
        """Both guidance branches, the one with the prompt in front."""
        negative = self.settings.negative_prompt
        negative = self.behaviour.negative_prompt if negative is None else negative
        texts = self.read_text([*(pair.prompt for pair in pairs), negative])
        size = self.vision.config.image_size
        small = torch.cat([clip_pixels(picture, self.settings.width, size) for picture in pictures])
        embedded = self.vision(small.to(first.device)).image_embeds[:, None]
        return Conditions(
            text=torch.cat([texts[:-1], texts[-1:].expand(len(pairs), -1, -1)]),
            picture=torch.cat([embedded, torch.zeros_like(embedded)]),
            first=first,
            fps=torch.full((len(pairs),), self.settings.target_fps, device=first.device),
        )

    def _decoded(self, latents_CFHW: Tensor) -> Frames:
        frames = decode(
            self.vae, latents_CFHW.transpose(0, 1), self.settings.decode_at_once, self.behaviour.latent_scale
        )
        return truncated(frames)


def without_grey_end(frames: Frames) -> Frames:
    """Published: of several frames the last is dropped where more than 40 % of its values lie in 117..137."""
    last = frames[-1]
    grey = float(np.mean((last >= 117) & (last <= 137))) > 0.4
    return frames[:-1] if grey and len(frames) > 1 else frames


def load_unet(source: Source, settings: Settings, sizes: Sizes, dtype: torch.dtype) -> ImageUnet:
    """The network, from the official file or from the Hub's diffusers folder, with its image branch weighed."""

    hub = settings.behaviour == "hub"

    def published(path: Path) -> State:
        state = read_state(path)
        return state if hub else to_diffusers(state, sizes.trunk, image=True)

    unet = source.network(lambda: build_image_unet(sizes.trunk), UNET_OF_HUB if hub else UNET, dtype, published)
    weigh_image_branch(unet, BEHAVIOURS[settings.behaviour].image_factor)
    return unet


def build(options: ModelOptions, sizes: Sizes | None = None) -> I2VGenXL:
    """The model with published or random weights.

    Args:
        options: As from the command line.
        sizes: Of the networks; None: tiny for `random-tiny`, else as published.
    """
    tiny = options.weights == "random-tiny"
    sizes = sizes or (TINY if tiny else Sizes())
    settings = with_changes(SMALL if tiny else Settings(), options.settings)
    source = Source(options)
    unet = load_unet(source, settings, sizes, precision_of(options, CARD.precision))
    vae = load_vae(source, VAE, sizes, torch.float32)
    vision = load_vision(source, CLIP, sizes)
    read_text = load_text(source, CLIP, VOCABULARY, sizes)
    return I2VGenXL(
        settings=settings,
        unet=made_ready(unet, options),
        vae=vae,
        vision=vision,
        read_text=read_text,
        batch=options.batch,
        made_of=source.record(),
    )
