"""A picture and a mask as AnimateAnything's network wants them.

Source: alibaba/animate-anything@dca2412 train.py, `eval` and `main_eval`.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ti2v_bench.errors import TI2VError


class PictureError(TI2VError):
    """A picture that no video of the wanted size can be made from."""


def frame_size(width: int, height: int, area: int, calls: int = 1) -> tuple[int, int]:
    """Height and width in pixels, multiples of 8, with about `area` pixels and the picture's aspect.

    Args:
        width: Of the picture, in pixels.
        height: Of the picture.
        area: Wanted pixels; the official configuration writes it as height x width.
        calls: Published: the configuration's size is overwritten with the result, so that each further video of a
            run starts from the size before.

    Raises:
        PictureError: the picture is so narrow that one side would have no pixels.
    """
    rows, columns = 0, 0
    for _ in range(calls):
        scale = math.sqrt(width * height / area)
        rows, columns = round(height / scale / 8) * 8, round(width / scale / 8) * 8  # ties to even, as published
        if not rows or not columns:
            raise PictureError(
                f"A picture of {width}x{height} pixels would become a video of {columns}x{rows}; cut it to a wider "
                "aspect, or ask for a larger area."
            )
        area = rows * columns
    return rows, columns


def picture_pixels(picture: Image.Image, height: int, width: int) -> Tensor:
    """The whole picture, Lanczos-resized without cropping, (1, 3, H, W) float32 in [-1, 1]."""
    resized = np.asarray(picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
    return torch.from_numpy(resized.astype(np.float32) / 255).permute(2, 0, 1)[None] * 2 - 1


def mask_pixels(mask: Image.Image | None, height: int, width: int) -> NDArray[np.uint8]:
    """Where it may move, (H, W) of 0 and 255; everywhere without a mask. Any non-zero pixel counts as 255.

    Published: Pillow's own filter, bicubic for grey masks and nearest for black-and-white and palette ones, whose
    indices count. The official code reads masks of one channel only; others are converted to grey here.
    """
    if mask is None:
        return np.full((height, width), 255, np.uint8)
    single = mask if mask.mode in ("1", "L", "P") else mask.convert("L")
    resized = np.asarray(single.resize((width, height)))
    return np.where(resized > 0, 255, 0).astype(np.uint8)


def mask_latent(mask_HW: NDArray[np.uint8]) -> Tensor:
    """The mask on the latent grid, (1, 1, 1, H/8, W/8) float32.

    Published: resized bilinearly without antialiasing and, unlike in training, not made binary again.
    """
    scaled = torch.from_numpy(mask_HW.astype(np.float32) / 255)[None, None]
    size = (mask_HW.shape[0] // 8, mask_HW.shape[1] // 8)
    return F.interpolate(scaled, size, mode="bilinear", align_corners=False, antialias=False)[:, :, None]
