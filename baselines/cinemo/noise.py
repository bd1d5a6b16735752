"""Cinemo's start: noise whose lowest spatial frequencies are those of the noised image latent.

Shapes: B clips, C channels, F frames, H x W latent cells.
Source: maxin-cn/Cinemo @ 7cd7f27 `utils.py` (dct_low_pass_filter, exchanged_mixed_dct_freq), behaviour.
"""

import math

import torch
from torch import Tensor

from baselines.sampling.leading import add_noise


def dct_matrix(size: int, device: torch.device | None = None) -> Tensor:
    """Orthonormal DCT-II as a matrix, (size, size) float64; its transpose is the inverse."""
    k = torch.arange(size, dtype=torch.float64, device=device)
    matrix = torch.cos(math.pi * k[:, None] * (2 * k[None] + 1) / (2 * size)) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix


def low_frequencies(height: int, width: int, share: float, device: torch.device | None = None) -> Tensor:
    """Mask of the kept frequencies, (height, width) float64: ones in the first `int(size * share)` rows and columns."""
    mask = torch.zeros(height, width, dtype=torch.float64, device=device)
    mask[: int(height * share), : int(width * share)] = 1
    return mask


def dct_start(base: Tensor, noise: Tensor, alpha: float, share: float) -> Tensor:
    """Start latents: noise whose low frequencies are taken from the image latent, noised to cumulative `alpha`.

    Published: the image latent itself enters, though the network denoises differences from it. The published
    three-dimensional transform cancels over frames, since the mask is the same for every temporal frequency, so each
    frame is mixed by itself.

    Args:
        base: (B, C, 1, H, W) scaled image latent, float64 as published.
        noise: (B, C, F, H, W) standard normal.
        alpha: cumulative alpha of the noise level.
        share: part of each axis' frequencies that is replaced, in [0, 1].

    Returns:
        (B, C, F, H, W) float64.
    """
    noised = add_noise(base.double(), noise, alpha)
    h, w = noise.shape[-2:]
    rows, columns = dct_matrix(h, noise.device), dct_matrix(w, noise.device)
    mask = low_frequencies(h, w, share, noise.device)
    change = rows @ (noised - noise) @ columns.mT  # frequencies of what is to be exchanged
    return noise + rows.mT @ (change * mask) @ columns
