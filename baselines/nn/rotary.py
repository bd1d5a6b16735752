"""Rotary position embedding on adjacent channel pairs (RoFormer, arXiv 2104.09864)."""

import torch
from torch import Tensor


def rotary_table(freqs: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of position x frequency, positions 0 .. length - 1.

    Published: the product is formed in the dtype of `freqs`; in half precision the angles are rounded too.

    Args:
        freqs: (P,) radians per position, one for each channel pair.
        length: number of positions.

    Returns:
        cos and sin, each (length, P), in the dtype of `freqs`.
    """
    angles = torch.arange(length, device=freqs.device).to(freqs.dtype)[:, None] * freqs[None]
    return angles.cos(), angles.sin()


def rotate_pairs(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the channel pairs (0, 1), (2, 3), … of x (..., N, C); channels beyond 2 x P stay as they are."""
    cos, sin = table
    turned = 2 * cos.shape[-1]
    first, second = x[..., 0:turned:2], x[..., 1:turned:2]
    pairs = torch.stack([first * cos - second * sin, second * cos + first * sin], dim=-1)
    return torch.cat([pairs.flatten(-2), x[..., turned:]], dim=-1)
