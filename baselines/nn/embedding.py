"""Sinusoidal embeddings of a scalar, as in DDPM and every U-Net after it."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def sinusoid(values: Tensor, dim: int, max_period: float = 10000.0) -> Tensor:
    """Embed scalars as `[cos | sin]` of geometrically spaced frequencies, always in float32.

    Args:
        values: (B,) of any number type, e.g. timesteps 0..999.
        dim: width of the embedding, even.
        max_period: the slowest frequency is just above 1 / max_period.

    Returns:
        (B, dim) float32: frequencies `max_period ** (-k / (dim / 2))`, k = 0 .. dim / 2 - 1.
    """
    if dim % 2:
        raise ValueError(f"an embedding has as many cosines as sines, so its width cannot be {dim}")
    half = dim // 2
    steps = torch.arange(half, dtype=torch.float32, device=values.device)
    angles = values[:, None].float() * torch.exp(-math.log(max_period) * steps / half)[None]
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class EmbeddingMLP(nn.Module):
    """Linear, SiLU, Linear on a sinusoid; key names of the diffusers library (`linear_1`, `linear_2`)."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, out)
        self.linear_2 = nn.Linear(out, out)

    def forward(self, embedded: Tensor) -> Tensor:
        """(B, width) -> (B, out)."""
        out: Tensor = self.linear_2(F.silu(self.linear_1(embedded)))
        return out
