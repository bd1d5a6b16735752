"""SSIM and MS-SSIM against torchmetrics in float64."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from ti2v_bench.metrics.clip import Picture
from ti2v_bench.metrics.ssim import ms_ssim, ssim


def pictures(kind: str, height: int, width: int) -> tuple[Picture, Picture]:
    rng = np.random.default_rng(7)
    noise = rng.normal(0, 60, (2, height, width, 3))
    smooth = gaussian_filter(noise, (0, 4, 4, 0)) * 8
    one, other = {
        "noise": (noise[0], noise[1]),
        "smooth": (smooth[0], smooth[0] + noise[1] / 6),
        "opposite": (smooth[0], -smooth[0]),
        "flat": (smooth[0] * 0 + 20, smooth[0] * 0 - 30),
        "equal": (smooth[0], smooth[0]),
    }[kind]
    first, second = ((128 + x).clip(0, 255).astype(np.uint8) for x in (one, other))
    return first, second


def wide(picture: Picture) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].double()


@pytest.mark.parametrize("kind", ["noise", "smooth", "opposite", "flat", "equal"])
@pytest.mark.parametrize(("height", "width"), [(176, 176), (177, 203)])
def test_both_equal_torchmetrics(kind: str, height: int, width: int) -> None:
    one, other = pictures(kind, height, width)
    expected = structural_similarity_index_measure(wide(one), wide(other), data_range=255.0)
    assert ssim(one, other) == pytest.approx(float(expected), abs=1e-6)
    expected = multiscale_structural_similarity_index_measure(
        wide(one), wide(other), data_range=255.0, normalize="relu"
    )
    assert ms_ssim(one, other) == pytest.approx(float(expected), abs=1e-6)


def test_ssim_of_the_smallest_frames_equals_torchmetrics() -> None:
    one, other = pictures("smooth", 11, 14)
    expected = structural_similarity_index_measure(wide(one), wide(other), data_range=255.0)
    assert ssim(one, other) == pytest.approx(float(expected), abs=1e-6)
