"""Multi-head attention under the diffusers library's key names, always through the fused kernel."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.nn.kernels import factor, is_rounded

MAX_SEQUENCES = 65535
"""CUDA's fused kernels lay the batch along a grid axis that ends here; over frames there is one sequence per cell."""


FEW_TOKENS = 32
"""Most tokens of a sequence for which compiled code takes our own kernel (few_tokens.py)."""


def fused_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Attention of q (B, heads, N, d) to k and v (B, heads, M, d); `bias` (heads, N, M) is added to the scores."""
    if torch.compiler.is_compiling() and q.is_cuda:
        if max(q.shape[2], k.shape[2]) <= FEW_TOKENS:
            few: Tensor = torch.ops.ti2v_bench.attention_over_few(q, k, v, bias)
            return few
        if is_rounded(q):  # the libraries' kernels for float32 run at a tenth of the rate of these
            return fused_attention(factor(q), factor(k), factor(v), None if bias is None else factor(bias)).to(q.dtype)
    if len(q) <= MAX_SEQUENCES:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    queries, keys, values = (torch.split(part, MAX_SEQUENCES) for part in (q, k, v))
    parts = zip(queries, keys, values, strict=True)
    return torch.cat([F.scaled_dot_product_attention(*part, attn_mask=bias) for part in parts])


class Attention(nn.Module):
    """Queries from one sequence, keys and values from the same or another; keys `to_q`, `to_k`, `to_v`, `to_out.0`.

    Only the output projection has a bias; scores are scaled by head_dim ** -0.5.
    """

    _joined: Tensor | None

    def __init__(self, width: int, heads: int, source_width: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{width} channels cannot be split into {heads} heads")
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(source_width or width, width, bias=False)
        self.to_v = nn.Linear(source_width or width, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width))
        self.register_buffer("_joined", None, persistent=False)

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        """(B, N, width) attends to `source` (B, M, source_width), or to itself -> (B, N, width)."""
        if source is None:
            return self.mix(*self.projected(x))
        return self.mix(self.to_q(x), self.to_k(source), self.to_v(source))

    def projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of (B, N, width) for itself, each (B, N, width)."""
        if self._joined is None:
            return self.to_q(x), self.to_k(x), self.to_v(x)
        q, k, v = F.linear(x, self._joined).chunk(3, dim=-1)
        return q, k, v

    def join_projections(self) -> None:
        """From now on self-attention takes one matrix product for all three; weights and their names stay.

        For weights that change no more and move no more: `to_q`, `to_k` and `to_v` become parts of one matrix.
        """
        parts = (self.to_q, self.to_k, self.to_v)
        self._joined = torch.cat([part.weight.detach() for part in parts])
        for part, rows in zip(parts, self._joined.chunk(3), strict=True):
            part.weight.data = rows

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
