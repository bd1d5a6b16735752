"""A bench's pictures as every part sees them, annotators and models alike: upright, RGB, eight bits a channel."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


def open_picture(path: Path) -> Image.Image:
    """A picture file as RGB: turned as its EXIF orientation says, 16 bits scaled to 8, transparency dropped.

    Raises:
        OSError: the file is absent or no picture.
    """
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode == "I" or upright.mode.startswith("I;16"):  # Pillow would clip these at 255
            grey = np.clip(np.asarray(upright, np.int64), 0, 0xFFFF) // 257
            upright = Image.fromarray(grey.astype(np.uint8))
        return upright.convert("RGB")


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The same as (h, w, 3) uint8."""
    return np.asarray(open_picture(path))
