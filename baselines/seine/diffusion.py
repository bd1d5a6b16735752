"""The respaced diffusion that SEINE samples with: OpenAI's guided-diffusion arithmetic on a linear schedule.

Tables are float64 and enter the arithmetic as float32, as published.
Source: Vchitect/SEINE @ bd8d519 `diffusion/` (behaviour); Nichol & Dhariwal (2021) for the respacing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

TRAINED_STEPS = 1000
Table = NDArray[np.float64]


@dataclass(frozen=True)
class Respaced:
    """Tables of the shortened process, ascending in noise: index 0 is the last sampling step."""

    timesteps: tuple[int, ...]
    """Steps of the trained process, handed to the network."""
    betas: Table
    alphas_cumprod: Table
    variance: Table
    """Published "fixed large": the betas, with the posterior's variance in place of the first."""
    mean_from_clean: Table
    """Posterior mean's weight of the clean latents."""
    mean_from_noisy: Table
    """Posterior mean's weight of the noisy latents."""


def respaced(steps: int) -> Respaced:
    """The process with `steps` of the 1000 trained steps, evenly spread in floating point and rounded half to even.

    Raises:
        ValueError: fewer than 2 steps, or more than were trained.
    """
    if not 2 <= steps <= TRAINED_STEPS:
        raise ValueError(f"{steps} sampling steps were asked for; 2 to {TRAINED_STEPS} are possible")
    kept = _evenly_spread(steps)
    trained = np.cumprod(1 - np.linspace(0.0001, 0.02, TRAINED_STEPS, dtype=np.float64))
    betas = 1 - trained[kept] / np.append(1.0, trained[kept[:-1]])
    alphas = np.cumprod(1 - betas)
    before = np.append(1.0, alphas[:-1])
    posterior = betas * (1 - before) / (1 - alphas)
    return Respaced(
        timesteps=tuple(kept),
        betas=betas,
        alphas_cumprod=alphas,
        variance=np.append(posterior[1], betas[1:]),
        mean_from_clean=betas * np.sqrt(before) / (1 - alphas),
        mean_from_noisy=(1 - before) * np.sqrt(1 - betas) / (1 - alphas),
    )


def _evenly_spread(steps: int) -> list[int]:
    stride = (TRAINED_STEPS - 1) / (steps - 1)
    position, found = 0.0, []
    for _ in range(steps):
        found.append(round(position))
        position += stride
    return found


def clean_from_noise(process: Respaced, i: int, x: Tensor, noise: Tensor) -> Tensor:
    """The clean latents that the predicted noise implies at index i; never clipped."""
    alpha = process.alphas_cumprod[i]
    return _single(np.sqrt(1 / alpha)) * x - _single(np.sqrt(1 / alpha - 1)) * noise


def ddpm_step(process: Respaced, i: int, x: Tensor, clean: Tensor, fresh: Tensor) -> Tensor:
    """A draw from the posterior at index i; no noise is added at index 0."""
    mean = _single(process.mean_from_clean[i]) * clean + _single(process.mean_from_noisy[i]) * x
    if i == 0:
        return mean
    spread = np.exp(np.float32(0.5) * np.float32(np.log(process.variance[i])))
    return mean + float(spread) * fresh


def ddim_step(process: Respaced, i: int, x: Tensor, clean: Tensor) -> Tensor:
    """DDIM with eta 0 from index i; the noise is recomputed from the clean latents."""
    alpha = process.alphas_cumprod[i]
    before = process.alphas_cumprod[i - 1] if i else 1.0
    noise = (_single(np.sqrt(1 / alpha)) * x - clean) / _single(np.sqrt(1 / alpha - 1))
    kept, left = np.sqrt(np.float32(before)), np.sqrt(1 - np.float32(before))
    return clean * float(kept) + float(left) * noise


def _single(value: float) -> float:
    return float(np.float32(value))
