"""Attention over a few tokens, as between the frames of one latent cell: a Triton kernel, for CUDA.

The libraries' kernels give every sequence of every head a tile of 64 or 128 rows, of which 16 frames fill an eighth,
and read it with a launch grid of its own. Here one program takes as many sequences as fill its tile; scores between
different sequences are left out. The mathematics is that of `scaled_dot_product_attention`: products in the inputs'
precision, sums and softmax in float32.

Importing this registers `torch.ops.ti2v_bench.attention_over_few`, which `torch.compile` sees through; it needs Triton.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op, wrap_triton

from baselines.nn.attention import FEW_TOKENS
from baselines.nn.kernels import alignment


@dataclass(frozen=True)
class Tile:
    """What one program computes, and how."""

    rows: int
    """Queries, and keys, of whole sequences."""
    warps: int


TILES = {16: Tile(rows=16, warps=1), 21: Tile(rows=32, warps=1), FEW_TOKENS: Tile(rows=32, warps=4)}
"""By the most tokens of a sequence, upwards; measured at 16 and 17 (results/speed/kernels-by-shape.md)."""


@triton.jit  # type: ignore[untyped-decorator]
def _attend(  # type: ignore[no-untyped-def]
    q, k, v, bias, out, sequences,
    q_n: tl.constexpr, q_h: tl.constexpr, q_l: tl.constexpr, k_n: tl.constexpr, k_h: tl.constexpr, k_l: tl.constexpr,
    v_n: tl.constexpr, v_h: tl.constexpr, v_l: tl.constexpr,
    out_n: tl.constexpr, out_h: tl.constexpr, out_l: tl.constexpr,
    HEADS: tl.constexpr, LENGTH: tl.constexpr, KEYS: tl.constexpr, DIM: tl.constexpr, TOGETHER: tl.constexpr,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, ALIGNED: tl.constexpr, BIASED: tl.constexpr, PRECISION: tl.constexpr,
    SCALE: tl.constexpr,
):  # fmt: skip
    """TOGETHER sequences of one head; row r of the tile is token r % LENGTH of sequence r // LENGTH.

    SCALE is part of the program: torch's compiler passes a number with a fraction as float64, and all that it meets
    would be computed in float64.
    """
    # Heads lie side by side in memory: programs that run together read whole rows of it.
    first, head = tl.program_id(0) // HEADS * TOGETHER, tl.program_id(0) % HEADS
    rows, channel = tl.arange(0, ROWS), tl.arange(0, WIDTH)
    q_at, k_at = rows // LENGTH, rows // KEYS
    query, key = rows % LENGTH, rows % KEYS
    q_there = (q_at < TOGETHER) & (first + q_at < sequences)
    k_there = (k_at < TOGETHER) & (first + k_at < sequences)
    q_mask = q_there[:, None] & (channel < DIM)[None, :]
    k_mask = k_there[:, None] & (channel < DIM)[None, :]
    q_n_at, k_n_at = (first + q_at).to(tl.int64), (first + k_at).to(tl.int64)
    q_place = q + (q_n_at * q_n + head * q_h + query * q_l)[:, None] + channel[None, :]
    k_place = k + (k_n_at * k_n + head * k_h + key * k_l)[:, None] + channel[None, :]
    v_place = v + (k_n_at * v_n + head * v_h + key * v_l)[:, None] + channel[None, :]
    queries = tl.load(tl.multiple_of(q_place, (1, ALIGNED)), mask=q_mask, other=0.0)
    keys = tl.load(tl.multiple_of(k_place, (1, ALIGNED)), mask=k_mask, other=0.0)
    values = tl.load(tl.multiple_of(v_place, (1, ALIGNED)), mask=k_mask, other=0.0)
    scores = tl.dot(queries, tl.trans(keys), input_precision=PRECISION) * SCALE
    own = (q_at[:, None] == k_at[None, :]) & q_there[:, None] & k_there[None, :]
    if BIASED:
        bias_place = bias + head * LENGTH * KEYS + query[:, None] * KEYS + key[None, :]
        scores += tl.load(bias_place, mask=own, other=0.0).to(tl.float32)
    scores = tl.where(own, scores, -float("inf"))
    top = tl.max(scores, 1)
    top = tl.where(q_there, top, 0.0)
    weights = tl.exp(scores - top[:, None])
    total = tl.where(q_there, tl.sum(weights, 1), 1.0)
    mixed = tl.dot(weights.to(values.dtype), values, input_precision=PRECISION) / total[:, None]
    place = out + (q_n_at * out_n + head * out_h + query * out_l)[:, None] + channel[None, :]
    tl.store(tl.multiple_of(place, (1, ALIGNED)), mixed.to(out.dtype.element_ty), mask=q_mask)


@triton_op("ti2v_bench::attention_over_few", mutates_args={})
def attention_over_few(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Attention of many short sequences, each to its own keys.

    Args:
        q: (N, heads, L, D), any strides but channels last in memory; L at most `FEW_TOKENS`.
        k: (N, heads, M, D), likewise; M at most `FEW_TOKENS`.
        v: as `k`.
        bias: (heads, L, M), added to the scores, or None.

    Returns:
        (N, heads, L, D); in memory (N, L, heads, D), so that joining the heads is a view.
    """
    count, heads, length, dim = q.shape
    keys = k.shape[2]
    assert max(length, keys) <= FEW_TOKENS
    assert q.stride(3) == k.stride(3) == v.stride(3) == 1
    tile = next(tile for most, tile in TILES.items() if max(length, keys) <= most)
    together = tile.rows // max(length, keys)
    steps = [step for part in (q, k, v) for step in (*part.stride()[:3], part.storage_offset())]
    out = torch.empty(count, length, heads, dim, dtype=q.dtype, device=q.device).transpose(1, 2)
    rounded = q.dtype != torch.float32 or torch.backends.cuda.matmul.allow_tf32
    wrap_triton(_attend)[(triton.cdiv(count, together) * heads,)](
        q, k, v, q if bias is None else bias.contiguous(), out, count,
        *q.stride()[:3], *k.stride()[:3], *v.stride()[:3], *out.stride()[:3],
        HEADS=heads, LENGTH=length, KEYS=keys, DIM=dim, TOGETHER=together, ROWS=tile.rows,
        WIDTH=max(16, triton.next_power_of_2(dim)), ALIGNED=alignment(q, dim, *steps), BIASED=bias is not None,
        PRECISION="tf32" if rounded else "ieee", SCALE=dim**-0.5, num_warps=tile.warps,
    )  # fmt: skip
    return out
