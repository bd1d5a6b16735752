"""Pictures as I2VGen-XL's autoencoder and picture encoder want them.

Source: ali-vilab/VGen@4014d1f utils/transforms.py, `CenterCropWide`, and tools/inferences/inference_i2vgen_entrance.py.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def center_crop_wide(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Resize with a box filter until the picture covers width x height, and cut its middle out.

    Published: sides are divided by the scale with floor division, so the resized picture can be one pixel short of
    the wanted size; the cut then begins at -1 and Pillow fills one black column at the left (or row at the top).
    """
    scale = min(picture.width / width, picture.height / height)
    size = (round(picture.width // scale), round(picture.height // scale))
    resized = picture.resize(size, Image.Resampling.BOX)
    left, top = (resized.width - width) // 2, (resized.height - height) // 2
    return resized.crop((left, top, left + width, top + height))


def vae_pixels(picture: Image.Image, width: int, height: int) -> Tensor:
    """(1, 3, height, width) float32 in [-1, 1]."""
    return (_tensor(center_crop_wide(picture.convert("RGB"), width, height)) - 0.5) / 0.5


def clip_pixels(picture: Image.Image, square: int, size: int) -> Tensor:
    """A square cut of side `square`, resized bilinearly to `size`, in CLIP's units, (1, 3, size, size) float32."""
    cut = center_crop_wide(picture.convert("RGB"), square, square).resize((size, size), Image.Resampling.BILINEAR)
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    return (_tensor(cut) - mean) / std


def _tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(picture).astype(np.float32) / 255).permute(2, 0, 1)[None]
