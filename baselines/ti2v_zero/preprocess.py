"""A picture as TI2V-Zero's first frame.   merlresearch/TI2V-Zero@4a89bef, demo_img2vid.py and util.py"""

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def middle_square(picture: Image.Image) -> Image.Image:
    """The largest square in the middle; an odd pixel too many is dropped at the left or the top."""
    side = min(picture.size)
    left, top = math.ceil((picture.width - side) / 2), math.ceil((picture.height - side) / 2)
    return picture.crop((left, top, left + side, top + side))


def first_frame(picture: Image.Image, size: int) -> Tensor:
    """The middle square, resized bicubically, (1, 3, size, size) float32 in [-1, 1].

    The official code reads RGB files only; others are converted here.
    """
    small = middle_square(picture.convert("RGB")).resize((size, size), Image.Resampling.BICUBIC)
    unit = torch.from_numpy((np.asarray(small) / 255.0).astype(np.float32))
    return ((unit - 0.5) / 0.5).permute(2, 0, 1)[None]
