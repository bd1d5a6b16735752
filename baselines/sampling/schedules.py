"""Noise schedules and the timesteps at which samplers look them up."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from baselines.sampling.spacing import Spacing


def scaled_linear_betas(count: int = 1000, start: float = 0.00085, end: float = 0.012) -> Tensor:
    """Betas whose square roots are evenly spaced, (count,) float64.   Rombach et al. (2022), Stable Diffusion"""
    return torch.linspace(start**0.5, end**0.5, count, dtype=torch.float64) ** 2


def linear_betas(count: int = 1000, start: float = 0.0001, end: float = 0.02) -> Tensor:
    """Evenly spaced betas, (count,) float64.   Ho et al. (2020)"""
    return torch.linspace(start, end, count, dtype=torch.float64)


def zero_terminal_snr(betas: Tensor) -> Tensor:
    """Betas shifted and stretched so that the last step holds no signal, (count,) float64.

    Source: Lin et al. (2024), "Common Diffusion Noise Schedules and Sample Steps are Flawed", algorithm 1.
    """
    root = alphas_cumprod(betas).sqrt()
    stretched = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
    kept = stretched**2
    alphas = torch.cat([kept[:1], kept[1:] / kept[:-1]])
    return 1 - alphas


def alphas_cumprod(betas: Tensor) -> Tensor:
    """Share of the signal's variance left after each step, (count,), same dtype as `betas`."""
    return torch.cumprod(1 - betas, dim=0)


def uniform(steps: int, total: int = 1000) -> list[int]:
    """Every `total // steps`-th training step from 1, ascending; index 0 is the last (cleanest) sampling step.

    As published: where `steps` does not divide `total` there may be more entries than `steps`.

    Raises:
        ValueError: the list would reach `total`, which the schedule does not have (e.g. 3, 9, 27 or 333 steps of 1000).
    """
    _require_steps(steps, total)
    found = [step + 1 for step in range(0, total, total // steps)]
    if found[-1] >= total:
        raise ValueError(
            f"{steps} uniform steps would end at training step {found[-1]} of 0..{total - 1}; use a divisor of {total}"
        )
    return found


def uniform_trailing(steps: int, total: int = 1000) -> list[int]:
    """Steps of length total / steps counted down from the last training step, ascending (index 0 is the cleanest).

    Rounded half to even. As published, except that for a few counts (61, 103, 121, 122 of 1000; 50 of 920 or 820)
    the official list grows an extra entry of -1 through rounding, at which no schedule can be read; it is left out.

    Source: Lin et al. (2024), table 2, "trailing".
    """
    _require_steps(steps, total)
    down = np.round(np.arange(total, 0, -total / steps)).astype(np.int64) - 1
    return [int(step) for step in down[::-1] if step >= 0]


def _require_steps(steps: int, total: int) -> None:
    if not 1 <= steps <= total:
        raise ValueError(f"{steps} sampling steps were asked for; 1 to {total} are possible")


def timesteps(spacing: Spacing, steps: int, total: int = 1000) -> list[int]:
    """Ascending training steps for a spacing named in a model's settings."""
    table: dict[Spacing, Callable[[int, int], list[int]]] = {"uniform": uniform, "uniform_trailing": uniform_trailing}
    return table[spacing](steps, total)
