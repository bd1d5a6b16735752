"""The picture transforms that the published scores went through, number for number, without torchvision.

Sizes and offsets follow torchvision's Resize and CenterCrop; the resampling is torch's own in both.
"""

from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ti2v_bench.metrics.clip import Picture
from ti2v_bench.model import Frames

Mode = Literal["bilinear", "bicubic"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation per channel, for values in [0, 1]."""
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def levels(frames: Frames, device: str = "cpu") -> Tensor:
    """(F, H, W, 3) uint8 as they are, on the device."""
    writable = frames if frames.flags.writeable else frames.copy()
    return torch.from_numpy(np.ascontiguousarray(writable)).to(device)


def of_levels(frames: Tensor) -> Tensor:
    """(F, H, W, 3) uint8 to (F, 3, H, W) float32 in 0-255."""
    return frames.permute(0, 3, 1, 2).float()


def as_tensor(frames: Frames) -> Tensor:
    """The same, on the CPU, of an array."""
    return of_levels(levels(frames))


def shorter_side(shape: Sequence[int], size: int) -> tuple[int, int]:
    """(H, W) after scaling the shorter side to `size`; the other side is cut to an integer."""
    height, width = shape
    if height <= width:
        return size, int(size * width / height)
    return int(size * height / width), size


def resize(x: Tensor, size: tuple[int, int], mode: Mode, antialias: bool) -> Tensor:
    """(N, 3, H, W) to (N, 3, *size). Published: bicubic overshoots the range and is not clamped."""
    if tuple(x.shape[-2:]) == size:
        return x
    return F.interpolate(x, size=size, mode=mode, align_corners=False, antialias=antialias)


def centre_crop(x: Tensor, size: int) -> Tensor:
    """The middle size x size of (N, 3, H, W); both sides at least `size`."""
    height, width = x.shape[-2:]
    top, left = round((height - size) / 2), round((width - size) / 2)
    return x[..., top : top + size, left : left + size]


def normalise(x: Tensor, mean_and_deviation: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """(N, 3, H, W) in [0, 1] to zero mean and unit deviation per channel."""
    mean, deviation = (_of_channels(values, x.device) for values in mean_and_deviation)
    return (x - mean) / deviation


@cache
def _of_channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)[:, None, None]


def clip_input(frames: Tensor) -> Tensor:
    """VBench's CLIP transform of (N, 3, H, W) in 0-255: shorter side 224 bicubic, middle 224 x 224."""
    x = resize(frames, shorter_side(frames.shape[-2:], 224), "bicubic", antialias=False)
    return normalise(centre_crop(x, 224) / 255, CLIP)


def dino_input(frames: Tensor) -> Tensor:
    """VBench's DINO transform: shorter side 224 bilinear, no crop, so the input need not be square."""
    return normalise(resize(frames, shorter_side(frames.shape[-2:], 224), "bilinear", antialias=False) / 255, IMAGENET)


def dino_i2v_input(frames: Tensor) -> Tensor:
    """VBench-I2V's DINO transform of frames: shorter side 256 bicubic, antialiased, middle 224 x 224."""
    x = resize(frames, shorter_side(frames.shape[-2:], 256), "bicubic", antialias=True)
    return normalise(centre_crop(x, 224) / 255, IMAGENET)


def dino_i2v_image(image: Picture) -> Tensor:
    """The same for the input image, which goes through Pillow and so through uint8: (1, 3, 224, 224)."""
    height, width = shorter_side(image.shape[:2], 256)
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    return normalise(centre_crop(as_tensor(np.asarray(resized)[None]) / 255, 224), IMAGENET)


def pillow_clip_input(frames: Tensor) -> Tensor:
    """transformers' CLIP preparation of (N, 3, H, W) in 0-255: Pillow's shorter side 224 bicubic, middle 224 x 224."""
    small = pillow_bicubic(frames, shorter_side(frames.shape[-2:], 224))
    top, left = ((side - 224) // 2 for side in small.shape[-2:])
    return normalise(small[..., top : top + 224, left : left + 224] / 255, CLIP)


_BITS = 22
"""Of the fractions in Pillow's resampling weights (its 8-bit pictures are resampled in whole numbers)."""


def pillow_bicubic(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, 3, H, W), whole numbers in 0-255, to (N, 3, *size) float32, to the last bit as Pillow resizes pictures.

    The weights are whole numbers, so sums in float64 are exact in any order, on any device. Rows come first, and are
    rounded to 8 bits before the columns: Pillow's libImaging/Resample.c.
    """
    across, down = (_weights(before, after, x.device) for before, after in zip(x.shape[:1:-1], size[::-1], strict=True))
    rows = _rounded(x.double() @ across.T)
    return _rounded(down @ rows).float()


def _rounded(sums: Tensor) -> Tensor:
    half: int = 2 ** (_BITS - 1)
    return ((sums + half) / (2 * half)).floor().clamp(0, 255)


@cache
def _weights(before: int, after: int, device: torch.device) -> Tensor:
    """(after, before) float64: Pillow's bicubic weights times 2^22, rounded; widened where the picture shrinks."""
    scale = before / after
    widened = max(scale, 1.0)
    table = np.zeros((after, before))
    for at in range(after):
        centre = (at + 0.5) * scale
        first, end = max(int(centre - 2 * widened + 0.5), 0), min(int(centre + 2 * widened + 0.5), before)
        weights = [_bicubic(abs(place - centre + 0.5) / widened) for place in range(first, end)]
        table[at, first:end] = np.array(weights) / sum(weights)
    table *= 2**_BITS
    return torch.from_numpy(np.trunc(table + np.copysign(0.5, table))).to(device)


def _bicubic(distance: float) -> float:
    """Keys' kernel with a = -1/2."""
    if distance < 1:
        return (1.5 * distance - 2.5) * distance * distance + 1
    return -0.5 * (((distance - 5) * distance + 8) * distance - 4) if distance < 2 else 0.0


def dreamsim_input(frames: Tensor) -> Tensor:
    """VBench-I2V's DreamSim transform of frames: 224 x 224 bicubic, antialiased, in about [0, 1]."""
    return resize(frames, (224, 224), "bicubic", antialias=True) / 255


def dreamsim_image(image: Picture) -> Tensor:
    """The same for the input image, through Pillow: (1, 3, 224, 224)."""
    resized = Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC)
    return as_tensor(np.asarray(resized)[None]) / 255


def imaging_size(height: int, width: int) -> tuple[int, int]:
    """VBench's 'longer' mode: the longer side at most 512. Published: int() makes it 511 for some sizes."""
    longer = max(height, width)
    if longer <= 512:
        return height, width
    scale = 512.0 / longer
    return int(scale * height), int(scale * width)


def imaging_input(frames: Tensor) -> Tensor:
    """VBench's MUSIQ input, (N, 3, h, w) in [0, 1]."""
    return resize(frames, imaging_size(*frames.shape[-2:]), "bilinear", antialias=False) / 255
