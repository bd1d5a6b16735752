"""Backgrounds: noise from an integer hash, so that a scene's seed alone gives the same picture at any size."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ti2v_bench.shapes.words import TEXTURES

Floats = NDArray[np.float32]

_DARK_TO_LIGHT = {
    "brick": ((138, 62, 50), (178, 98, 76)),
    "grass": ((34, 78, 40), (98, 146, 74)),
    "night": ((8, 12, 36), (44, 48, 98)),
    "sand": ((188, 156, 104), (230, 206, 158)),
    "snow": ((206, 218, 232), (246, 249, 253)),
    "stone": ((84, 87, 94), (150, 152, 156)),
    "water": ((16, 72, 112), (84, 162, 198)),
    "wood": ((98, 64, 38), (160, 114, 72)),
}


def backgrounds(texture: NDArray[np.int64], seed: NDArray[np.int64], height: int, width: int) -> Floats:
    """Background of each of N scenes, (N, height, width, 3) float32 in 0-255."""
    out = np.empty((len(seed), height, width, 3), np.float32)
    for index, name in enumerate(TEXTURES):
        which = np.flatnonzero(texture == index)
        if len(which):
            out[which] = _coloured(name, seed[which], height, width)
    return out


def _coloured(name: str, seed: NDArray[np.int64], height: int, width: int) -> Floats:
    shade = _SHADES[name](seed, height, width)
    dark, light = np.array(_DARK_TO_LIGHT[name], np.float32)
    tint = 0.93 + 0.14 * _uniform(seed, 90, 3).reshape(-1, 1, 1, 3)
    vignette = 1 - 0.12 * (_across(height)[:, None] ** 2 + _across(width)[None, :] ** 2)
    picture: Floats = (dark + shade[..., None] * (light - dark)) * tint
    if name == "brick":
        mortar = _mortar(seed, height, width)[..., None]
        picture += mortar * (np.array((188, 180, 168), np.float32) - picture)
    picture *= vignette[..., None]
    return picture.clip(0, 255)


def _brick(seed: NDArray[np.int64], height: int, width: int) -> Floats:
    _, row, column = _courses(height, width)
    lattice = _grid(seed, 1, 16, 16)
    shade: Floats = 0.75 * lattice[:, row, column] + 0.25 * _noise(seed, 2, 40, 40, height, width)
    return shade


def _grass(seed: NDArray[np.int64], height: int, width: int) -> Floats:
    blades = _noise(seed, 1, 14, 56, height, width)
    shade: Floats = 0.55 * _cloud(seed, 2, height, width) + 0.45 * blades
    return shade


def _night(seed: NDArray[np.int64], height: int, width: int) -> Floats:
    stars = _noise(seed, 1, 30, 30, height, width) ** 14 * 2.2
    glow = (_across(height)[:, None] + 1) / 2
    shade: Floats = 0.45 * glow**2 + 0.3 * _cloud(seed, 2, height, width) + stars
    return shade


def _sand(seed: NDArray[np.int64], height: int, width: int) -> Floats:
    drift = _noise(seed, 1, 4, 4, height, width)
    ripples = 0.5 + 0.5 * np.sin(2 * np.pi * (9 * _unit(height)[:, None] + 2.2 * drift).astype(np.float32))
    shade: Floats = 0.35 * ripples + 0.35 * drift + 0.3 * _noise(seed, 2, 48, 48, height, width)
    return shade


def _snow(seed: NDArray[np.int64], height: int, width: int) -> Floats:
    grit = _noise(seed, 8, 40, 40, height, width)
    return np.asarray(0.75 * _cloud(seed, 1, height, width) ** 0.8 + 0.25 * grit, np.float32)


def _stone(seed: NDArray[np.int64], height: int, width: int) -> Floats:
    veins = 1 - np.abs(2 * _noise(seed, 1, 6, 6, height, width) - 1)
    grit = _noise(seed, 8, 52, 52, height, width)
    return np.asarray(0.6 * _cloud(seed, 2, height, width) + 0.25 * grit + 0.3 * (0.5 - veins**8), np.float32)


def _water(seed: NDArray[np.int64], height: int, width: int) -> Floats:
    swell = _noise(seed, 1, 5, 3, height, width)
    waves = 0.5 + 0.5 * np.sin(2 * np.pi * (7 * _unit(height)[:, None] + 3 * swell).astype(np.float32))
    shade: Floats = 0.55 * waves**2 + 0.45 * _noise(seed, 2, 26, 9, height, width)
    return shade


def _wood(seed: NDArray[np.int64], height: int, width: int) -> Floats:
    plank = 5 * _unit(height)
    seam = np.abs(plank - np.round(plank))[:, None] < 0.035
    tone = _grid(seed, 3, 1, 6)[:, 0, plank.astype(np.int64)][:, :, None]
    grain = _noise(seed, 1, 56, 4, height, width)
    shade: Floats = 0.5 * grain + 0.3 * tone + 0.2 * _cloud(seed, 4, height, width)
    return np.where(seam, np.float32(0.2) * shade, shade)


def _courses(height: int, width: int) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Rows of bricks, every other one shifted by half: mortar, and each pixel's row and column, all (H, W)."""
    down = 8 * np.broadcast_to(_unit(height)[:, None], (height, width))
    row = down.astype(np.int64)
    along = 4 * _unit(width)[None, :] + 0.5 * (row % 2)
    column = along.astype(np.int64)
    mortar = (down - row < 0.12) | (along - column < 0.06)
    return mortar, row, column


