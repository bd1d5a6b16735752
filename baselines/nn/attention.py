"""Multi-head attention under the diffusers library's key names, always through the fused kernel."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MAX_SEQUENCES = 65535
"""CUDA's fused kernels lay the batch along a grid axis that ends here; over frames there is one sequence per cell."""


def fused_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Attention of q (B, heads, N, d) to k and v (B, heads, M, d); `bias` (heads, N, M) is added to the scores."""
    if len(q) <= MAX_SEQUENCES:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    queries, keys, values = (torch.split(part, MAX_SEQUENCES) for part in (q, k, v))
    parts = zip(queries, keys, values, strict=True)
    return torch.cat([F.scaled_dot_product_attention(*part, attn_mask=bias) for part in parts])


class Attention(nn.Module):
    """Queries from one sequence, keys and values from the same or another; keys `to_q`, `to_k`, `to_v`, `to_out.0`.

    Only the output projection has a bias; scores are scaled by head_dim ** -0.5.
    """

    def __init__(self, width: int, heads: int, source_width: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{width} channels cannot be split into {heads} heads")
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(source_width or width, width, bias=False)
        self.to_v = nn.Linear(source_width or width, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        """(B, N, width) attends to `source` (B, M, source_width), or to itself -> (B, N, width)."""
        source = x if source is None else source
        return self.mix(self.to_q(x), self.to_k(source), self.to_v(source))

    def mix(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attention of projected q (B, N, width), k and v (B, M, width); `bias` (heads, N, M) joins the scores."""
        return self.join(fused_attention(self.split(q), self.split(k), self.split(v), bias))

    def split(self, x: Tensor) -> Tensor:
        """(B, N, width) -> (B, heads, N, head_dim)."""
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)

    def join(self, x: Tensor) -> Tensor:
        """(B, heads, N, head_dim) -> output projection, (B, N, width)."""
        out: Tensor = self.to_out(x.transpose(1, 2).flatten(2))
        return out
