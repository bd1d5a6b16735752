"""ConsistI2V's pictures in and out: scale, crop, bytes.   TIGER-AI-Lab/ConsistI2V @ 152102b `scripts/animate.py`"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


def scale_and_crop(picture: NDArray[np.uint8], height: int, width: int) -> Tensor:
    """A picture whose shorter side becomes `height`, cropped to its centre.

    Published: bilinear without antialiasing; the width plays no part in the scale, so for a target wider than it is
    high a narrow picture gets black borders; offsets are rounded half to even.

    Args:
        picture: (h, w, 3) uint8 RGB.
        height: of the target, pixels.
        width: of the target, pixels.

    Returns:
        (3, height, width) float32 in [-1, 1].
    """
    h, w = picture.shape[:2]
    size = (height, int(height * w / h)) if h <= w else (int(height * h / w), height)
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    scaled = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)[0]
    return _centre(scaled, height, width) * 2 - 1


def _centre(x: Tensor, height: int, width: int) -> Tensor:
    lack_h, lack_w = max(height - x.shape[1], 0), max(width - x.shape[2], 0)
    x = F.pad(x, (lack_w // 2, (lack_w + 1) // 2, lack_h // 2, (lack_h + 1) // 2))
    top, left = round((x.shape[1] - height) / 2), round((x.shape[2] - width) / 2)
    return x[:, top : top + height, left : left + width]
