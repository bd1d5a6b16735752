"""From a picture file to what the networks see, and from their output to frames."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from baselines.lvdm.recipe import Picture
from ti2v_bench.model import Frames
from ti2v_bench.pictures import open_picture

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_CLIP_SIZE = 224


def load_picture(path: Path, kind: Picture, height: int, width: int) -> Tensor:
    """A picture file brought to a size: (3, height, width) float32 in [-1, 1]."""
    return fitted(open_picture(path), kind, height, width)


def fitted(image: Image.Image, kind: Picture, height: int, width: int) -> Tensor:
    """A picture brought to a size as the official loaders do.

    Args:
        image: RGB.
        kind: `stretch` (VideoCrafter: bilinear, no antialias, aspect ratio ignored), `stretch_antialiased` (Cond-leak
            on DynamiCrafter: Pillow's bilinear), `crop_or_pad` (DynamiCrafter: the shorter side to the shorter target
            side, then the centre; what is missing stays black).
        height, width: target, pixels.

    Returns:
        (3, height, width) float32 in [-1, 1].
    """
    if kind == "stretch":
        pixels = _tensor(image)[None]
        return _to_signed(F.interpolate(pixels, (height, width), mode="bilinear", align_corners=False)[0])
    if kind == "stretch_antialiased":
        return _to_signed(_tensor(_resized(image, (width, height))))
    return _to_signed(_tensor(_crop_or_pad(image, height, width)))


def _crop_or_pad(image: Image.Image, height: int, width: int) -> Image.Image:
    short = min(height, width)
    w, h = image.size
    size = (short, int(short * h / w)) if w <= h else (int(short * w / h), short)
    resized = _resized(image, size)
    # Published: a picture narrower than the target is padded with black, half on each side, before it is cropped.
    missing = [max(0, wanted - have) for wanted, have in zip((width, height), size, strict=True)]
    padded = Image.new("RGB", (size[0] + missing[0], size[1] + missing[1]))
    padded.paste(resized, (missing[0] // 2, missing[1] // 2))
    left, top = (round((have - wanted) / 2) for have, wanted in zip(padded.size, (width, height), strict=True))
    return padded.crop((left, top, left + width, top + height))


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Bilinear with antialias, width before height: Pillow 13 may turn the order round, which changes roundings."""
    wide = image.resize((size[0], image.height), Image.Resampling.BILINEAR)
    return wide.resize(size, Image.Resampling.BILINEAR)


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1)


def _to_signed(pixels: Tensor) -> Tensor:
    return (pixels / 255 - 0.5) / 0.5


def for_clip(pictures: Tensor) -> Tensor:
    """What CLIP's vision tower is shown: blurred, resized to 224 x 224 whatever the aspect ratio, normalised.

    Args:
        pictures: (N, 3, H, W) in [-1, 1], at least 2 pixels each way.

    Returns:
        (N, 3, 224, 224), not clamped.

    Source: kornia 0.6.9 … 0.9.0, `geometry.resize(…, "bicubic", align_corners=True, antialias=True)`.
    """
    factors = [side / _CLIP_SIZE for side in pictures.shape[-2:]]
    if max(factors) > 1:
        pictures = _blurred(pictures, factors)
    resized = F.interpolate(pictures, (_CLIP_SIZE, _CLIP_SIZE), mode="bicubic", align_corners=True)
    mean, std = (resized.new_tensor(values)[:, None, None] for values in (_CLIP_MEAN, _CLIP_STD))
    return ((resized + 1) / 2 - mean) / std


def _blurred(pictures: Tensor, factors: list[float]) -> Tensor:
    """Gaussian blur along each axis as wide as the picture will shrink along it."""
    kernels = [_gaussian(factor, pictures) for factor in factors]
    pad_y, pad_x = (len(kernel) // 2 for kernel in kernels)
    padded = F.pad(pictures, (pad_x, pad_x, pad_y, pad_y), mode="reflect")
    channels = pictures.shape[1]
    down = kernels[0][:, None].expand(channels, 1, -1, 1)
    across = kernels[1][None].expand(channels, 1, 1, -1)
    return F.conv2d(F.conv2d(padded, down, groups=channels), across, groups=channels)


def _gaussian(factor: float, like: Tensor) -> Tensor:
    sigma = max((factor - 1) / 2, 0.001)
    size = int(max(4 * sigma, 3)) | 1
    x = torch.arange(size, dtype=like.dtype, device=like.device) - size // 2
    weights = torch.exp(-(x**2) / (2 * sigma**2))
    return weights / weights.sum()


def to_frames(pictures: Tensor) -> Frames:
    """(F, 3, H, W) in about [-1, 1] to (F, H, W, 3) uint8; the official code truncates instead of rounding."""
    pixels = (pictures.float().clamp(-1, 1) + 1) / 2 * 255
    return pixels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
