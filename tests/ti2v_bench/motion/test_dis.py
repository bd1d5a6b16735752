"""DIS against shifts that are known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from ti2v_bench.motion.dis import DisFlow
from ti2v_bench.motion.flow import FlowError


def _texture(size: int = 96) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(3).normal(size=(size, size)), 1.5, mode="wrap")
    return 128 + 100 * noise / np.abs(noise).max()


@pytest.mark.parametrize(("dx", "dy"), [(2.0, 0.0), (0.0, -3.0), (1.5, 2.5)])
def test_a_known_shift_is_found(dx: float, dy: float) -> None:
    first = _texture()
    second = shift(first, (dy, dx), order=3, mode="wrap")
    frames = np.repeat(np.stack([first, second]).clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)
    flow = DisFlow().flow(frames)
    assert flow.shape == (1, 2, 96, 96)
    inner = flow[0, :, 16:-16, 16:-16].reshape(2, -1)
    assert np.median(inner, axis=1) == pytest.approx([dx, dy], abs=0.15)


def test_a_still_clip_has_no_flow() -> None:
    frames = np.repeat(_texture().astype(np.uint8)[None, ..., None], 3, axis=-1).repeat(3, axis=0)
    assert not DisFlow().flow(frames).any()


def test_unfit_frames_are_refused() -> None:
    with pytest.raises(FlowError, match="at least two"):
        DisFlow().flow(np.zeros((1, 64, 64, 3), np.uint8))
    with pytest.raises(FlowError, match="at least 16x16"):
        DisFlow().flow(np.zeros((2, 8, 64, 3), np.uint8))
