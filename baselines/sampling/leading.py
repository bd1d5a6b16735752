"""DDIM as the diffusers library's scheduler does it with "leading" timesteps, eta 0: Song et al. (2021), equation 12.

Scalars are Python floats that hold float32 values; half-precision latents stay half through the loop.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

OFFSET = 1
"""Published `steps_offset` of all that use this: the last step is training step 1."""


def linear_alphas(start: float, end: float, count: int = 1000) -> Tensor:
    """Cumulative alphas of evenly spaced betas, (count,); the product runs in float32, as published."""
    return torch.cumprod(1 - torch.linspace(start, end, count, dtype=torch.float32), dim=0)


@dataclass(frozen=True)
class Step:
    """One step of the sampler."""

    timestep: int
    """Training step handed to the network."""
    alpha: float
    """Cumulative alpha here, in (0, 1)."""
    alpha_prev: float
    """Cumulative alpha after the step, in (0, 1]."""


def leading_steps(alphas: Tensor, steps: int, final_alpha: float) -> list[Step]:
    """The sampler's steps from noise to clean: every `len(alphas) // steps`-th training step, from 1.

    Args:
        alphas: cumulative alphas of training, (N,) float32.
        steps: how many steps to take.
        final_alpha: cumulative alpha where a step leads below training step 0.

    Raises:
        ValueError: no such number of steps fits into the training steps.
    """
    total = len(alphas)
    stride = total // steps if steps > 0 else 0
    if stride == 0 or (steps - 1) * stride + OFFSET >= total:
        raise ValueError(f"{steps} sampling steps do not fit into {total} training steps")
    timesteps = [i * stride + OFFSET for i in reversed(range(steps))]
    before = [t - stride for t in timesteps]
    return [
        Step(t, alphas[t].item(), alphas[prev].item() if prev >= 0 else final_alpha)
        for t, prev in zip(timesteps, before, strict=True)
    ]


def ddim_step(x: Tensor, noise: Tensor, step: Step) -> Tensor:
    """The latent after `step`, of any shape, given the noise that the network saw in it."""
    clean = (x - _root(1 - np.float32(step.alpha)) * noise) / _root(np.float32(step.alpha))
    return _root(np.float32(step.alpha_prev)) * clean + _root(1 - np.float32(step.alpha_prev)) * noise


def add_noise(clean: Tensor, noise: Tensor, alpha: float) -> Tensor:
    """sqrt(a) clean + sqrt(1 - a) noise, all of it in the dtype of `clean`."""
    kept = torch.tensor(alpha, dtype=clean.dtype)
    return clean * kept.sqrt() + noise.to(clean.dtype) * (1 - kept).sqrt()


def in_steps(steps: list[Step], device: torch.device, batch: int) -> Iterator[tuple[Step, Tensor]]:
    """Each step with its timestep as the network takes it, (batch,) on `device`, without waiting for the device."""
    all_of_them = torch.tensor([step.timestep for step in steps], device=device)
    for i, step in enumerate(steps):
        yield step, all_of_them[i].expand(batch)


def _root(value: np.float32) -> float:
    return float(np.sqrt(value))
