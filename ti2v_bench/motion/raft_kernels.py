"""Triton kernels of RAFT on CUDA: what stands between its convolutions, each a single pass over memory.

Shapes: pictures lie channels-last and are taken as rows, (N*h*w, C) with any row stride and channels side by side, so
that a part of a wider matrix can be read and written in place. Arithmetic is float32 whatever the rows hold.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

TAPS = 81
"""Of the 9x9 window of one pyramid level."""
_CELLS = 4
"""Cells whose windows one program looks up."""
_ROWS, _CHANNELS = 32, 64
"""Tile of the kernels that go over rows element by element."""
_TILE = 128
"""Rows over which statistics are made at once."""


def _tiles(rows: int, channels: int) -> tuple[int, int]:
    """Programs of a kernel that goes over rows element by element."""
    return triton.cdiv(rows, _ROWS), triton.cdiv(channels, _CHANNELS)


@triton.jit  # type: ignore[untyped-decorator]
def _look(  # type: ignore[no-untyped-def]
    maps, flow, out, cells, height, width, high, wide, pitch, scale,
    TAPS: tl.constexpr, CELLS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Four reads per tap, out of the cache; taps that follow each other lie side by side, since maps are x by y."""
    cell, tap = tl.program_id(0) * CELLS + tl.arange(0, CELLS), tl.arange(0, WIDTH)
    there = cell < cells
    place = cell % (height * width)
    u = tl.load(flow + cell.to(tl.int64) * 2, mask=there, other=0.0)
    v = tl.load(flow + cell.to(tl.int64) * 2 + 1, mask=there, other=0.0)
    # Farther out than the window is wide all taps are zero; integers of coordinates that ran away would be anything.
    x = tl.minimum(tl.maximum(((place % width).to(tl.float32) + u) * scale, -16.0), wide + 16.0)
    y = tl.minimum(tl.maximum(((place // width).to(tl.float32) + v) * scale, -16.0), high + 16.0)
    left, top = tl.floor(x), tl.floor(y)
    fx, fy = (x - left)[:, None], (y - top)[:, None]
    column = left.to(tl.int32)[:, None] + (tap // 9 - 4)[None, :]
    row = top.to(tl.int32)[:, None] + (tap % 9 - 4)[None, :]
    at = maps + cell.to(tl.int64)[:, None] * (high * wide) + column * high + row
    asked = there[:, None] & (tap < TAPS)[None, :]
    in_left, in_right = asked & (column >= 0) & (column < wide), asked & (column >= -1) & (column < wide - 1)
    in_top, in_below = (row >= 0) & (row < high), (row >= -1) & (row < high - 1)
    near = tl.load(at, mask=in_left & in_top, other=0.0) * (1 - fy)
    near += tl.load(at + 1, mask=in_left & in_below, other=0.0) * fy
    far = tl.load(at + high, mask=in_right & in_top, other=0.0) * (1 - fy)
    far += tl.load(at + high + 1, mask=in_right & in_below, other=0.0) * fy
    found = near * (1 - fx) + far * fx
    tl.store(out + cell.to(tl.int64)[:, None] * pitch + tap[None, :], found.to(out.dtype.element_ty), mask=asked)


def look_up(pyramid: list[Tensor], flow: Tensor, size: tuple[int, int], out: Tensor) -> None:
    """Bilinear correlations in the 9x9 window around where each cell's flow points, on every level; 0 outside.

    Args:
        pyramid: levels (N*h*w, w/2^l, h/2^l) float32, contiguous: TRANSPOSED maps, x before y.
        flow: (N*h*w, 2) float32, contiguous, in cells.
        size: (h, w).
        out: (N*h*w, at least 81 per level), written: level by level, within one x slow and y fast (published).
    """
    cells = len(flow)
    for level, maps in enumerate(pyramid):
        wide, high = maps.shape[1:]
        _look[(triton.cdiv(cells, _CELLS),)](
            maps, flow, out[:, TAPS * level :], cells, *size, high, wide, out.stride(0), 0.5**level,
            TAPS=TAPS, CELLS=_CELLS, WIDTH=128,
        )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def _affine(  # type: ignore[no-untyped-def]
    x, scale, shift, skip, skip_scale, skip_shift, out, again,
    rows, channels, per_picture, x_row, vector_row, skip_row, out_row, again_row,
    SCALED: tl.constexpr, SKIPS: tl.constexpr, SKIP_SCALED: tl.constexpr, TWICE: tl.constexpr,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    r = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    mask = (r < rows)[:, None] & (c < channels)[None, :]
    vector = ((r // per_picture) * vector_row)[:, None] + c[None, :]
    value = tl.load(x + r[:, None] * x_row + c[None, :], mask=mask, other=0.0).to(tl.float32)
    if SCALED:
        value = value * tl.load(scale + vector, mask=mask, other=0.0)
    value = tl.maximum(value + tl.load(shift + vector, mask=mask, other=0.0), 0.0)
    if SKIPS:
        short = tl.load(skip + r[:, None] * skip_row + c[None, :], mask=mask, other=0.0).to(tl.float32)
        if SKIP_SCALED:
            short = short * tl.load(skip_scale + vector, mask=mask, other=0.0)
            short += tl.load(skip_shift + vector, mask=mask, other=0.0)
        value = tl.maximum(value + short, 0.0)
    tl.store(out + r[:, None] * out_row + c[None, :], value.to(out.dtype.element_ty), mask=mask)
    if TWICE:
        tl.store(again + r[:, None] * again_row + c[None, :], value.to(again.dtype.element_ty), mask=mask)


def shift_and_relu(
    x: Tensor,
    shift: Tensor,
    out: Tensor,
    scale: Tensor | None = None,
    skip: Tensor | None = None,
    skip_norm: tuple[Tensor, Tensor] | None = None,
    again: Tensor | None = None,
) -> None:
    """relu(x * scale + shift), and with `skip` relu(that + skip), into `out`, and into `again` where given.

    Args:
        x: rows (R, C); may be `out`.
        shift: (M, C) float32 contiguous, one vector for each R/M rows.
        out: rows (R, C), written.
        scale: as `shift`, or None for 1.
        skip: rows (R, C), or None.
        skip_norm: scale and shift of `skip`, each as `shift`, or None.
        again: rows (R, C), written like `out`.
    """
    rows, channels = x.shape
    skip_scale, skip_shift = skip_norm or (shift, shift)
    per_picture, vector_row = (rows // len(shift), channels) if len(shift) > 1 else (rows, 0)
    _affine[_tiles(rows, channels)](
        x, shift if scale is None else scale, shift, x if skip is None else skip, skip_scale, skip_shift,
        out, out if again is None else again, rows, channels, per_picture, x.stride(0), vector_row,
        0 if skip is None else skip.stride(0), out.stride(0), 0 if again is None else again.stride(0),
        SCALED=scale is not None, SKIPS=skip is not None, SKIP_SCALED=skip_norm is not None,
        TWICE=again is not None, ROWS=_ROWS, CHANNELS=_CHANNELS,
    )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def _gate(  # type: ignore[no-untyped-def]
    both, constant, hidden, update, reset, rows, channels, both_row, constant_row, hidden_row, update_row, reset_row,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    r = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    c = (tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS))[None, :]
    mask = (r < rows) & (c < channels)
    z = tl.load(both + r * both_row + c, mask=mask, other=0.0).to(tl.float32)
    z += tl.load(constant + r * constant_row + c, mask=mask, other=0.0).to(tl.float32)
    q = tl.load(both + r * both_row + channels + c, mask=mask, other=0.0).to(tl.float32)
    q += tl.load(constant + r * constant_row + channels + c, mask=mask, other=0.0).to(tl.float32)
    h = tl.load(hidden + r * hidden_row + c, mask=mask, other=0.0).to(tl.float32)
    tl.store(update + r * update_row + c, tl.sigmoid(z).to(update.dtype.element_ty), mask=mask)
    tl.store(reset + r * reset_row + c, (tl.sigmoid(q) * h).to(reset.dtype.element_ty), mask=mask)


def gate(both: Tensor, constant: Tensor, hidden: Tensor, update: Tensor, reset: Tensor) -> None:
    """The GRU's gates: `update` becomes sigmoid(z) and `reset` becomes sigmoid(r) * hidden.

    Args:
        both: rows (R, 2C), the changing part of z and of r.
        constant: rows (R, at least 2C), the part that is the same in every update.
        hidden: rows (R, C).
        update: rows (R, C), written.
        reset: rows (R, C), written.
    """
    rows, channels = hidden.shape
    _gate[_tiles(rows, channels)](
        both, constant, hidden, update, reset, rows, channels,
        both.stride(0), constant.stride(0), hidden.stride(0), update.stride(0), reset.stride(0),
        ROWS=_ROWS, CHANNELS=_CHANNELS,
    )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def _blend(  # type: ignore[no-untyped-def]
    fresh, constant, update, hidden, again, rows, channels,
    fresh_row, constant_row, update_row, hidden_row, again_row, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    r = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    c = (tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS))[None, :]
    mask = (r < rows) & (c < channels)
    q = tl.load(fresh + r * fresh_row + c, mask=mask, other=0.0).to(tl.float32)
    q += tl.load(constant + r * constant_row + c, mask=mask, other=0.0).to(tl.float32)
    z = tl.load(update + r * update_row + c, mask=mask, other=0.0).to(tl.float32)
    h = tl.load(hidden + r * hidden_row + c, mask=mask, other=0.0).to(tl.float32)
    result = (1 - z) * h + z * (2 * tl.sigmoid(2 * q) - 1)  # the last factor is tanh(q)
    tl.store(hidden + r * hidden_row + c, result.to(hidden.dtype.element_ty), mask=mask)
    tl.store(again + r * again_row + c, result.to(again.dtype.element_ty), mask=mask)


def blend(fresh: Tensor, constant: Tensor, update: Tensor, hidden: Tensor, again: Tensor) -> None:
    """The GRU's new state, (1 - update) * hidden + update * tanh(fresh + constant), into `hidden` and `again`.

    Args:
        fresh: rows (R, C).
        constant: rows (R, C).
        update: rows (R, C).
        hidden: rows (R, C), read and written.
        again: rows (R, C), written.
    """
    rows, channels = hidden.shape
    _blend[_tiles(rows, channels)](
        fresh, constant, update, hidden, again, rows, channels,
        fresh.stride(0), constant.stride(0), update.stride(0), hidden.stride(0), again.stride(0),
        ROWS=_ROWS, CHANNELS=_CHANNELS,
    )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def _moments(  # type: ignore[no-untyped-def]
    x, means, squares, per_picture, channels, tiles, TILE: tl.constexpr, CHANNELS: tl.constexpr
):  # fmt: skip
    tile, picture = tl.program_id(0), tl.program_id(1).to(tl.int64)
    r = tile * TILE + tl.arange(0, TILE)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    mask = (r < per_picture)[:, None] & (c < channels)[None, :]
    at = x + (picture * per_picture + r)[:, None] * channels + c[None, :]
    value = tl.load(at, mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(value, 0) / tl.minimum(per_picture - tile * TILE, TILE)
    off = tl.where(mask, value - mean[None, :], 0.0)
    out = (picture * tiles + tile) * channels + c
    tl.store(means + out, mean, mask=c < channels)
    tl.store(squares + out, tl.sum(off * off, 0), mask=c < channels)


def instance_norm(x: Tensor, pictures: int, epsilon: float) -> tuple[Tensor, Tensor]:
    """Scale and shift, each (pictures, C) float32, that give every channel of every picture mean 0 and variance 1.

    Means and squared differences are made tile by tile and then joined, so that nothing large cancels.

    Args:
        x: rows (R, C), contiguous.
        pictures: how many pictures the rows are.
        epsilon: added to the variance.
    """
    rows, channels = x.shape
    each = rows // pictures
    tiles = triton.cdiv(each, _TILE)
    means = torch.empty(pictures, tiles, channels, dtype=torch.float32, device=x.device)
    squares = torch.empty_like(means)
    _moments[(tiles, pictures, triton.cdiv(channels, _CHANNELS))](
        x, means, squares, each, channels, tiles, TILE=_TILE, CHANNELS=_CHANNELS
    )
    begins = torch.arange(tiles, dtype=torch.float32, device=x.device) * _TILE
    counts = (each - begins).clamp_max(_TILE)[:, None]
    mean = (means * counts).sum(1) / each
    variance = (squares + counts * (means - mean[:, None]) ** 2).sum(1) / each
    scale = (variance + epsilon).rsqrt()
    return scale, -mean * scale


@triton.jit  # type: ignore[untyped-decorator]
def _upsample(  # type: ignore[no-untyped-def]
    weights, bias, flow, out, cells, height, width, CELLS: tl.constexpr
):  # fmt: skip
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    sub = tl.arange(0, 64)
    there = cell < cells
    column, row, picture = cell % width, (cell // width) % height, (cell // (width * height)).to(tl.int64)
    at = weights + cell.to(tl.int64)[:, None] * 576 + sub[None, :]
    top = tl.full((CELLS, 64), -float("inf"), tl.float32)
    for k in tl.static_range(9):
        logit = tl.load(at + 64 * k, mask=there[:, None], other=0.0).to(tl.float32)
        top = tl.maximum(top, logit + tl.load(bias + 64 * k + sub)[None, :])
    total = tl.zeros((CELLS, 64), tl.float32)
    u, v = tl.zeros((CELLS, 64), tl.float32), tl.zeros((CELLS, 64), tl.float32)
    for k in tl.static_range(9):
        logit = tl.load(at + 64 * k, mask=there[:, None], other=0.0).to(tl.float32)
        weight = tl.exp(logit + tl.load(bias + 64 * k + sub)[None, :] - top)
        down, right = k // 3 - 1, k % 3 - 1
        inside = there & (row + down >= 0) & (row + down < height) & (column + right >= 0) & (column + right < width)
        beside = flow + (cell + down * width + right).to(tl.int64) * 2
        u += weight * tl.load(beside, mask=inside, other=0.0)[:, None]
        v += weight * tl.load(beside + 1, mask=inside, other=0.0)[:, None]
        total += weight
    plane = (64 * height * width).to(tl.int64)
    line = (row * 8)[:, None] + (sub // 8)[None, :]
    place = picture[:, None] * 2 * plane + line * (8 * width) + (column * 8)[:, None] + (sub % 8)[None, :]
    tl.store(out + place, 8 * u / total, mask=there[:, None])
    tl.store(out + place + plane, 8 * v / total, mask=there[:, None])


def upsample(weights: Tensor, bias: Tensor, flow: Tensor, size: tuple[int, int]) -> Tensor:
    """RAFT's convex up-sampling to (N, 2, 8h, 8w) float32 in pixels.

    Args:
        weights: rows (N*h*w, 576) before softmax, contiguous.
        bias: (576,) float32, added to them.
        flow: (N*h*w, 2) float32, contiguous, in cells.
        size: (h, w).
    """
    cells, (height, width) = len(flow), size
    out = torch.empty(cells // (height * width), 2, 8 * height, 8 * width, dtype=torch.float32, device=flow.device)
    _upsample[(triton.cdiv(cells, _CELLS),)](weights, bias, flow, out, cells, height, width, CELLS=_CELLS)
    return out
