"""Group norm whose statistics run over all frames of a clip."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ClipNorm(nn.GroupNorm):
    """`clip_norm` as a module."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, F, cells) to the same."""
        return clip_norm(self, input)


def clip_norm(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """`norm` of clips (B, C, F, cells) or (B, C, F, H, W): one mean and variance per clip and group of channels.

    Compiled code joins the statistics of single frames, which the compiler sums in well-shaped parts: for 17 frames of
    64 x 64 cells, where it would divide the whole sum badly, that is several times faster (results/speed).
    """
    if torch.compiler.is_compiling():
        return joined_by_frame(norm, x)
    return F.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)


def joined_by_frame(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """The same, by way of each frame's mean and variance; half precision is summed in float32, as everywhere."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    grouped = torch.unflatten(wide, 1, (norm.num_groups, -1))  # B G C/G F cells
    over = (2, *range(4, grouped.dim()))
    variances, means = torch.var_mean(grouped, over, correction=0)  # B G F
    mean = means.mean(-1)
    # Frames are of equal size: the variance is that within them plus that between them.
    variance = variances.mean(-1) + means.var(-1, correction=0)
    scale = torch.rsqrt(variance + norm.eps).repeat_interleave(grouped.shape[2], dim=1) * norm.weight  # B C
    shift = norm.bias - mean.repeat_interleave(grouped.shape[2], dim=1) * scale
    places = (..., *(None for _ in x.shape[2:]))
    return (wide * scale[places] + shift[places]).to(x.dtype)
