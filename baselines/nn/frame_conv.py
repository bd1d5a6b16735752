"""The convolution over three frames as one matrix product: a Triton kernel, for CUDA.

With channels last in memory, a tap is the frame before or after: the same cells, a frame's length away. The product
runs over taps and channels of the input, and reads the clip where it lies. cuDNN, which has no kernel made for (3, 1),
takes one for small pictures.

Importing this registers `torch.ops.ti2v_bench.frame_convolution`, which `torch.compile` sees through; it needs Triton.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op, wrap_triton

from baselines.nn.kernels import alignment


@dataclass(frozen=True)
class Tile:
    """What one program computes, and how."""

    rows: int
    """Cells."""
    columns: int
    """Channels of the result, a power of two."""
    extra: int
    """Further channels of it, a power of two or none: 256 + 64 are a fitting 320."""
    depth: int
    """Channels of the input that are multiplied between two loads."""
    warps: int
    stages: int
    """Loads that are on their way at once."""


TILES: dict[int, Tile] = {
    320: Tile(rows=128, columns=256, extra=64, depth=32, warps=8, stages=4),
    1280: Tile(rows=128, columns=256, extra=0, depth=64, warps=8, stages=4),
}
"""By the number of the result's channels, where it is another than `TILE`."""

TILE = Tile(rows=128, columns=128, extra=0, depth=64, warps=8, stages=3)
"""The networks are 320, 640 and 1280 channels wide; measured in results/speed/kernels-by-shape.md."""

SMALL, PROGRAMS = Tile(rows=64, columns=128, extra=0, depth=64, warps=4, stages=4), 64
"""Instead, where there would be fewer programs than half of an H100's multiprocessors: at the deepest level."""


def chosen(count: int, made: int) -> tuple[Tile, int]:
    """The tile for so many rows and channels of the result, and its number of programs."""
    tile = TILES.get(made, TILE)
    programs = _programs(tile, count, made)
    return (tile, programs) if programs >= PROGRAMS else (SMALL, _programs(SMALL, count, made))


def _programs(tile: Tile, count: int, made: int) -> int:
    across: int = triton.cdiv(made, tile.columns + tile.extra)
    return across * int(triton.cdiv(count, tile.rows))


@triton.jit  # type: ignore[untyped-decorator]
def _convolve(  # type: ignore[no-untyped-def]
    x, taps, bias, out, count,
    FRAMES: tl.constexpr, CELLS: tl.constexpr, WIDTH: tl.constexpr, MADE: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr, EXTRA: tl.constexpr, DEPTH: tl.constexpr, ALIGNED: tl.constexpr,
):  # fmt: skip
    """A tile of the result; a row is one cell of one frame. Columns past the end repeat the last and are not stored."""
    across: tl.constexpr = (MADE + COLUMNS + EXTRA - 1) // (COLUMNS + EXTRA)
    deep: tl.constexpr = (WIDTH + DEPTH - 1) // DEPTH
    first = tl.program_id(0) // across * ROWS
    left = tl.program_id(0) % across * (COLUMNS + EXTRA)
    row, column, depth = tl.arange(0, ROWS), left + tl.arange(0, COLUMNS), tl.arange(0, DEPTH)
    frame, real = (first + row) // CELLS % FRAMES, first + row < count
    begin, end = 0, 3 * deep
    if CELLS % ROWS == 0:  # the tile lies in one frame: what lies outside the clip is left out
        begin = tl.where(first // CELLS % FRAMES == 0, deep, 0)
        end = tl.where(first // CELLS % FRAMES == FRAMES - 1, 2 * deep, 3 * deep)
    x_place = x + first.to(tl.int64) * WIDTH + row[:, None] * WIDTH + depth[None, :]
    place = taps + depth[:, None] + tl.minimum(column, MADE - 1)[None, :] * (3 * WIDTH)
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    if EXTRA > 0:
        further = left + COLUMNS + tl.arange(0, EXTRA)
        further_place = taps + depth[:, None] + tl.minimum(further, MADE - 1)[None, :] * (3 * WIDTH)
        more = tl.zeros((ROWS, EXTRA), tl.float32)
    for step in range(begin, end):
        tap, k = step // deep, step % deep * DEPTH
        there = depth < WIDTH - k if WIDTH % DEPTH else depth < DEPTH  # the latter is always so: no mask remains
        near = frame + tap - 1
        inside = (near >= 0) & (near < FRAMES) & real if CELLS % ROWS else row < ROWS
        cells = tl.multiple_of(x_place + ((tap - 1) * (CELLS * WIDTH) + k), (1, ALIGNED))
        seen = tl.load(cells, mask=inside[:, None] & there[None, :], other=0.0)
        behind = tap * WIDTH + k
        weights = tl.load(tl.multiple_of(place + behind, (ALIGNED, 1)), mask=there[:, None], other=0.0)
        sums = tl.dot(seen, weights, sums)
        if EXTRA > 0:
            weights = tl.load(tl.multiple_of(further_place + behind, (ALIGNED, 1)), mask=there[:, None], other=0.0)
            more = tl.dot(seen, weights, more)
    out_place = out + first.to(tl.int64) * MADE + row[:, None] * MADE
    sums += tl.load(bias + column, mask=column < MADE, other=0.0).to(tl.float32)[None, :]
    stored = real[:, None] & (column < MADE)[None, :]
    made = sums.to(out.dtype.element_ty)
    tl.store(tl.multiple_of(out_place + column[None, :], (1, ALIGNED)), made, mask=stored)
    if EXTRA > 0:
        more += tl.load(bias + further, mask=further < MADE, other=0.0).to(tl.float32)[None, :]
        stored = real[:, None] & (further < MADE)[None, :]
        made = more.to(out.dtype.element_ty)
        tl.store(tl.multiple_of(out_place + further[None, :], (1, ALIGNED)), made, mask=stored)


@triton_op("ti2v_bench::frame_convolution", mutates_args={})
def frame_convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A convolution over three frames, zero-padded in time, each cell by itself; sums in float32.

    Args:
        x: (B, C, F, cells), in float16 or bfloat16; reordered first unless channels lie last in memory.
        weight: (C', C, 3, 1, 1); likewise.
        bias: (C'), in the precision of the result.

    Returns:
        (B, C', F, cells), channels last in memory.
    """
    batch, width, frames, cells = x.shape
    made = weight.shape[0]
    rows, taps = x.permute(0, 2, 3, 1).contiguous(), weight.flatten(2).transpose(1, 2).contiguous()
    out = torch.empty(batch, frames, cells, made, dtype=bias.dtype, device=x.device)
    count = batch * frames * cells
    aligned = alignment(x, width, made, rows.storage_offset(), taps.storage_offset())
    tile, programs = chosen(count, made)
    wrap_triton(_convolve)[(programs,)](
        rows, taps, bias, out, count, FRAMES=frames, CELLS=cells, WIDTH=width, MADE=made,
        ROWS=tile.rows, COLUMNS=tile.columns, EXTRA=tile.extra, DEPTH=tile.depth,
        ALIGNED=aligned, num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    return out.permute(0, 3, 1, 2)
