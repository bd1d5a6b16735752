"""Stable Diffusion's autoencoder: diffusers' class, CompVis' names, and the three ways it is used.

Shapes: N pictures or frames, H x W pixels, h x w latent cells (H / 8 at the published size).
Source of the names: CompVis/latent-diffusion ldm/modules/diffusionmodules/model.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

SCALE = 0.18215
"""What latents are multiplied with, in every model here that follows its official code."""
_PLACES = (
    ("mid.block_1.", "mid_block.resnets.0."),
    ("mid.block_2.", "mid_block.resnets.1."),
    ("mid.attn_1.norm.", "mid_block.attentions.0.group_norm."),
    ("mid.attn_1.q.", "mid_block.attentions.0.to_q."),
    ("mid.attn_1.k.", "mid_block.attentions.0.to_k."),
    ("mid.attn_1.v.", "mid_block.attentions.0.to_v."),
    ("mid.attn_1.proj_out.", "mid_block.attentions.0.to_out.0."),
    (".nin_shortcut.", ".conv_shortcut."),
    (".norm_out.", ".conv_norm_out."),
)
"""CompVis' and diffusers' names of the parts that do not depend on the size."""


@dataclass(frozen=True)
class VaeShape:
    """Sizes; the defaults are the published ones."""

    widths: tuple[int, ...] = (128, 256, 512, 512)
    """Channels per level, multiples of 32; every level but the last halves the size."""
    layers: int = 2
    """Residual blocks per level in the encoder; one more in the decoder."""


def build_vae(shape: VaeShape) -> AutoencoderKL:
    """The autoencoder without weights, in evaluation mode."""
    levels = len(shape.widths)
    vae: AutoencoderKL = AutoencoderKL(
        latent_channels=4,
        block_out_channels=shape.widths,
        layers_per_block=shape.layers,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        scaling_factor=SCALE,
    ).eval()
    return vae


def from_compvis(state: Mapping[str, Tensor], shape: VaeShape) -> dict[str, Tensor]:
    """A CompVis state dict (without `first_stage_model.`) under diffusers' names.

    Kernel-1 convolutions of the attention, (O, I, 1, 1), become matrices.
    """
    pairs = [*_PLACES, *_levels(shape)]
    return {
        _replaced(key, pairs): value[..., 0, 0] if ".attn_1." in key and value.ndim == 4 else value
        for key, value in state.items()
    }


def to_compvis(state: Mapping[str, Tensor], shape: VaeShape) -> dict[str, Tensor]:
    """The inverse of `from_compvis`: a state dict laid out as CompVis' checkpoints are."""
    pairs = [(ours, theirs) for theirs, ours in [*_PLACES, *_levels(shape)]]
    return {
        _replaced(key, pairs): value[..., None, None] if ".attentions." in key and value.ndim == 2 else value
        for key, value in state.items()
    }


def encode_mean(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """Scaled mean of the posterior.

    Args:
        vae: The autoencoder.
        pixels: (N, 3, H, W) in [-1, 1].

    Returns:
        (N, 4, h, w) in the autoencoder's type.
    """
    return SCALE * _moments(vae, pixels)[0]


def encode_sample(vae: AutoencoderKL, pixels: Tensor, noise: Tensor, scale: float = SCALE) -> Tensor:
    """A scaled sample of the posterior, with standard normal `noise`, (N, 4, h, w)."""
    mean, log_variance = _moments(vae, pixels)
    return scale * (mean + torch.exp(0.5 * log_variance.clamp(-30, 20)) * noise.to(mean))


def decode(vae: AutoencoderKL, latents: Tensor, at_once: int | None = None, scale: float = SCALE) -> Tensor:
    """Frames of scaled latents, (N, 3, H, W), about [-1, 1] and not clamped.

    Args:
        vae: The autoencoder.
        latents: (N, 4, h, w).
        at_once: Frames per call, against memory; None decodes all together.
        scale: What the latents were multiplied with.
    """
    parts = torch.split(latents.to(vae.dtype) / scale, at_once or len(latents))
    return torch.cat([vae.decode(part, return_dict=False)[0] for part in parts])


def _moments(vae: AutoencoderKL, pixels: Tensor) -> tuple[Tensor, Tensor]:
    moments: Tensor = vae.quant_conv(vae.encoder(pixels.to(vae.dtype)))
    mean, log_variance = moments.chunk(2, dim=1)
    return mean, log_variance


def _levels(shape: VaeShape) -> list[tuple[str, str]]:
    pairs = []
    last = len(shape.widths) - 1
    for level in range(last + 1):
        down, up = f"encoder.down_blocks.{level}.", f"decoder.up_blocks.{last - level}."
        pairs += [(f"encoder.down.{level}.block.", f"{down}resnets."), (f"decoder.up.{level}.block.", f"{up}resnets.")]
        pairs += [
            (f"encoder.down.{level}.downsample.", f"{down}downsamplers.0."),
            (f"decoder.up.{level}.upsample.", f"{up}upsamplers.0."),
        ]
    return pairs


def _replaced(key: str, pairs: list[tuple[str, str]]) -> str:
    """Apply every pair whose first name occurs; the names of different parts never overlap."""
    done = key
    for old, new in pairs:
        if old in key:
            done = done.replace(old, new)
    return done
