"""DDIM in the form of Song et al. (2021), equation 12, with the rounding of the CompVis sampler.

Coefficients are Python floats that hold float32 values: computed once per schedule, and free of device transfers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Prediction = Literal["eps", "v"]
"""What the network predicts: the noise, or v = sqrt(a) noise - sqrt(1 - a) signal (Salimans and Ho, 2022)."""


@dataclass(frozen=True)
class DDIMSchedule:
    """Coefficients of every sampling step, ascending in noise: index 0 is the last step."""

    timesteps: tuple[int, ...]
    """Training steps handed to the network."""
    alphas: tuple[float, ...]
    """Cumulative alpha at each step, in [0, 1]."""
    alphas_prev: tuple[float, ...]
    """Cumulative alpha of the next cleaner step; the last step goes to training step 0, not to 1."""
    sigmas: tuple[float, ...]
    """Standard deviation of the fresh noise, eta times the posterior's."""

    def __len__(self) -> int:
        return len(self.timesteps)


def ddim_schedule(alphas_cumprod: Tensor, timesteps: Sequence[int], eta: float) -> DDIMSchedule:
    """Coefficients for ascending `timesteps`.

    Args:
        alphas_cumprod: the training schedule, (N,), rounded to float32 as the official samplers store it.
        timesteps: ascending training steps in [0, N).
        eta: 0 is deterministic, 1 draws the posterior's whole variance at each step.
    """
    stored = alphas_cumprod.float()
    chosen = stored[list(timesteps)]
    alphas = chosen.double()
    alphas_prev = torch.cat([stored[:1].double(), alphas[:-1]])
    # In float64 but for 1 - alpha, as the official samplers mix float32 tensors with float64 arrays.
    variances = (1 - alphas_prev) / (1 - chosen).double() * (1 - alphas / alphas_prev)
    sigmas = eta * variances.sqrt()
    return DDIMSchedule(tuple(timesteps), tuple(alphas.tolist()), tuple(alphas_prev.tolist()), tuple(sigmas.tolist()))


def noise_and_signal(prediction: Prediction, output: Tensor, x: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """The noise and the clean latent that a network's output stands for.

    Args:
        prediction: what the network predicts.
        output: its output, same shape as `x`.
        x: noisy latent at cumulative alpha `alpha`, float32.

    Returns:
        (noise, clean latent).
    """
    signal_scale, noise_scale = _root(alpha), math.sqrt((1 - _float32(alpha)).item())
    if prediction == "eps":
        return output, (x - noise_scale * output) / signal_scale
    return signal_scale * output + noise_scale * x, signal_scale * x - noise_scale * output


def ddim_step(
    clean: Tensor, noise: Tensor, alpha_prev: float, sigma: float, fresh: Tensor, scale: float = 1.0
) -> Tensor:
    """The latent one step cleaner: sqrt(a') scale clean + sqrt(1 - a' - sigma^2) noise + sigma fresh.

    Where rounding takes 1 - a' - sigma^2 below zero (eta 1 from a step without signal) it counts as zero: the official
    samplers then return NaN, and for all other inputs the result is the same.
    """
    a, s = _float32(alpha_prev), _float32(sigma)
    direction = (1 - a - s**2).clamp_min(0).sqrt().item()
    return _root(alpha_prev) * scale * clean + direction * noise + s.item() * fresh


def _float32(value: float | Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float32)


def _root(value: float | Tensor) -> float:
    return _float32(value).sqrt().item()
