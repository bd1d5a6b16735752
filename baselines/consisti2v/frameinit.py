"""ConsistI2V's start: noise shared between frames, and the first frame's low frequencies in it (FrameInit).

Shapes: B clips, C channels, F frames, H x W latent cells.
Source: TIGER-AI-Lab/ConsistI2V @ 152102b `consisti2v/utils/frameinit_utils.py` and its pipeline (behaviour).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from baselines.consisti2v.settings import Filter, NoiseKind
from baselines.sampling.leading import add_noise

Draw = Callable[..., Tensor]
"""Standard normal noise of the shape given as positional numbers."""


def shared_noise(draw: Draw, shape: tuple[int, int, int, int, int], kind: NoiseKind, share: float) -> Tensor:
    """Noise of a clip, (B, C, F, H, W), whose frames have something in common.

    Args:
        draw: called in the published order.
        shape: of the result.
        kind: `vanilla` has nothing in common, `pyoco_mixed` one frame under all, `pyoco_progressive` the frame before.
        share: a; the common part has variance a^2 / (1 + a^2).

    Source: Ge et al. (2023), "Preserve Your Own Correlation", equations 4 and 5.
    """
    b, c, f, h, w = shape
    common, own = math.sqrt(share**2 / (1 + share**2)), math.sqrt(1 / (1 + share**2))
    if kind == "pyoco_mixed":
        base = draw(b, c, 1, h, w)
        return common * base + own * draw(*shape)
    first = draw(*shape)
    if kind == "vanilla":
        return first
    individual, noise = draw(*shape), [first[:, :, 0]]
    for i in range(1, f):
        noise.append(common * noise[-1] + own * individual[:, :, i])
    return torch.stack(noise, dim=2)


def low_pass(shape: tuple[int, int, int], kind: Filter, spatial: float, temporal: float, order: int = 4) -> Tensor:
    """Weights of the kept frequencies, (F, H, W) float32 in [0, 1], zero frequency in the middle.

    Args:
        shape: frames, height, width.
        kind: form of the fall-off.
        spatial: normalised stop frequency over height and width, in [0, 1].
        temporal: the same over frames; 0 in either keeps nothing.
        order: of the Butterworth filter.
    """
    if spatial == 0 or temporal == 0:
        return torch.zeros(shape)
    if kind == "box":
        return _box(shape, spatial, temporal)
    f, h, w = (2 * torch.arange(size, dtype=torch.float64) / size - 1 for size in shape)
    squared = (spatial / temporal * f[:, None, None]) ** 2 + h[None, :, None] ** 2 + w[None, None] ** 2
    if kind == "gaussian":
        mask = torch.exp(-squared / (2 * spatial**2))
    elif kind == "butterworth":
        mask = 1 / (1 + (squared / spatial**2) ** order)
    else:
        mask = (squared <= 2 * spatial).double()  # Published: not squared.
    return mask.float()


def _box(shape: tuple[int, int, int], spatial: float, temporal: float) -> Tensor:
    f, h, w = (size // 2 for size in shape)
    frames, cells = round(f * temporal), round(h * spatial)  # Published: the width's reach is the height's, too …
    mask = torch.zeros(shape)
    # … so that a start before the narrower width's begin is negative, and Python counts it from the end.
    mask[f - frames : f + frames, h - cells : h + cells, w - cells : w + cells] = 1
    return mask


def exchange_low(x: Tensor, noise: Tensor, mask: Tensor) -> Tensor:
    """`noise` with its low frequencies replaced by those of `x`; float32 inside, the dtype of `x` outside.

    Args:
        x: (B, C, F, H, W), where low frequencies come from.
        noise: same shape, where high frequencies come from.
        mask: (F, H, W) from `low_pass`.
    """
    dims = (-3, -2, -1)
    kept = torch.fft.ifftshift(mask.to(x.device), dim=dims)
    spectrum = torch.fft.fftn(x.float(), dim=dims) * kept + torch.fft.fftn(noise.float(), dim=dims) * (1 - kept)
    mixed: Tensor = torch.fft.ifftn(spectrum, dim=dims).real
    return mixed.to(x.dtype)


def frame_init(first: Tensor, noise: Tensor, alpha: float, mask: Tensor) -> Tensor:
    """Start latents of all frames: low frequencies of the still first frame, noised with the same noise.

    Args:
        first: (B, C, 1, H, W) scaled latent of the first frame.
        noise: (B, C, F, H, W).
        alpha: cumulative alpha of the noise level.
        mask: (F, H, W).
    """
    return exchange_low(add_noise(first.expand_as(noise), noise, alpha), noise, mask)