def _mortar(seed: NDArray[np.int64], height: int, width: int) -> Floats:
    mortar, _, _ = _courses(height, width)
    shade: Floats = mortar * (0.6 + 0.4 * _noise(seed, 5, 30, 30, height, width))
    return shade


_SHADES: dict[str, Callable[[NDArray[np.int64], int, int], Floats]] = {
    "brick": _brick,
    "grass": _grass,
    "night": _night,
    "sand": _sand,
    "snow": _snow,
    "stone": _stone,
    "water": _water,
    "wood": _wood,
}
"""From seeds to (N, H, W) shades, about 0 (dark) to 1 (light)."""


def _cloud(seed: NDArray[np.int64], stream: int, height: int, width: int) -> Floats:
    """Three octaves of noise, (N, H, W) in [0, 1]."""
    cloud = np.zeros((len(seed), height, width), np.float32)
    for octave, (weight, cells) in enumerate(((0.5, 3), (0.3, 7), (0.2, 15))):
        cloud += np.float32(weight) * _noise(seed, stream + octave, cells, cells, height, width)
    return cloud


def _noise(seed: NDArray[np.int64], stream: int, rows: int, columns: int, height: int, width: int) -> Floats:
    """Smooth value noise on a lattice of rows x columns cells, (N, H, W) in [0, 1]."""
    lattice = _grid(seed, stream, rows + 1, columns + 1)
    return np.asarray(_weights(rows, height) @ lattice @ _weights(columns, width).T, np.float32)


def _grid(seed: NDArray[np.int64], stream: int, rows: int, columns: int) -> Floats:
    return _uniform(seed, stream, rows * columns).reshape(-1, rows, columns)


def _uniform(seed: NDArray[np.int64], stream: int, count: int) -> Floats:
    """(N, count) numbers in [0, 1) that depend on nothing but seed, stream and position (the splitmix64 mixer)."""
    position = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(stream << 32)
    value = seed.astype(np.uint64)[:, None] * np.uint64(0xD1342543DE82EF95) + position * np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    value = (value ^ (value >> np.uint64(31))) >> np.uint64(40)
    return np.asarray(value / (1 << 24), np.float32)


@lru_cache(maxsize=256)
def _weights(cells: int, pixels: int) -> Floats:
    """(pixels, cells + 1): how much each lattice point counts at each pixel, eased between neighbours."""
    at = _unit(pixels) * cells
    left = at.astype(np.int64)
    part = np.asarray(at - left, np.float64)
    part = part * part * (3 - 2 * part)
    weights = np.zeros((pixels, cells + 1), np.float32)
    weights[np.arange(pixels), left] = 1 - part
    weights[np.arange(pixels), left + 1] = part
    return weights


def _unit(pixels: int) -> Floats:
    """Pixel centres in (0, 1)."""
    return np.asarray((np.arange(pixels) + 0.5) / pixels, np.float32)


def _across(pixels: int) -> Floats:
    """Pixel centres in (-1, 1)."""
    return 2 * _unit(pixels) - 1
