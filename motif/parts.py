"""The networks that MotiF computes with: the widened UNet, and VideoCrafter2's frozen autoencoder and text tower."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from baselines.checkpoints import (
    below,
    build,
    fetch,
    is_random,
    random_state,
    read_state,
    weight_record,
)
from baselines.lvdm.recipe import VOCABULARY
from baselines.lvdm.settings import UNetSettings
from baselines.lvdm.tokenizer import Tokenizer, byte_tokenizer, load_tokenizer
from baselines.lvdm.unet import UNet
from baselines.nn.openclip import TextShape, build_text, text_from_openclip
from baselines.nn.stable_vae import VaeShape, build_vae, decode, encode_mean, encode_sample, from_compvis
from motif.image_tokens import ImageTokens, load_image_tokens
from motif.network import widened
from motif.settings import BASE, MotifSettings

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from transformers import CLIPTextModel

_Module = TypeVar("_Module", bound=nn.Module)
_AT_ONCE = 8
"""Frames per call of the autoencoder."""


@dataclass(frozen=True)
class Encoders:
    """What stays frozen in training."""

    autoencoder: "AutoencoderKL"
    text: "CLIPTextModel"
    tokenizer: Tokenizer
    records: tuple[Mapping[str, object], ...]
    """What a sidecar says of the files."""
    tokens: ImageTokens | None = None
    """Only where the network attends to the image."""

    @property
    def device(self) -> torch.device:
        """Where they live."""
        found: torch.device = next(self.text.parameters()).device
        return found

    @torch.no_grad()
    def context(self, prompts: Sequence[str], pictures: Tensor) -> Tensor:
        """What the network attends to: text tokens (B, 77, D) and, where it wants them, the image's after them.

        Args:
            prompts: one per picture.
            pictures: (B, 3, H, W) in [-1, 1]; zeros stand for no image.
        """
        tokens: Tensor = self.text(self.tokenizer(prompts).to(self.device)).last_hidden_state
        return tokens if self.tokens is None else torch.cat([tokens, self.tokens(pictures)], dim=1)

    @torch.no_grad()
    def latents(self, video: Tensor, noise: Tensor | None = None) -> Tensor:
        """Scaled latents of (B, 3, F, H, W) in [-1, 1]: (B, 4, F, h, w) float32.

        Samples of the posterior with this `noise` (B, 4, F, h, w); its mean where None.
        """
        clips, frames = video.shape[0], video.shape[2]
        pixels = torch.split(video.transpose(1, 2).flatten(0, 1), _AT_ONCE)
        if noise is None:
            parts = [encode_mean(self.autoencoder, part) for part in pixels]
        else:
            noises = torch.split(noise.to(self.device).transpose(1, 2).flatten(0, 1), _AT_ONCE)
            parts = [encode_sample(self.autoencoder, *both) for both in zip(pixels, noises, strict=True)]
        return torch.unflatten(torch.cat(parts), 0, (clips, frames)).transpose(1, 2).float()

    def latent_shape(self, video: Tensor) -> tuple[int, int, int, int]:
        """(4, F, h, w) of one clip of `video` (B, 3, F, H, W)."""
        cell = 2 ** (len(self.autoencoder.config.block_out_channels) - 1)
        return 4, video.shape[2], video.shape[3] // cell, video.shape[4] // cell

    @torch.no_grad()
    def pixels(self, latents: Tensor) -> Tensor:
        """(B, 4, F, h, w) to (B, 3, F, H, W) in [-1, 1]."""
        flat = decode(self.autoencoder, latents.transpose(1, 2).flatten(0, 1), _AT_ONCE).clamp(-1, 1)
        return torch.unflatten(flat, 0, (latents.shape[0], latents.shape[2])).transpose(1, 2)


def tiny(settings: MotifSettings) -> MotifSettings:
    """The same with a toy network and small frames."""
    unet = UNetSettings(
        model_channels=64, channel_mult=(1, 1), num_res_blocks=1, attention_resolutions=(1,), num_head_channels=32,
        context_dim=32,
    )  # fmt: skip
    return replace(settings, unet=unet, frames=4, height=64, width=64, tiny=True)


def load_encoders(settings: MotifSettings, weights: str | None, dtype: torch.dtype, device: str) -> Encoders:
    """Autoencoder and text tower of VideoCrafter2.

    Args:
        settings: says whether they are tiny.
        weights: None for the published file, a file or folder, `random-tiny` or `random-full`.
        dtype: of both.
        device: where they live.

    Raises:
        CheckpointError: a file is absent or not the expected one.
    """
    vae = VaeShape((32, 32, 32, 32), 1) if settings.tiny else VaeShape()
    text = TextShape(settings.unet.context_dim, 2, 2) if settings.tiny else TextShape()

    def made(factory: Callable[[], _Module], state: Mapping[str, Tensor] | None) -> _Module:
        state = random_state(factory, 0) if state is None else state
        return build(factory, state, expected=BASE, dtype=dtype, device=device)

    wanted = settings.conditioning != "x-cat"
    tokens = load_image_tokens(weights, settings.tiny, dtype, device) if wanted else None
    if is_random(weights):
        record = {"random": weights, "seed": 0}
        return Encoders(
            made(lambda: build_vae(vae), None),
            made(lambda: build_text(text), None),
            byte_tokenizer(),
            (record,),
            tokens,
        )
    path = fetch(BASE, weights)
    state = read_state(path)
    folder = weights if weights is not None and Path(weights).is_dir() else None
    vocabulary = fetch(VOCABULARY, folder)
    return Encoders(
        made(lambda: build_vae(vae), from_compvis(below(state, "first_stage_model."), vae)),
        made(lambda: build_text(text), text_from_openclip(below(state, "cond_stage_model.model."), text)),
        load_tokenizer(vocabulary),
        (weight_record(BASE, path), weight_record(VOCABULARY, vocabulary), *([tokens.record] if tokens else [])),
        tokens,
    )


def start_state(settings: MotifSettings, weights: str | None) -> dict[str, Tensor]:
    """The UNet that training begins from: VideoCrafter2's, widened; keys as the network names them.

    Raises:
        CheckpointError: a file is absent or not the expected one.
    """
    if is_random(weights):
        base = random_state(lambda: UNet(settings.unet), 0)
    else:
        base = below(read_state(fetch(BASE, weights)), "model.diffusion_model.")
    return widened(base, settings.network())


def build_unet(settings: MotifSettings, state: Mapping[str, Tensor], dtype: torch.dtype, device: str) -> UNet:
    """The UNet with these weights; strict."""
    return build(lambda: UNet(settings.network()), state, expected=BASE, dtype=dtype, device=device)


def to_json(settings: MotifSettings) -> dict[str, object]:
    """Settings as JSON; `from_json` gives them back."""
    return asdict(settings)


def from_json(content: Mapping[str, Any]) -> MotifSettings:
    """Settings that `to_json` wrote.

    Raises:
        KeyError, TypeError: another form.
    """
    unet: Any = {key: tuple(v) if isinstance(v, list) else v for key, v in content["unet"].items()}
    rest: Any = {key: value for key, value in content.items() if key != "unet"}
    return MotifSettings(**rest, unet=UNetSettings(**unet))
