"""The heatmap against values worked out by hand."""

import math

import pytest
import torch

from ti2v_bench.motion.heatmap import HeatmapError, HeatmapSettings, heatmap, intensity, share, sigma, to_grid


def test_sigma_has_the_published_values() -> None:
    x = torch.tensor([0.0, 0.02, 0.05, 0.1])
    assert sigma(x).tolist() == pytest.approx(
        [1 / (1 + math.exp(5)), 1 / (1 + math.exp(3)), 0.5, 1 / (1 + math.exp(-5))]
    )


def _flow() -> torch.Tensor:
    flow = torch.zeros(2, 2, 30, 40)
    flow[0, :, 3, 5] = torch.tensor([4.0, 3.0])
    flow[1, :, 7, 8] = torch.tensor([0.0, -6.0])
    return flow


@pytest.mark.parametrize(
    ("unit", "first", "second"),
    [
        ("pixel", 5.0, 6.0),
        ("size", math.hypot(0.1, 0.1), 0.2),
        ("half_size", math.hypot(0.2, 0.2), 0.4),
        ("diag", 0.1, 0.12),
        ("minmax_clip", 5 / 6, 1.0),
    ],
)
def test_units_by_hand(unit: str, first: float, second: float) -> None:
    x = intensity(_flow(), unit)  # type: ignore[arg-type]
    assert x.shape == (2, 30, 40)
    assert x[0, 3, 5].item() == pytest.approx(first)
    assert x[1, 7, 8].item() == pytest.approx(second)
    assert x[0, 0, 0] == 0


def test_minmax_scales_each_clip_alone_and_a_still_clip_is_cold() -> None:
    both = torch.stack([_flow(), torch.full((2, 2, 30, 40), 2.0), 10 * _flow()])
    x = intensity(both, "minmax_clip")
    assert torch.equal(x[1], torch.zeros(2, 30, 40))
    torch.testing.assert_close(x[0], x[2])


def test_last_frame_repeats_the_last_flow() -> None:
    heat = heatmap(_flow(), HeatmapSettings())
    assert heat.shape == (3, 30, 40)
    assert torch.equal(heat[2], heat[1])
    assert heat[1, 7, 8] > 0.99
    assert heat[0, 7, 8].item() == pytest.approx(1 / (1 + math.exp(5)))


def test_variants() -> None:
    motion = heatmap(_flow(), HeatmapSettings())
    torch.testing.assert_close(heatmap(_flow(), HeatmapSettings(variant="inverse")), 1 - motion)
    binary = heatmap(_flow(), HeatmapSettings(variant="binary"))
    assert binary.sum() == 3  # one pixel per flow, the last repeated
    assert share(binary).hot == pytest.approx(3 / (3 * 30 * 40))
    assert share(binary).mean == pytest.approx(3 / (3 * 30 * 40))


def test_latent_grid_is_the_area_average() -> None:
    heat = torch.arange(2 * 16 * 24, dtype=torch.float32).reshape(2, 16, 24)
    grid = to_grid(heat, (2, 3))
    assert grid.shape == (2, 2, 3)
    assert grid[1, 0, 2].item() == pytest.approx(heat[1, :8, 16:].mean().item())


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(HeatmapError, match="'furlong'"):
        HeatmapSettings(unit="furlong")  # type: ignore[arg-type]
    with pytest.raises(HeatmapError, match=r"\(\.\.\., T-1, 2, H, W\)"):
        heatmap(torch.zeros(3, 3, 4, 4), HeatmapSettings())
