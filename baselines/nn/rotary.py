"""Rotary position embedding on adjacent channel pairs (RoFormer, arXiv 2104.09864)."""

import torch
from torch import Tensor


def rotary_table(freqs: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines of position x frequency for every turned channel, positions 0 .. length - 1.

    Published: the product is formed in the dtype of `freqs`; in half precision the angles are rounded too.

    Args:
        freqs: (P,) radians per position, one for each channel pair.
        length: number of positions.

    Returns:
        Two of (length, 2 x P) in the dtype of `freqs`: what multiplies a channel, and what multiplies its partner.
    """
    angles = torch.arange(length, device=freqs.device).to(freqs.dtype)[:, None] * freqs[None]
    cos, sin = angles.cos(), angles.sin()
    return torch.stack([cos, cos], dim=-1).flatten(-2), torch.stack([-sin, sin], dim=-1).flatten(-2)


def rotate_pairs(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the channel pairs (0, 1), (2, 3), … of x (..., N, C); channels beyond 2 x P stay as they are."""
    own, partners = table
    width = own.shape[-1]
    turned = x[..., :width]
    swapped = turned.view(*turned.shape[:-1], -1, 2).flip(-1).flatten(-2)
    return torch.cat([torch.addcmul(turned * own, swapped, partners), x[..., width:]], dim=-1)
