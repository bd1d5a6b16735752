"""Cinemo's pictures in and out: cover and crop, residuals to frames.

Source: maxin-cn/Cinemo @ 7cd7f27 `pipelines/animation.py` (behaviour).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


def cover(picture: NDArray[np.uint8], height: int, width: int) -> Tensor:
    """A picture scaled to cover the target and cropped to its centre.

    Published: the scale aims at one pixel more than the target in each direction, so that even a picture of exactly the
    target's size is enlarged; bilinear without antialiasing; the crop's offset is rounded half to even.

    Args:
        picture: (h, w, 3) uint8 RGB.
        height: of the target, pixels.
        width: of the target, pixels.

    Returns:
        (1, 3, height, width) float32 in [-1, 1].
    """
    h, w = picture.shape[:2]
    tall, wide = (height + 1) / h, (width + 1) / w
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    scaled = F.interpolate(pixels, scale_factor=tall if tall > wide else wide, mode="bilinear", align_corners=False)
    top, left = (round((size - target) / 2) for size, target in zip(scaled.shape[-2:], (height, width), strict=True))
    return scaled[..., top : top + height, left : left + width] * 2 - 1


def with_base(residual: Tensor, base: Tensor, scaling: float) -> Tensor:
    """Latents to decode: the image's first, then image plus residual, each unscaled.

    Args:
        residual: (B, 4, F, H, W) final latents of the sampler.
        base: (B, 4, 1, H, W) scaled image latent.
        scaling: the autoencoder's scaling factor.

    Returns:
        (B x (F + 1), 4, H, W).
    """
    residual, base = residual * (1 / scaling), base * (1 / scaling)
    return torch.cat([base, base + residual], dim=2).transpose(1, 2).flatten(0, 1)
