"""The forward process and its targets: linear schedule of the LVDM family, epsilon- and v-prediction.

v = sqrt(a) eps - sqrt(1 - a) x0 (Salimans & Ho, "Progressive Distillation", 2022), a = cumulative alpha.
Published for MotiF: v-prediction, linear schedule, 1000 steps. The betas are not given; VideoCrafter2's own are used
(our inference): square of a line from sqrt(0.00085) to sqrt(0.012). VideoCrafter2 also multiplies x0 with a factor that
falls to 0.7 at noisy timesteps (its `use_scale`); whether MotiF keeps that is not published, and here it is not kept.
"""

from typing import Literal

import torch
from torch import Tensor

Prediction = Literal["v", "epsilon"]
STEPS = 1000


def alphas_cumprod(first: float = 0.00085, last: float = 0.012, steps: int = STEPS) -> Tensor:
    """Cumulative alphas (steps,), float32, computed in float64; betas linear in their square root."""
    betas = torch.linspace(first**0.5, last**0.5, steps, dtype=torch.float64).square()
    return (1 - betas).cumprod(0).float()


def _at(alphas: Tensor, timestep: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """sqrt(a_t) and sqrt(1 - a_t), shaped to broadcast over `like` (B, ...)."""
    a = alphas[timestep].reshape(-1, *[1] * (like.ndim - 1))
    return a.sqrt(), (1 - a).sqrt()


def add_noise(clean: Tensor, noise: Tensor, timestep: Tensor, alphas: Tensor) -> Tensor:
    """x_t = sqrt(a) x_0 + sqrt(1 - a) eps for timesteps (B,)."""
    signal, sigma = _at(alphas, timestep, clean)
    return signal * clean + sigma * noise


def training_target(clean: Tensor, noise: Tensor, timestep: Tensor, alphas: Tensor, kind: Prediction) -> Tensor:
    """What the network is trained towards: the noise, or v."""
    if kind == "epsilon":
        return noise
    signal, sigma = _at(alphas, timestep, clean)
    return signal * noise - sigma * clean


def clean_from(output: Tensor, noisy: Tensor, timestep: Tensor, alphas: Tensor, kind: Prediction) -> Tensor:
    """x_0 that a network output stands for."""
    signal, sigma = _at(alphas, timestep, noisy)
    return (noisy - sigma * output) / signal if kind == "epsilon" else signal * noisy - sigma * output


def trailing_timesteps(count: int, steps: int = STEPS) -> list[int]:
    """`count` timesteps from the noisiest: steps-1, ..., evenly spaced and ending one interval above 0.

    Source: Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2024), "trailing".
    """
    return [round(steps - i * steps / count) - 1 for i in range(count)]


def ddim_step(clean: Tensor, noisy: Tensor, now: int, after: int | None, alphas: Tensor) -> Tensor:
    """Deterministic DDIM step (Song et al. 2021, eq. 12 with eta 0) from timestep `now` to `after` (None: to x_0)."""
    a = alphas[now]
    noise = (noisy - a.sqrt() * clean) / (1 - a).sqrt()
    if after is None:
        return clean
    b = alphas[after]
    return b.sqrt() * clean + (1 - b).sqrt() * noise
