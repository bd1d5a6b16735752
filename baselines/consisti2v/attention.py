"""ConsistI2V's transformers: pictures that see the first frame, cells that see the first frame's neighbourhood.

Shapes: B clips, F frames, N = H x W latent cells, C channels. Attribute names follow the published checkpoint.
"""

import torch
from torch import Tensor, nn

from baselines.nn.attention import Attention
from baselines.nn.branches import added_in_branches, in_branches
from baselines.nn.feedforward import FeedForward
from baselines.nn.rotary import rotary_table, rotate_pairs


class FirstFrameAttention(Attention):
    """Self-attention per frame whose keys and values are the frame's tokens and those of frame 0.

    Frame 0 sees its own tokens twice, as published. Its keys and values are projected once and lent to all frames.
    """

    def forward(self, x: Tensor, frames: int) -> Tensor:  # type: ignore[override]
        """Tokens (B x F, N, C) -> same."""
        q, k, v = self.projected(x)
        return self.mix(q, _with_first(k, frames), _with_first(v, frames))


def _with_first(x: Tensor, frames: int) -> Tensor:
    """(B x F, N, C) -> (B x F, 2 N, C): every frame's tokens, then those of its clip's frame 0."""
    clips = torch.unflatten(x, 0, (-1, frames))
    return torch.cat([clips, clips[:, :1].expand_as(clips)], dim=2).flatten(0, 1)


class _RotaryFrequencies(nn.Module):
    """Trained frequencies, (P,) radians per frame: loaded, never computed."""

    freqs: Tensor

    def __init__(self, pairs: int) -> None:
        super().__init__()
        self.register_buffer("freqs", 10000.0 ** (-torch.arange(pairs).float() / pairs))


class _UnusedBias(nn.Module):
    """`rotary_bias`: in the checkpoint, but its use is commented out in the official code."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.relative_attention_bias = nn.Embedding(32, heads)


class _FrameAttention(Attention):
    """Attention whose queries are the frames of one cell, with the published rotary embedding.

    Published: the rotation is applied before the heads are split, to the first half of all channels; so the first
    half of the heads is rotated, with frequencies spread over them, and the other half knows no positions.
    """

    def __init__(self, width: int, heads: int, source_width: int | None = None) -> None:
        super().__init__(width, heads, source_width)
        self.rotary_emb = _RotaryFrequencies(width // 4)
        self.rotary_bias = _UnusedBias(heads)


class WindowAttention(_FrameAttention):
    """Over the frames of one cell, and the cells around it in frame 0."""

    def forward(self, x: Tensor, around: Tensor) -> Tensor:  # type: ignore[override]
        """(B, N, F, C) -> same; `around` is `neighbours(H, W)`, where N = H x W."""
        table = rotary_table(self.rotary_emb.freqs, x.shape[2])
        q, k, v = self.projected(x)
        # The neighbours stand at position 0, where the rotation is the identity.
        keys = torch.cat([rotate_pairs(k, table), k[:, around, 0]], dim=2)
        values = torch.cat([v, v[:, around, 0]], dim=2)
        q = rotate_pairs(q.flatten(0, 1), table)
        return self.mix(q, keys.flatten(0, 1), values.flatten(0, 1)).view(x.shape)


def neighbours(height: int, width: int, device: torch.device) -> Tensor:
    """Indices of the eight cells around each cell, in row order, edges replicated: (H x W, 8) int64."""
    around = torch.arange(8, device=device)
    around = around + (around > 3)  # places of a 3 x 3 window without its centre, number 4
    cells = torch.arange(height * width, device=device)[:, None]
    rows = (cells // width + around // 3 - 1).clamp(0, height - 1)
    columns = (cells % width + around % 3 - 1).clamp(0, width - 1)
    return rows * width + columns


class FrameTextAttention(_FrameAttention):
    """From the frames of every cell to the text; its keys and values are the same everywhere and projected once."""

    def forward(self, x: Tensor, text: Tensor) -> Tensor:  # type: ignore[override]
        """(B, N, F, C) and text (B, M, D) -> (B, N, F, C)."""
        frames = x.shape[2]
        table = rotary_table(self.rotary_emb.freqs, frames)
        q, k, v = rotate_pairs(self.to_q(x), table), self.to_k(text), self.to_v(text)
        if text.shape[1] == frames:  # Published: keys are rotated too when they are as many as the queries.
            k = rotate_pairs(k, table)
        return self.mix(q.flatten(1, 2), k, v).view(x.shape)


class SpatialBlock(nn.Module):
    """Pictures with the first frame, text, feed-forward; each on a layer norm, each added back."""

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = FirstFrameAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = Attention(width, heads, context)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, text: Tensor, frames: int) -> Tensor:
        """Tokens (B x F, N, C) and text (k B, M, D) -> tokens (k B x F, N, C)."""
        x = x + self.attn1(self.norm1(x), frames)
        clip = x.view(x.shape[0] // frames, -1, x.shape[-1])  # all frames ask the same text: project it once
        clip = in_branches(clip, len(text))
        clip = clip + self.attn2(self.norm2(clip), text)
        clip = self.ff(self.norm3(clip), clip)
        out: Tensor = clip.view(-1, *x.shape[1:])
        return out


class TemporalBlock(nn.Module):
    """Frames of each cell with the first frame's window, text, feed-forward."""

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = WindowAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = FrameTextAttention(width, heads, context)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, text: Tensor, around: Tensor) -> Tensor:
        """(B, N, F, C) and text (B, M, D) -> (B, N, F, C)."""
        x = x + self.attn1(self.norm1(x), around)
        x = x + self.attn2(self.norm2(x), text)
        out: Tensor = self.ff(self.norm3(x), x)
        return out


