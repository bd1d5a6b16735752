"""ConsistI2V's U-Net: Stable Diffusion 2.1's, conditioned on a first frame that runs along without noise.

Source: TIGER-AI-Lab/ConsistI2V @ 152102b `consisti2v/models/videoldm_unet.py` (behaviour, not text).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.consisti2v.attention import SpatialTransformer, TemporalTransformer
from baselines.consisti2v.blocks import Down, Middle, ResNet, TemporalResNet, Up
from baselines.consisti2v.config import ConsistConfig
from baselines.nn.embedding import EmbeddingMLP, sinusoid
from baselines.nn.final_norm import FinalNorm
from baselines.nn.folding import Resample, fold, unfold

REPEATED = (ResNet, TemporalResNet, SpatialTransformer, TemporalTransformer, Resample, FinalNorm)
"""What the network is made of, most of it over and over: worth compiling."""


class ConsistUNet(nn.Module):
    """Predicts the noise in all frames but the first."""

    def __init__(self, config: ConsistConfig) -> None:
        super().__init__()
        width, levels = config.channels[0], range(len(config.channels))
        self.config = config
        self.conv_in = nn.Conv2d(config.in_channels, width, 3, padding=1)
        self.time_embedding = EmbeddingMLP(width, 4 * width)
        self.frame_stride_embedding = EmbeddingMLP(width, 4 * width)
        self.down_blocks = nn.ModuleList(Down(config, level) for level in levels)
        self.mid_block = Middle(config)
        self.up_blocks = nn.ModuleList(Up(config, level) for level in reversed(levels))
        self.conv_norm_out = FinalNorm(config.groups, width, eps=config.eps)
        self.conv_out = nn.Conv2d(width, config.out_channels, 3, padding=1)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.conv_in.weight.dtype

    def forward(self, sample: Tensor, timestep: Tensor, text: Tensor, first: Tensor, stride: Tensor) -> Tensor:
        """Predict the noise.

        Args:
            sample: (B, 4, F - 1, H, W) noisy latents of frames 2 .. F.
            timestep: (B,) steps of the diffusion process, 0..999.
            text: (k B, M, D) text states of k guidance branches, one after another.
            first: (B, 4, 1, H, W) latent of the first frame.
            stride: (B,) frames of the source film between two frames of the clip, 1..5 in training.

        Returns:
            (k B, 4, F - 1, H, W).
        """
        clip = torch.cat([first, sample], dim=2)
        frames = clip.shape[2]
        if frames != self.config.frames:
            raise ValueError(f"{frames} frames, but this network is made for {self.config.frames}, the first included")
        step = F.silu(self.embed(timestep, stride))  # every ResNet begins its projection with it
        x = self.conv_in(fold(clip))
        skips = [x]
        for down in self.down_blocks:
            skips += down(skips[-1], step, text, frames)
        x = self.mid_block(skips[-1], step, text, frames)
        for up in self.up_blocks:
            x = up(x, skips, step, text, frames)
        x = self.conv_out(self.conv_norm_out(x))
        return unfold(x, frames)[:, :, 1:]

    def embed(self, timestep: Tensor, stride: Tensor) -> Tensor:
        """(B,) and (B,) -> (B, E); the sinusoids are float32 at any precision."""
        width = self.config.channels[0]
        step: Tensor = self.time_embedding(sinusoid(timestep, width).to(self.dtype))
        pace: Tensor = self.frame_stride_embedding(sinusoid(stride, width).to(self.dtype))
        return step + pace
