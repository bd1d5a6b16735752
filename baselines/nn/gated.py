"""GEGLU's projection and gate as one matrix product: a Triton kernel, for CUDA.

Apart, the product writes twice the inner width of every token to memory, and an elementwise kernel reads it again; here
a program computes the same columns of both halves from one reading of the tokens, and writes them multiplied.

Importing this registers `torch.ops.ti2v_bench.gated_product`, which `torch.compile` sees through; it needs Triton.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op, wrap_triton

from baselines.nn.kernels import alignment, programs_at_once


@dataclass(frozen=True)
class Tile:
    """What one program computes at a time, and how."""

    rows: int
    """Tokens."""
    columns: int
    """Channels of the result; it takes as many again of the gate."""
    depth: int
    """Channels of the input that are multiplied between two loads."""
    warps: int
    stages: int
    """Loads that are on their way at once."""
    together: int = 8
    """Tiles of tokens that run side by side, so that the weights they share stay in the L2 cache."""


TILE = Tile(rows=128, columns=128, depth=64, warps=8, stages=3)
"""tests/benchmarks/kernels.py measures it beside others; its table in results/speed is from when a program took one
tile, not several in turn."""


@triton.jit
def _gate(values, gates):  # type: ignore[no-untyped-def]
    """values * gelu(gates).

    The normal distribution's tail by erfc's approximation of Abramowitz and Stegun (7.1.26), off by 1.5e-7 at most:
    without the branch that the library's erf takes for every number by itself, and closer far below zero.
    """
    t = 1.0 / (1.0 + 0.23164190 * tl.abs(gates))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    tail = 0.5 * series * tl.exp2(gates * gates * -0.7213475204444817)
    return values * gates * tl.where(gates < 0, tail, 1.0 - tail)


@triton.jit  # type: ignore[untyped-decorator]
def _gated(  # type: ignore[no-untyped-def]
    x, weight, bias, out, count,
    WIDTH: tl.constexpr, INNER: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
    TOGETHER: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    """Tiles of (x W_a + b_a) * gelu(x W_g + b_g); rows and columns past the end repeat the last and are not stored."""
    across: tl.constexpr = (INNER + COLUMNS - 1) // COLUMNS
    row, depth = tl.arange(0, ROWS), tl.arange(0, DEPTH)
    both = tl.arange(0, 2 * COLUMNS)  # value and gate alternate as the columns of one product
    for tile in range(tl.program_id(0), tl.cdiv(count, ROWS) * across, tl.num_programs(0)):
        top = tile // (TOGETHER * across) * TOGETHER
        height = tl.minimum(tl.cdiv(count, ROWS) - top, TOGETHER)
        within = tile % (TOGETHER * across)
        first = (top + within % height) * ROWS
        left = within // height * COLUMNS
        x_row = tl.minimum(row, count - first - 1)
        x_place = x + first.to(tl.int64) * WIDTH + x_row[:, None] * WIDTH + depth[None, :]
        pair = tl.minimum(left + both // 2, INNER - 1) + both % 2 * INNER
        sums = tl.zeros((ROWS, 2 * COLUMNS), tl.float32)
        pair_place = weight + depth[:, None] + pair[None, :] * WIDTH
        for k in range(0, WIDTH, DEPTH):
            there = depth < WIDTH - k if WIDTH % DEPTH else depth < DEPTH  # the latter is always so: no mask remains
            tokens = tl.load(tl.multiple_of(x_place + k, (1, ALIGNED)), mask=there[None, :], other=0.0)
            weights = tl.load(tl.multiple_of(pair_place + k, (ALIGNED, 1)), mask=there[:, None], other=0.0)
            sums = tl.dot(tokens, weights, sums)
        values, gates = tl.split(tl.reshape(sums, (ROWS, COLUMNS, 2)))
        column = left + tl.arange(0, COLUMNS)
        inside = column < INNER
        values += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)[None, :]
        gates += tl.load(bias + INNER + column, mask=inside, other=0.0).to(tl.float32)[None, :]
        place = out + first.to(tl.int64) * INNER + row[:, None] * INNER + column[None, :]
        stored = (row < count - first)[:, None] & inside[None, :]
        made = _gate(values, gates).to(out.dtype.element_ty)
        tl.store(tl.multiple_of(place, (1, ALIGNED)), made, mask=stored)


@triton_op("ti2v_bench::gated_product", mutates_args={})
def gated_product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(x W_a + b_a) * gelu(x W_g + b_g), with GELU's exact form, not that by tanh.

    Sums stay in float32 until the result is rounded once; torch's two steps round the projection to half precision too.

    Args:
        x: (..., width), in float16 or bfloat16.
        weight: (2 x inner, width), as of `nn.Linear`: the rows of W_a, then those of W_g.
        bias: (2 x inner), in the precision of the result.

    Returns:
        (..., inner), contiguous.
    """
    width, inner = x.shape[-1], weight.shape[0] // 2
    rows, weights = x.reshape(-1, width).contiguous(), weight.contiguous()
    count = rows.shape[0]
    out = torch.empty(count, inner, dtype=bias.dtype, device=x.device)
    aligned = alignment(x, width, inner, rows.storage_offset(), weights.storage_offset())
    tiles = triton.cdiv(count, TILE.rows) * triton.cdiv(inner, TILE.columns)
    wrap_triton(_gated)[(min(tiles, programs_at_once(x)),)](
        rows, weights, bias, out, count, WIDTH=width, INNER=inner, ROWS=TILE.rows, COLUMNS=TILE.columns,
        DEPTH=TILE.depth, TOGETHER=TILE.together,
        ALIGNED=aligned, num_warps=TILE.warps, num_stages=TILE.stages,
    )  # fmt: skip
    return out.view(*x.shape[:-1], inner)
