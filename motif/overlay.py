"""Heatmaps to look at: the clip darkened where nothing moves, coloured where something does."""

import numpy as np
from numpy.typing import NDArray

from motif.heatmaps import Heat
from ti2v_bench.model import Frames


def overlay(frames: Frames, heat: Heat, strength: float = 0.65) -> Frames:
    """Frames with the heatmap laid over them.

    Args:
        frames: (F, H, W, 3) uint8.
        heat: (F, h, w) in [0, 1]; shown in its own cells, not smoothed.
        strength: how much of the colour covers a pixel where the heat is 1.

    Returns:
        (F, H, 2 W, 3) uint8: the frames at left, the overlay at right.
    """
    from matplotlib import colormaps

    height, width = frames.shape[1:3]
    rows = np.arange(height) * heat.shape[1] // height
    columns = np.arange(width) * heat.shape[2] // width
    cells = heat[:, rows][:, :, columns]
    colour: NDArray[np.float64] = colormaps["inferno"](cells)[..., :3] * 255
    cover = strength * (0.35 + 0.65 * cells[..., None])
    mixed = frames * (1 - cover) + colour * cover
    return np.concatenate([frames, mixed.round().clip(0, 255).astype(np.uint8)], axis=2)
