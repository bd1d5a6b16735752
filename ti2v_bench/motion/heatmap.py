"""The motion heatmap of MotiF (arXiv 2412.16153): how much each pixel moves, squeezed into [0, 1].

Published: RAFT flow between adjacent frames, its per-pixel intensity f_l, and sigma(x) = 1/(1+exp(100(0.05-x))).
NOT published, and therefore settings here: the unit of x (`FlowUnit`), the heatmap of the last frame (16 frames have
15 flows), and how the map is brought to the latent grid. Our choices are reasoned, not known to be the paper's.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ti2v_bench.motion.settings import FlowUnit, HeatmapError, HeatmapSettings, Variant

__all__ = [
    "FlowUnit",
    "HeatmapError",
    "HeatmapSettings",
    "HeatmapShare",
    "Variant",
    "heatmap",
    "intensity",
    "share",
    "sigma",
    "to_grid",
]


def intensity(flow: Tensor, unit: FlowUnit) -> Tensor:
    """Length of the flow vector in `unit`.

    Args:
        flow: (..., T-1, 2, H, W) in pixels, channels x, y.
        unit: see HeatmapSettings.

    Returns:
        (..., T-1, H, W), at least 0. `minmax_clip` scales each clip (the last three axes) by itself; a clip
        without any difference gives 0.
    """
    if flow.ndim < 4 or flow.shape[-3] != 2:
        raise HeatmapError(f"flow must be (..., T-1, 2, H, W), got {tuple(flow.shape)}.")
    height, width = flow.shape[-2:]
    u, v = flow.float().unbind(dim=-3)
    if unit == "size":
        return torch.hypot(u / width, v / height)
    if unit == "half_size":
        return torch.hypot(2 * u / width, 2 * v / height)
    length = torch.hypot(u, v)
    if unit == "diag":
        return length / math.hypot(height, width)
    if unit == "minmax_clip":
        low = length.amin(dim=(-3, -2, -1), keepdim=True)
        span = length.amax(dim=(-3, -2, -1), keepdim=True) - low
        return torch.where(span > 0, (length - low) / span.clamp_min(1e-12), torch.zeros_like(length))
    return length


def sigma(x: Tensor, threshold: float = 0.05, slope: float = 100.0) -> Tensor:
    """1 / (1 + exp(slope (threshold - x))): 0.5 at the threshold, 0.0067 at 0 and 0.993 at 0.1 for the defaults."""
    return torch.sigmoid(slope * (x - threshold))


def heatmap(flow: Tensor, settings: HeatmapSettings) -> Tensor:
    """Motion heatmap of every frame.

    Args:
        flow: (..., T-1, 2, H, W) in pixels.
        settings: unit and variant.

    Returns:
        (..., T, H, W) float32 in [0, 1]. The last frame has no flow of its own and takes the one before (our choice).
    """
    x = intensity(flow, settings.unit)
    x = torch.cat([x, x[..., -1:, :, :]], dim=-3)
    if settings.variant == "binary":
        return (x > settings.threshold).float()
    moving = sigma(x, settings.threshold, settings.slope)
    return 1 - moving if settings.variant == "inverse" else moving


def to_grid(heat: Tensor, size: tuple[int, int]) -> Tensor:
    """Area-averaged heatmap (..., T, H, W) on the latent grid (..., T, h, w); after sigma (our choice)."""
    flat = heat.reshape(-1, 1, *heat.shape[-2:])
    return F.adaptive_avg_pool2d(flat, size).reshape(*heat.shape[:-2], *size)


@dataclass(frozen=True)
class HeatmapShare:
    """How hot a heatmap is; logged always, since the unit of x is not published."""

    hot: float
    """Share of entries above 0.5, in [0, 1]."""
    mean: float
    """Mean weight, in [0, 1]."""


def share(heat: Tensor) -> HeatmapShare:
    """Share of hot entries and mean weight."""
    return HeatmapShare(hot=float((heat > 0.5).float().mean()), mean=float(heat.float().mean()))
