"""SEINE's pictures in and out: stretch, mask, bytes.   Vchitect/SEINE @ bd8d519 `sample_scripts/with_mask_sample.py`"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ti2v_bench.model import Frames


def stretch(picture: NDArray[np.uint8], height: int, width: int) -> Tensor:
    """A picture resized straight to the target, its aspect not kept; bilinear without antialiasing.

    Args:
        picture: (h, w, 3) uint8 RGB.
        height: of the target, pixels.
        width: of the target, pixels.

    Returns:
        (3, height, width) float32 in [-1, 1].
    """
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    return F.interpolate(pixels, size=(height, width), mode="bilinear", align_corners=False)[0] * 2 - 1


def masked_pair(picture: Tensor) -> Tensor:
    """The two different frames of the masked clip: the picture, and the grey that stands for every unknown frame.

    Published: unknown frames are black in the clip, but its product with the mask makes them 0, the middle of [-1, 1].

    Args:
        picture: (3, H, W) in [-1, 1].

    Returns:
        (2, 3, H, W).
    """
    return torch.stack([picture, torch.zeros_like(picture)])


def first_known(frames: int, height: int, width: int) -> Tensor:
    """The mask on the latent grid, (1, 1, frames, height, width): 0 for the first frame, 1 for the unknown others."""
    mask = torch.ones(1, 1, frames, height, width)
    mask[:, :, 0] = 0
    return mask


def to_bytes(decoded: Tensor) -> Frames:
    """(F, 3, H, W) in [-1, 1] -> (F, H, W, 3) uint8, rounded half up as published."""
    scaled = ((decoded.float() * 0.5 + 0.5) * 255 + 0.5).clamp(0, 255)
    frames: Frames = scaled.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return frames
