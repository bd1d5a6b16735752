"""Cinemo's autoencoder: Stable Video Diffusion's, whose decoder looks at the frames of a chunk together.

The encoder runs in float64 and the decoder in the network's precision, as published.
"""

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKLTemporalDecoder
from torch import Tensor

from baselines.diffusers_config import Published, require
from baselines.nn.stable_vae import SCALE


@dataclass(frozen=True)
class TemporalVaeShape:
    """Sizes; the defaults are Stable Video Diffusion's (assumed: the published config.json could not be seen)."""

    widths: tuple[int, ...] = (128, 256, 512, 512)
    layers: int = 2

    def config(self) -> dict[str, object]:
        """As in a published `config.json`."""
        return {
            "block_out_channels": list(self.widths),
            "down_block_types": ["DownEncoderBlock2D"] * len(self.widths),
            "layers_per_block": self.layers,
            "latent_channels": 4,
            "in_channels": 3,
            "out_channels": 3,
            "scaling_factor": SCALE,
        }


def build_temporal_vae(shape: TemporalVaeShape) -> AutoencoderKLTemporalDecoder:
    """The autoencoder without weights, in evaluation mode."""
    vae: AutoencoderKLTemporalDecoder = AutoencoderKLTemporalDecoder(**shape.config()).eval()
    return vae


def check_config(published: Published, shape: TemporalVaeShape) -> None:
    """Refuse a `config.json` of another autoencoder.

    Raises:
        ConfigError: names the first field that differs.
    """
    require(published, shape.config())


def split_precision(vae: AutoencoderKLTemporalDecoder, decoder: torch.dtype) -> None:
    """The encoder in float64, the decoder in its own precision; made from the same stored weights."""
    vae.encoder.double()
    vae.quant_conv.double()
    vae.decoder.to(decoder)


def encode_base(vae: AutoencoderKLTemporalDecoder, pictures: Tensor, noise: Tensor) -> Tensor:
    """Scaled samples of the posterior as base frames.

    Args:
        vae: after `split_precision`.
        pictures: (B, 3, H, W) in [-1, 1].
        noise: (B, 4, h, w) float64.

    Returns:
        (B, 4, 1, h, w) float64.
    """
    posterior = vae.encode(pictures.double()).latent_dist
    latents: Tensor = (posterior.mean + posterior.std * noise) * SCALE
    return latents[:, :, None]


def decode_clip(vae: AutoencoderKLTemporalDecoder, latents: Tensor, at_once: int) -> Tensor:
    """Frames of one clip's unscaled latents (F, 4, h, w), in chunks: (F, 3, H, W)."""
    chunks = torch.split(latents, at_once)
    return torch.cat([vae.decode(chunk, num_frames=len(chunk), return_dict=False)[0] for chunk in chunks])
