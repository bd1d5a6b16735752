"""The feed-forward layer of the transformer blocks of Stable Diffusion and its descendants."""

from torch import Tensor, nn
from torch.nn import functional as F


class _GatedGELU(nn.Module):
    """Project to twice the width; one half gates the other."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.proj(x)
        value, gate = projected.chunk(2, dim=-1)
        return value * F.gelu(gate)  # the exact erf form


class FeedForward(nn.Module):
    """GEGLU of inner width 4 x `width`; keys `net.0.proj` and `net.2` (`net.1` is the trained code's dropout)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(_GatedGELU(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> same."""
        out: Tensor = self.net(x)
        return out
