"""Pictures of every kind become the same upright RGB picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ti2v_bench.pictures import open_picture

ROWS = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3) * 3


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [(1, ROWS), (3, ROWS[::-1, ::-1]), (6, np.rot90(ROWS)), (8, np.rot90(ROWS, -1))],  # EXIF 2.3, tag 0x0112
)
def test_a_turned_picture_stands_upright(orientation: int, stored: np.ndarray, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.asarray(open_picture(tmp_path / "a.png")), ROWS)


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    grey = np.linspace(0, 0xFFFF, 256).round().astype(np.uint16).reshape(16, 16)  # k * 257
    Image.fromarray(grey).save(tmp_path / "a.png")
    read = np.asarray(open_picture(tmp_path / "a.png"))
    assert read.shape == (16, 16, 3)
    assert np.array_equal(read[..., 0].ravel(), np.arange(256))
    assert (read == read[..., :1]).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb_of_the_same_colour(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.jpg" if mode in ("CMYK", "YCbCr") else "a.png")
    Image.new("RGB", (8, 8), "white").convert(mode).save(path)
    read = open_picture(path)
    assert read.mode == "RGB"
    assert np.asarray(read).min() >= 250