class SpatialTransformer(nn.Module):
    """One spatial block between two projections, added to its input."""

    def __init__(self, width: int, heads: int, context: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)  # not the ResNets' 1e-5
        self.proj_in = nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList([SpatialBlock(width, heads, context)])
        self.proj_out = nn.Linear(width, width)

    def forward(self, x: Tensor, text: Tensor, frames: int) -> Tensor:
        """Frames (B x F, C, H, W) and text (k B, M, D) -> frames (k B x F, C, H, W)."""
        n, c, h, w = x.shape
        tokens = self.proj_in(self.norm(x).permute(0, 2, 3, 1).reshape(n, h * w, c))
        for block in self.transformer_blocks:
            tokens = block(tokens, text, frames)
        added: Tensor = self.proj_out(tokens).view(-1, h, w, c).permute(0, 3, 1, 2)
        return added_in_branches(x, added)


class TemporalTransformer(nn.Module):
    """One temporal block between two projections, blended with its input by a trained weight."""

    def __init__(self, width: int, heads: int, context: int, groups: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1))
        self.norm = nn.GroupNorm(groups, width, eps=1e-6)  # per frame
        self.proj_in = nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList([TemporalBlock(width, heads, context)])
        self.proj_out = nn.Linear(width, width)

    def forward(self, x: Tensor, text: Tensor, frames: int, around: Tensor) -> Tensor:
        """Frames (B x F, C, H, W), text (B, M, D) and `neighbours(H, W)` -> frames."""
        n, c, h, w = x.shape
        tokens = self.norm(x).permute(0, 2, 3, 1).reshape(n // frames, frames, h * w, c)
        cells = self.proj_in(tokens.transpose(1, 2).contiguous())
        for block in self.transformer_blocks:
            cells = block(cells, text, around)
        added: Tensor = self.proj_out(cells)
        return blend(self.alpha, x, added.transpose(1, 2).reshape(n, h, w, c).permute(0, 3, 1, 2))


def blend(alpha: Tensor, x: Tensor, added: Tensor) -> Tensor:
    """alpha x + (1 - alpha) (x + added). Published: alpha is clamped to [0, 1] at use, whatever training left in it."""
    return torch.addcmul(x, added, 1 - alpha.clamp(0, 1))
