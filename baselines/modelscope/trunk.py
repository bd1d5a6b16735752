"""The trunk of ModelScope text-to-video at any size.

Shapes: B clips, C latent channels, F frames, H x W latent cells. Sizes of the published networks are the defaults.
"""

from dataclasses import dataclass
from typing import TypeVar

import torch
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor, nn

from baselines.modelscope.blocks import with_our_blocks
from baselines.modelscope.unet import ImageUnet, TextUnet
from baselines.nn.final_norm import FinalNorm

Unet = TypeVar("Unet", bound=nn.Module)

LATENT_CHANNELS = 4
"""Channels of Stable Diffusion's latents."""


@dataclass(frozen=True)
class TrunkShape:
    """Sizes of one network of the family; the defaults are the published ones of all three models."""

    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    """Channels per level, multiples of 32 (the groups of every norm)."""
    layers: int = 2
    """Residual blocks per level on the way down; one more on the way up."""
    context: int = 1024
    """Width of the text states."""
    head_dim: int = 64
    attention: tuple[bool, ...] = (True, True, True, False)
    """Which levels have spatial and temporal transformers."""
    input_heads: int = 8
    """Heads of the temporal transformer behind the first convolution; its width is `input_heads * head_dim`."""
    picture: int = 1024
    """Width of the picture's embedding; I2VGen-XL only."""

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.attention):
            raise ValueError(f"{len(self.widths)} widths and {len(self.attention)} attention flags differ in number")


class Sinusoid(nn.Module):
    """Timestep (or strength, or frame rate) to `[cos, sin]`, in float32 as published.

    Source: `sinusoidal_embedding` of ali-vilab/VGen@4014d1f tools/modules/unet/util.py: `10000^(-i/half)` is a power,
    where diffusers takes the exponential of a logarithm: 6e-5 apart at t = 999.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, value_B: Tensor) -> Tensor:
        """(B,) of any number type to (B, width) float32."""
        half = self.width // 2
        value_B = value_B.float()
        rate = torch.pow(10000, -torch.arange(half, device=value_B.device).to(value_B).div(half))
        angle = torch.outer(value_B, rate)
        return torch.cat([angle.cos(), angle.sin()], dim=1)


def build_text_unet(shape: TrunkShape, in_channels: int = LATENT_CHANNELS, strength: bool = False) -> TextUnet:
    """The text-to-video network.

    Args:
        shape: Sizes.
        in_channels: 4, or 5 with AnimateAnything's mask in front.
        strength: Whether the time embedding takes a second sinusoid (AnimateAnything's motion strength).
    """
    unet = TextUnet(
        in_channels=in_channels,
        out_channels=LATENT_CHANNELS,
        time_cond_proj_dim=shape.widths[0] if strength else None,
        **_sizes(shape),
    )
    if not strength:  # AnimateAnything was trained and published in diffusers, with diffusers' rounding
        unet.time_proj = Sinusoid(shape.widths[0])
    return _settled(unet, shape)


def build_image_unet(shape: TrunkShape) -> ImageUnet:
    """I2VGen-XL's network: the trunk with an image branch, image tokens and a frame-rate embedding."""
    unet = ImageUnet(in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS, **_sizes(shape))
    unet.time_proj = Sinusoid(shape.widths[0])
    if shape.picture != shape.context:  # diffusers takes them for equal, as they are in the published network
        unet.context_embedding[0] = nn.Linear(shape.picture, unet.context_embedding[0].out_features)
    return _settled(unet, shape)


def _sizes(shape: TrunkShape) -> dict[str, object]:
    down = tuple("CrossAttnDownBlock3D" if attention else "DownBlock3D" for attention in shape.attention)
    up = tuple("CrossAttnUpBlock3D" if attention else "UpBlock3D" for attention in reversed(shape.attention))
    return {
        "block_out_channels": shape.widths,
        "layers_per_block": shape.layers,
        "cross_attention_dim": shape.context,
        "attention_head_dim": shape.head_dim,
        "down_block_types": down,
        "up_block_types": up,
    }


def _settled(unet: Unet, shape: TrunkShape) -> Unet:
    """With our blocks, and with an input transformer that fits: diffusers gives it 8 heads whatever the sizes."""
    if shape.input_heads != 8:
        unet.transformer_in = TransformerTemporalModel(shape.input_heads, shape.head_dim, in_channels=shape.widths[0])
    with_our_blocks(unet)
    unet.conv_norm_out.__class__ = FinalNorm  # and SiLU, which diffusers applies by itself
    return unet.eval()
