"""Transformer of the LaVie family: per-frame attention, text, then attention over frames.

Shapes: B clips, F frames, N = H x W latent cells, C channels. Attribute names follow the published checkpoints.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.lavie.config import ROTARY_CHANNELS
from baselines.nn.attention import Attention, fused_attention
from baselines.nn.branches import added_in_branches, in_branches
from baselines.nn.feedforward import FeedForward
from baselines.nn.rotary import rotary_table, rotate_pairs

BUCKETS = 32
MAX_DISTANCE = 32


def relative_buckets(frames: int, device: torch.device | None = None) -> Tensor:
    """Bucket of each query-to-key distance (T5, arXiv 1910.10683): (F queries, F keys) int64.

    Keys in the future use the upper half; distances below 8 are exact, larger ones share buckets
    logarithmically up to 32 frames.
    """
    position = torch.arange(frames, device=device)
    distance = position[:, None] - position[None]
    size = distance.abs()
    exact = BUCKETS // 4
    ratio = torch.log(size.clamp(min=1).float() / exact) / math.log(MAX_DISTANCE / exact)
    coarse = (exact + (ratio * (BUCKETS // 2 - exact)).long()).clamp(max=BUCKETS // 2 - 1)
    return torch.where(size < exact, size, coarse) + (distance < 0) * (BUCKETS // 2)


@dataclass(frozen=True)
class FramePositions:
    """What every temporal attention needs to know of where the frames stand; made once per network call."""

    rotary: tuple[Tensor, Tensor]
    """From `rotary_table`, each (F, 32)."""
    buckets: Tensor
    """(F, F) int64, see `relative_buckets`."""


class RotaryFrequencies(nn.Module):
    """The published `rotary_emb.freqs`: one module, shared by all temporal attentions."""

    freqs: Tensor

    def __init__(self) -> None:
        super().__init__()
        exponents = torch.arange(0, ROTARY_CHANNELS, 2).float() / ROTARY_CHANNELS
        self.register_buffer("freqs", 10000.0**-exponents)

    def positions(self, frames: int) -> FramePositions:
        """Tables for `frames` frames on this module's device and in its dtype."""
        return FramePositions(rotary_table(self.freqs, frames), relative_buckets(frames, self.freqs.device))


class RelativeBias(nn.Module):
    """A learned number per distance bucket and head, added to the scores."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.relative_attention_bias = nn.Embedding(BUCKETS, heads)

    def forward(self, buckets: Tensor) -> Tensor:
        """(F, F) buckets -> (heads, F, F)."""
        bias: Tensor = self.relative_attention_bias(buckets)
        return bias.permute(2, 0, 1).contiguous()  # the fused kernel reads rows


class TemporalAttention(Attention):
    """Self-attention over frames, each latent cell by itself; rotary on 32 channels of each head, plus a bias."""

    def __init__(self, width: int, heads: int, rotary: RotaryFrequencies) -> None:
        super().__init__(width, heads)
        self.time_rel_pos_bias = RelativeBias(heads)
        self.rotary_emb = rotary

    def forward(self, x: Tensor, positions: FramePositions) -> Tensor:  # type: ignore[override]
        """(M cells, F, C) -> same."""
        q, k, v = (self.split(part) for part in self.projected(x))
        q, k = rotate_pairs(q, positions.rotary), rotate_pairs(k, positions.rotary)
        bias = self.time_rel_pos_bias(positions.buckets)
        return self.join(fused_attention(q, k, v, bias))


class Block(nn.Module):
    """Self-attention per frame, text, attention over frames, feed-forward; each on a layer norm, each added back."""

    def __init__(self, width: int, heads: int, context: int, rotary: RotaryFrequencies) -> None:
        super().__init__()
        self.attn1 = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.attn2 = Attention(width, heads, context)
        self.norm2 = nn.LayerNorm(width)
        self.attn_temp = TemporalAttention(width, heads, rotary)
        self.norm_temp = nn.LayerNorm(width)
        self.ff = FeedForward(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, text: Tensor, positions: FramePositions) -> Tensor:
        """Tokens (B, F, N, C) and text (k B, M, D) -> tokens (k B, F, N, C)."""
        _, frames, cells, width = x.shape
        frame = x.flatten(0, 1)
        frame = frame + self.attn1(self.norm1(frame))
        clip = frame.reshape(-1, frames * cells, width)  # all frames of a clip ask the same text: project it once
        clip = in_branches(clip, len(text))
        clip = clip + self.attn2(self.norm2(clip), text)
        x = clip.view(-1, frames, cells, width)
        mixed = self.attn_temp(self.norm_temp(x.transpose(1, 2)).flatten(0, 1), positions)
        x = x + mixed.view(-1, cells, frames, width).transpose(1, 2)
        out: Tensor = self.ff(self.norm3(x), x)
        return out


class TokenConv(nn.Conv2d):
    """A 1 x 1 convolution, stored as one, applied to tokens as the matrix product that it is."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., C) -> same."""
        return F.linear(tokens, self.weight.flatten(1), self.bias)


class Transformer(nn.Module):
    """One block between two projections, added to its input."""

    def __init__(self, width: int, heads: int, context: int, groups: int, rotary: RotaryFrequencies) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)  # per frame, and not the ResNets' 1e-5
        self.proj_in = TokenConv(width)
        self.transformer_blocks = nn.ModuleList([Block(width, heads, context, rotary)])
        self.proj_out = TokenConv(width)

    def forward(self, x: Tensor, text: Tensor, positions: FramePositions) -> Tensor:
        """Frames (B x F, C, H, W) and text (k B, M, D) -> frames (k B x F, C, H, W)."""
        frames = positions.buckets.shape[0]
        n, c, h, w = x.shape
        clips: Tensor = self.proj_in(self.norm(x).permute(0, 2, 3, 1).reshape(n // frames, frames, h * w, c))
        for block in self.transformer_blocks:
            clips = block(clips, text, positions)
        added: Tensor = self.proj_out(clips).reshape(-1, h, w, c).permute(0, 3, 1, 2)
        return added_in_branches(x, added)
