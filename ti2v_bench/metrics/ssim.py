"""Structural similarity of two pictures, by separable windows on one CPU thread; equal to torchmetrics' in float64.

Shapes: pictures and maps are (H, W, 3) float64, levels 0-255. OpenCV filters them outside the interpreter's lock, so
several clips can be scored at once.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ti2v_bench.metrics.clip import Picture

Levels = NDArray[np.float64]

RADIUS, SIGMA = 5, 1.5
"""The 11-pixel Gaussian window of Wang et al. (2004)."""
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""What keeps the two quotients from 0/0, for a range of 255; same paper."""
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents from fine to coarse; Wang, Simoncelli and Bovik (2003)."""


def ssim(one: Picture, other: Picture) -> float:
    """Mean of the SSIM map over pixels and channels, at most 1; borders are mirrored.

    Args:
        one: (H, W, 3) uint8, at least 6 pixels each way.
        other: the same shape.

    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    return _similarity_and_contrast(one.astype(np.float64), other.astype(np.float64))[0]


def ms_ssim(one: Picture, other: Picture) -> float:
    """Product over five scales of contrast (fine) and similarity (coarsest), each to its weight, in [0, 1].

    Negative terms count as 0, and the contrast's mean leaves out the mirrored border: both as in torchmetrics.

    Args:
        one: (H, W, 3) uint8, more than 160 pixels each way.
        other: the same shape.

    Source: Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", 2003.
    """
    a, b = one.astype(np.float64), other.astype(np.float64)
    found = []
    for scale in range(len(SCALE_WEIGHTS)):
        if scale:
            a, b = _halved(a), _halved(b)
        found.append(_similarity_and_contrast(a, b))
    terms = [contrast for _, contrast in found[:-1]] + [found[-1][0]]
    return float(np.prod(np.maximum(terms, 0) ** np.array(SCALE_WEIGHTS)))


def _similarity_and_contrast(a: Levels, b: Levels) -> tuple[float, float]:
    mean_a, mean_b = _blurred(a), _blurred(b)
    square_a, square_b, product = mean_a * mean_a, mean_b * mean_b, mean_a * mean_b
    # The sum of both variances needs one filter instead of two; rounding alone can make it negative.
    variances = np.maximum(_blurred(a * a + b * b) - square_a - square_b, 0)
    contrast = (2 * (_blurred(a * b) - product) + C2) / (variances + C2)
    similarity = (2 * product + C1) / (square_a + square_b + C1) * contrast
    return float(similarity.mean()), float(contrast[RADIUS:-RADIUS, RADIUS:-RADIUS].mean())


def _blurred(levels: Levels) -> Levels:
    size = 2 * RADIUS + 1
    result: Levels = cv2.GaussianBlur(levels, (size, size), SIGMA, borderType=cv2.BORDER_REFLECT_101)
    return result


def _halved(levels: Levels) -> Levels:
    height, width = (side // 2 for side in levels.shape[:2])
    even = levels[: 2 * height, : 2 * width]
    result: Levels = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
    return result
