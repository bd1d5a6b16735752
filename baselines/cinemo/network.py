"""Cinemo's U-Net: the LaVie network on motion residuals around one image latent."""

import torch
from torch import Tensor

from baselines.diffusers_config import ConfigError, Published
from baselines.lavie.config import LavieConfig
from baselines.lavie.unet import LavieUNet
from baselines.nn.embedding import EmbeddingMLP, sinusoid


class CinemoUNet(LavieUNet):
    """Predicts the noise in the differences between the frames and the image."""

    def __init__(self, config: LavieConfig, motion_width: int = 256) -> None:
        super().__init__(config)
        self.motion_width = motion_width
        self.add_embedding = EmbeddingMLP(motion_width, 4 * config.channels[0])

    def forward(  # type: ignore[override]
        self, sample: Tensor, timestep: Tensor, text: Tensor, base: Tensor, motion: Tensor
    ) -> Tensor:
        """Predict the noise.

        Args:
            sample: (B, 4, F, H, W) noisy differences of frames 2 .. F + 1 from the image latent.
            timestep: (B,) steps of the diffusion process, 0..999.
            text: (k B, M, D) text states of k guidance branches, one after another.
            base: (B, 4, 1, H, W) scaled latent of the image; it becomes frame 0, without noise.
            motion: (B,) motion value as the network was trained on it: larger means less motion.

        Returns:
            (k B, 4, F, H, W).
        """
        embedding = self.embed_step(timestep) + self.embed_motion(motion)
        clip = torch.cat([base, base + sample], dim=2)
        return self.denoise(clip, embedding, text)[:, :, 1:]

    def embed_motion(self, motion: Tensor) -> Tensor:
        """(B,) -> (B, E); the sinusoid is float32 at any precision."""
        embedded: Tensor = self.add_embedding(sinusoid(motion, self.motion_width).to(self.dtype))
        return embedded


def read_motion_width(published: Published) -> int:
    """Width of the motion value's sinusoid in a published `config.json`.

    Raises:
        ConfigError: the configuration has no motion embedding, or one of another kind.
    """
    kind, width = published.get("addition_embed_type"), published.get("addition_time_embed_dim")
    if kind != "motion_ids" or not isinstance(width, int):
        raise ConfigError(
            f"addition_embed_type {kind!r} of width {width!r} in the published configuration; expected 'motion_ids'"
        )
    return width
