"""The U-Net that SEINE and Cinemo share: Stable Diffusion 1.4's, with attention over frames in every transformer.

Sources: Vchitect/SEINE @ bd8d519 `models/unet.py`, maxin-cn/Cinemo @ 7cd7f27 `models/unet.py` (behaviour, not text).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.lavie.attention import RotaryFrequencies, Transformer
from baselines.lavie.blocks import Down, FinalClipNorm, Middle, ResNet, Up
from baselines.lavie.config import LavieConfig
from baselines.nn.embedding import EmbeddingMLP, sinusoid
from baselines.nn.folding import Resample, fold, unfold

REPEATED = (ResNet, Transformer, Resample, FinalClipNorm)
"""What the network is made of, over and over: worth compiling."""


class LavieUNet(nn.Module):
    """Predicts the noise in a clip of latents."""

    def __init__(self, config: LavieConfig) -> None:
        super().__init__()
        width, levels = config.channels[0], range(len(config.channels))
        rotary = RotaryFrequencies()
        self.config = config
        self.conv_in = nn.Conv2d(config.in_channels, width, 3, padding=1)
        self.time_embedding = EmbeddingMLP(width, 4 * width)
        self.down_blocks = nn.ModuleList(Down(config, level, rotary) for level in levels)
        self.mid_block = Middle(config, rotary)
        self.up_blocks = nn.ModuleList(Up(config, level, rotary) for level in reversed(levels))
        self.conv_norm_out = FinalClipNorm(config.groups, width, eps=config.eps)
        self.conv_out = nn.Conv2d(width, config.out_channels, 3, padding=1)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.conv_in.weight.dtype

    def forward(self, sample: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        """Predict the noise.

        Args:
            sample: (B, in_channels, F, H, W) latents and what they are conditioned on.
            timestep: (B,) steps of the diffusion process, 0..999.
            text: (k B, M, D) text states of k guidance branches, one after another.

        Returns:
            (k B, out_channels, F, H, W).
        """
        return self.denoise(sample, self.embed_step(timestep), text)

    def embed_step(self, timestep: Tensor) -> Tensor:
        """(B,) -> (B, 4 x channels[0]); the sinusoid is float32 at any precision."""
        embedded: Tensor = self.time_embedding(sinusoid(timestep, self.config.channels[0]).to(self.dtype))
        return embedded

    def denoise(self, sample: Tensor, embedding: Tensor, text: Tensor) -> Tensor:
        """As `forward`, given the step embedding (B, E)."""
        frames = sample.shape[2]
        positions = self.mid_block.rotary.positions(frames)
        step = F.silu(embedding)  # every ResNet begins its projection with it
        x = self.conv_in(fold(sample))
        skips = [x]
        for down in self.down_blocks:
            skips += down(skips[-1], step, text, positions)
        x = self.mid_block(skips[-1], step, text, positions)
        for up in self.up_blocks:
            x = up(x, skips, step, text, positions)
        return unfold(self.conv_out(self.conv_norm_out(x, frames)), frames)
