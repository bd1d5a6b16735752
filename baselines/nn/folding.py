"""Frames folded into the batch, channels last in memory: convolutions see pictures, and tokens are views of them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.nn.kernels import factor, has_kernel


def fold(clips: Tensor) -> Tensor:
    """(B, C, F, H, W) -> frames (B x F, C, H, W), channels last in memory."""
    b, c, f, h, w = clips.shape
    return clips.permute(0, 2, 3, 4, 1).reshape(b * f, h, w, c).permute(0, 3, 1, 2)


def unfold(folded: Tensor, frames: int) -> Tensor:
    """(B x F, C, H, W) -> clips (B, C, F, H, W)."""
    return folded.view(-1, frames, *folded.shape[1:]).transpose(1, 2)


def frame_convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A convolution over three frames, zero-padded in time, each cell by itself.

    It runs as a two-dimensional (3, 1) convolution over (frames, cells): the same sum, and the libraries' kernels for
    pictures are faster than those for volumes. Compiled code has a kernel of its own (frame_conv.py).

    Args:
        x: (B, C, F, cells); best with channels last in memory.
        weight: the published (C', C, 3, 1, 1).
        bias: (C').

    Returns:
        (B, C', F, cells).
    """
    if has_kernel(x):
        mixed: Tensor = torch.ops.ti2v_bench.frame_convolution(factor(x), factor(weight), bias)
        return mixed
    return F.conv2d(x, weight.squeeze(-1), bias, padding=(1, 0))


class FrameConv(nn.Conv3d):
    """`frame_convolution` of folded frames."""

    bias: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(width, width, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, x: Tensor, frames: int) -> Tensor:  # type: ignore[override]
        """Frames (B x F, C, H, W) -> same."""
        n, c, h, w = x.shape
        cells = x.permute(0, 2, 3, 1).reshape(n // frames, frames, h * w, c).permute(0, 3, 1, 2)
        mixed = frame_convolution(cells, self.weight, self.bias)
        return mixed.permute(0, 2, 3, 1).reshape(n, h, w, c).permute(0, 3, 1, 2)


class Resample(nn.Module):
    """The 3 x 3 convolution of a down- or up-sampler, under the published key `conv`."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=stride, padding=1)

    def forward(self, x: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """(B x F, C, H, W) -> half of it for stride 2, else of the same size, or of `size` (height, width)."""
        if size is not None:
            x = F.interpolate(x, size=tuple(size), mode="nearest")
        out: Tensor = self.conv(x)
        return out
