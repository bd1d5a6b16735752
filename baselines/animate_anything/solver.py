"""DPM-Solver++(2M) with the timesteps and the last sigma of diffusers 0.24, which AnimateAnything pins.

Later versions of diffusers end at sigma 0 by default; this ends at the sigma of training step 0, as published.
Source: Lu et al. (2022), DPM-Solver++, Algorithm 2 (multistep, data prediction, midpoint); the schedule as in
diffusers@0.24.0 schedulers/scheduling_dpmsolver_multistep.py.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from torch import Tensor

from baselines.modelscope.diffusion import TRAINED_STEPS, linear_sd_alphas
from baselines.sampling.schedules import uniform_trailing

LOWER_ORDER_BELOW = 15
"""With fewer steps the last one is of first order (`lower_order_final`)."""


@dataclass(frozen=True)
class Schedule:
    """Where the solver evaluates the network."""

    timesteps: tuple[int, ...]
    """Descending, one per evaluation."""
    sigmas: tuple[float, ...]
    """Noise over signal at each timestep and, last, at training step 0; one more than timesteps."""


def schedule(steps: int, spacing: str, offset: int = 1) -> Schedule:
    """Timesteps and sigmas for `steps` evaluations.

    Args:
        steps: How many.
        spacing: `linspace`, `leading` or `trailing`.
        offset: Added to the timesteps of `leading`; `steps_offset` of the checkpoint's scheduler file.

    Raises:
        ValueError: no such spacing, or so many steps that two of them fall together, which the solver divides by.
    """
    if spacing == "linspace":
        grid = np.linspace(0, TRAINED_STEPS - 1, steps + 1).round().astype(np.int64)[:0:-1].tolist()
    elif spacing == "leading":
        grid = (np.arange(steps + 1) * (TRAINED_STEPS // (steps + 1)) + offset)[:0:-1].tolist()
    elif spacing == "trailing":
        grid = uniform_trailing(steps, TRAINED_STEPS)[::-1]
    else:
        raise ValueError(f"timestep spacing {spacing!r} is none of linspace, leading, trailing")
    if grid[0] >= TRAINED_STEPS or any(later >= t for t, later in pairwise([*grid, 0])):
        raise ValueError(f"{steps} steps of {spacing} spacing do not fit into {TRAINED_STEPS} training steps")
    alphas = linear_sd_alphas().tolist()
    sigmas = [math.sqrt((1 - alphas[t]) / alphas[t]) for t in [*grid, 0]]
    return Schedule(tuple(grid), tuple(sigmas))


def start(clean: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """Clean latents with noise at `sigma`."""
    signal = _signal(sigma)
    return signal * clean + sigma * signal * noise


def solve(network: Callable[[Tensor, int], Tensor], x: Tensor, plan: Schedule) -> Iterator[Tensor]:
    """Latents at `plan.sigmas[1]`, `plan.sigmas[2]`, …; the last one is the result.

    Each is the loop's own tensor: what is written into it before the next is asked for is carried on.

    Args:
        network: Latents and timestep to predicted noise.
        x: Noisy latents at the first sigma.
        plan: From `schedule`.
    """
    older: Tensor | None = None
    for index, t in enumerate(plan.timesteps):
        clean = clean_latents(x, network(x, t), plan.sigmas[index])
        x, older = step(x, clean, older, plan, index), clean
        yield x


def clean_latents(x: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """The clean latents that a predicted noise implies."""
    signal = _signal(sigma)
    return (x - sigma * signal * noise) / signal


def step(x: Tensor, clean: Tensor, older: Tensor | None, plan: Schedule, index: int) -> Tensor:
    """One update to `plan.sigmas[index + 1]`.

    Args:
        x: Latents at `plan.sigmas[index]`.
        clean: Predicted clean latents there.
        older: Predicted clean latents one step earlier; None at the first step, which is of first order.
        plan: From `schedule`.
        index: Which step.
    """
    here, there = plan.sigmas[index], plan.sigmas[index + 1]
    h = math.log(here / there)  # difference of log signal-to-noise
    scale = -math.expm1(-h) * _signal(there)
    result = there * _signal(there) / (here * _signal(here)) * x + scale * clean
    last_of_few = index == len(plan.timesteps) - 1 and len(plan.timesteps) < LOWER_ORDER_BELOW
    if older is None or last_of_few:
        return result
    ratio = math.log(plan.sigmas[index - 1] / here) / h
    return result + 0.5 * scale / ratio * (clean - older)


def _signal(sigma: float) -> float:
    return 1 / math.sqrt(1 + sigma**2)
