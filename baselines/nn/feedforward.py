"""The feed-forward layer of the transformer blocks of Stable Diffusion and its descendants."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.nn.kernels import factor, has_kernel


def gated_gelu(x: Tensor, projection: nn.Linear) -> Tensor:
    """Project (..., width) to twice the inner width; GELU of the second half gates the first: (..., inner)."""
    if has_kernel(x):
        weight, bias = factor(projection.weight), projection.bias
        gated: Tensor = torch.ops.ti2v_bench.gated_product(factor(x), weight, bias)
        return gated
    projected: Tensor = projection(x)
    value, gate = projected.chunk(2, dim=-1)
    return value * F.gelu(gate)  # the exact erf form


def added_projection(x: Tensor, inner: Tensor, projection: nn.Linear) -> Tensor:
    """(..., width) + the projection of (..., inner): compiled for a GPU, the product is added where the sum will be."""
    if torch.compiler.is_compiling() and x.is_cuda:
        total = (x + projection.bias).contiguous()
        torch.ops.ti2v_bench.accumulate(total, inner, projection.weight)
        return total
    projected: Tensor = projection(inner)
    return x + projected


class _GatedGELU(nn.Module):
    """Project to twice the width; one half gates the other."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        return gated_gelu(x, self.proj)


class FeedForward(nn.Module):
    """GEGLU of inner width 4 x `width`; keys `net.0.proj` and `net.2` (`net.1` is the trained code's dropout)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(_GatedGELU(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """(..., width) -> same, added to the residual (..., width)."""
        gate, _, projection = self.net
        assert isinstance(projection, nn.Linear)
        return added_projection(residual, gate(x), projection)
