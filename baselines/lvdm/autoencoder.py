"""The Stable Diffusion autoencoder in diffusers' class, from weights under CompVis' key names."""

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from baselines.checkpoints import State, renamed
from baselines.lvdm.settings import AutoencoderSettings


def autoencoder(settings: AutoencoderSettings) -> AutoencoderKL:
    """The network; its key names are diffusers'."""
    levels = len(settings.channel_mult)
    return AutoencoderKL(
        block_out_channels=tuple(settings.channels * mult for mult in settings.channel_mult),
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=settings.num_res_blocks,
        latent_channels=settings.latent_channels,
        norm_num_groups=32,
    )


def diffusers_keys(state: State, levels: int) -> dict[str, Tensor]:
    """CompVis' keys (`encoder.down.0.block.1.nin_shortcut…`) as diffusers names them; 1x1 convolutions of the attention
    become linear layers.

    Args:
        state: the part of a checkpoint below `first_stage_model.`.
        levels: number of resolutions; the decoder's levels count the other way round.
    """
    up = [(rf"^decoder\.up\.{i}\.", f"decoder.up_blocks.{levels - 1 - i}.") for i in range(levels)]
    pairs = [
        *up,
        (r"^encoder\.down\.(\d+)\.", r"encoder.down_blocks.\1."),
        (r"\.(down|up)sample\.conv\.", r".\1samplers.0.conv."),
        (r"\.block\.(\d+)\.", r".resnets.\1."),
        (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
        (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
        (r"\.mid\.attn_1\.norm\.", ".mid_block.attentions.0.group_norm."),
        (r"\.mid\.attn_1\.([qkv])\.", r".mid_block.attentions.0.to_\1."),
        (r"\.mid\.attn_1\.proj_out\.", ".mid_block.attentions.0.to_out.0."),
        (r"\.nin_shortcut\.", ".conv_shortcut."),
        (r"\.norm_out\.", ".conv_norm_out."),
    ]
    return {
        key: value.flatten(1) if ".attentions." in key and value.ndim == 4 else value
        for key, value in renamed(state, pairs).items()
    }


def encode(network: AutoencoderKL, pictures: Tensor, noise: Tensor, scale: float) -> Tensor:
    """A sample of the latents' distribution.

    Args:
        network: the autoencoder.
        pictures: (N, 3, H, W) in [-1, 1].
        noise: standard normal, (N, 4, H / 8, W / 8); official code draws it, rather than taking the mean.
        scale: what latents are multiplied with to have unit variance.

    Returns:
        (N, 4, H / 8, W / 8) in the pictures' dtype.
    """
    distribution = network.encode(pictures).latent_dist
    latent: Tensor = scale * (distribution.mean + distribution.std * noise)
    return latent


def decode(network: AutoencoderKL, latents: Tensor, scale: float, at_once: int = 1) -> Tensor:
    """Pictures of latents, some frames at a time, which bounds the memory.

    Args:
        network: the autoencoder.
        latents: (N, 4, h, w), any float type.
        scale: as in `encode`.
        at_once: frames per call; the official scripts decode one by one.

    Returns:
        (N, 3, 8h, 8w), about [-1, 1].
    """
    latents = (latents / scale).to(network.dtype)
    return torch.cat([network.decode(part).sample for part in torch.split(latents, at_once)])
