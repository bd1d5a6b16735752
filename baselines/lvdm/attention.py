"""Attention of the LVDM family over space, text, image and time.

Shapes: B clips, F frames, C channels, H x W latent cells; frames are folded into the batch, frame index fastest.
Attribute names follow the published checkpoints, so weights load without renaming.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.lvdm.settings import UNetSettings
from baselines.nn.attention import Attention, fused_attention
from baselines.nn.branches import added_in_branches, in_branches
from baselines.nn.clip_norm import ClipNorm
from baselines.nn.feedforward import FeedForward

TEXT_TOKENS = 77
"""Tokens of a context before its image tokens begin; fixed in the official code."""


class ContextAttention(Attention):
    """Attention to a context of which each sequence is shared by several successive sequences of tokens."""

    def forward(self, x: Tensor, source: Tensor | None = None, image: Tensor | None = None) -> Tensor:
        """(N, L, C) to the same; `source` is (N / m, S, D), one sequence for m successive ones of `x`."""
        assert source is not None
        assert image is None
        result: Tensor = self.to_out(self.among(self.to_q(x), self.to_k(source), self.to_v(source)))
        return result

    def among(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of queries (N, L, C) to keys and values (N / m, S, C): (N, L, C), not yet projected."""
        shared = q.reshape(k.shape[0], -1, q.shape[-1])  # the queries of m sequences, one after another
        out = fused_attention(self.split(shared), self.split(k), self.split(v))
        return out.transpose(1, 2).reshape(q.shape)


class TextImageAttention(ContextAttention):
    """The same queries attend to the text and, with keys and values of their own, to the image; both are added."""

    alpha: Tensor | None

    def __init__(self, width: int, heads: int, source_width: int, scale_learnable: bool) -> None:
        super().__init__(width, heads, source_width)
        self.to_k_ip = nn.Linear(source_width, width, bias=False)
        self.to_v_ip = nn.Linear(source_width, width, bias=False)
        self.register_parameter("alpha", nn.Parameter(torch.zeros(())) if scale_learnable else None)

    def forward(self, x: Tensor, source: Tensor | None = None, image: Tensor | None = None) -> Tensor:
        """(N, L, C) to the same.

        Args:
            x: tokens of N pictures.
            source: text, (N / m, 77, D), each shared by m successive pictures (the frames of a clip).
            image: (N / m, T, D), likewise with a number m of its own.
        """
        assert source is not None
        assert image is not None
        q = self.to_q(x)
        of_text = self.among(q, self.to_k(source), self.to_v(source))
        of_image = self.among(q, self.to_k_ip(image), self.to_v_ip(image))
        if self.alpha is not None:
            of_image = of_image * (torch.tanh(self.alpha) + 1)
        result: Tensor = self.to_out(of_text + of_image)
        return result


class SpatialBlock(nn.Module):
    """Self-attention, attention to the context, feed-forward; each behind a norm and beside an identity."""

    def __init__(self, width: int, heads: int, to_context: ContextAttention) -> None:
        super().__init__()
        self.attn1 = Attention(width, heads)
        self.ff = FeedForward(width)
        self.attn2 = to_context
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, x: Tensor, text: Tensor, image: Tensor | None, frames: int) -> Tensor:
        """(B F, L, C) to (k B F, L, C), k times as many as there were if there are k texts for each clip.

        Text (k B, 77, D) and image as TextImageAttention takes them.
        """
        x = in_branches(self.attn1(self.norm1(x)) + x, len(text) * frames)
        x = self.attn2(self.norm2(x), text, image) + x
        result: Tensor = self.ff(self.norm3(x), x)
        return result


class TemporalBlock(nn.Module):
    """Self-attention twice, then feed-forward; each behind a norm and beside an identity."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn1 = Attention(width, heads)
        self.ff = FeedForward(width)
        self.attn2 = Attention(width, heads)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(N, L, C) to the same."""
        x = self.attn1(self.norm1(x)) + x
        x = self.attn2(self.norm2(x)) + x
        result: Tensor = self.ff(self.norm3(x), x)
        return result


class SpatialTransformer(nn.Module):
    """Attention among the cells of each frame, and to the context."""

    def __init__(self, channels: int, settings: UNetSettings) -> None:
        super().__init__()
        heads = channels // settings.num_head_channels
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList(
            SpatialBlock(channels, heads, _to_context(channels, heads, settings))
            for _ in range(settings.transformer_depth)
        )
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, text: Tensor, image: Tensor | None, frames: int) -> Tensor:
        """(B F, C, H, W) to (k B F, C, H, W); text and image as SpatialBlock takes them."""
        height = x.shape[2]
        tokens = self.proj_in(self.norm(x).permute(0, 2, 3, 1).flatten(1, 2))
        for block in self.transformer_blocks:
            tokens = block(tokens, text, image, frames)
        added = torch.unflatten(self.proj_out(tokens).transpose(1, 2), 2, (height, -1))
        return added_in_branches(x, added)


def _to_context(channels: int, heads: int, settings: UNetSettings) -> ContextAttention:
    if settings.image_attention:
        return TextImageAttention(channels, heads, settings.context_dim, settings.image_scale_learnable)
    return ContextAttention(channels, heads, settings.context_dim)


class PointConv1d(nn.Conv1d):
    """A linear layer whose weight is stored as that of a convolution of size 1."""

    def forward(self, input: Tensor) -> Tensor:
        """(…, channels in) to (…, channels out)."""
        return F.linear(input, self.weight.squeeze(-1), self.bias)


class TemporalTransformer(nn.Module):
    """Attention among the frames, each latent cell by itself; both attentions of a block are self-attention.

    There is no positional encoding: only the temporal convolutions tell frames apart.
    """

    def __init__(self, channels: int, inner: int, heads: int, depth: int, stored_as_conv: bool = False) -> None:
        super().__init__()
        self.norm = ClipNorm(32, channels, eps=1e-6)
        self.proj_in = PointConv1d(channels, inner, 1) if stored_as_conv else nn.Linear(channels, inner)
        self.transformer_blocks = nn.ModuleList(TemporalBlock(inner, heads) for _ in range(depth))
        self.proj_out = PointConv1d(inner, channels, 1) if stored_as_conv else nn.Linear(inner, channels)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """(B F, C, H, W) to the same."""
        clips = torch.unflatten(x, 0, (-1, frames))  # B F C H W
        normed = self.norm(clips.transpose(1, 2).flatten(3))  # B C F HW: statistics over all frames of a clip
        tokens = self.proj_in(normed.permute(0, 3, 2, 1).flatten(0, 1))  # (B HW) F C
        for block in self.transformer_blocks:
            tokens = block(tokens)
        back = torch.unflatten(self.proj_out(tokens), 0, (clips.shape[0], -1)).permute(0, 2, 3, 1)  # B F C HW
        return (clips + torch.unflatten(back, 3, clips.shape[3:])).flatten(0, 1)
