"""The diffusion of ModelScope's and VGen's official code: tables, timesteps and the DDIM update.

Tables are float64. One number of a table enters the arithmetic at a time, as a Python float: in a float32 update
that is the official cast of the table entry to float32.
Sources: ali-vilab/VGen@4014d1f tools/modules/diffusions/, merlresearch/TI2V-Zero@4a89bef.
"""

import math

import torch
from torch import Tensor

from baselines.sampling.schedules import alphas_cumprod, scaled_linear_betas, zero_terminal_snr

TRAINED_STEPS = 1000
"""Steps that the published networks were trained with."""


def linear_sd_alphas() -> Tensor:
    """ModelScope's cumulative alphas, (1000,) float64."""
    return alphas_cumprod(scaled_linear_betas(TRAINED_STEPS))


def cosine_alphas(offset: float = 0.008) -> Tensor:
    """I2VGen-XL's cumulative alphas, (1000,) float64: cosine betas, then rescaled so that the last alpha is 0.

    Source: Nichol & Dhariwal (2021), equation 17.
    """

    def level(step: int) -> float:
        return math.cos((step / TRAINED_STEPS + offset) / (1 + offset) * math.pi / 2) ** 2

    betas = [min(1 - level(step + 1) / level(step), 0.999) for step in range(TRAINED_STEPS)]
    return alphas_cumprod(zero_terminal_snr(torch.tensor(betas, dtype=torch.float64)))


def stride(steps: int) -> int:
    """Training steps between two sampling steps."""
    return TRAINED_STEPS // steps


def timesteps(steps: int) -> list[int]:
    """Descending timesteps for a wanted number of steps.

    Published: where `steps` does not divide 1000 the list has one entry more, the first clamped to 999.
    """
    return [min(1 + start, TRAINED_STEPS - 1) for start in range(0, TRAINED_STEPS, stride(steps))][::-1]


def before(t: int, steps: int) -> int:
    """The step that an update from `t` leads to. Published: never past index 0, so the last alpha is not 1."""
    return max(t - stride(steps), 0)


def clean_from_noise(x: Tensor, noise: Tensor, alpha: float) -> Tensor:
    """The clean latents that a predicted noise implies at cumulative alpha `alpha`."""
    return math.sqrt(1 / alpha) * x - math.sqrt(1 / alpha - 1) * noise


def clean_from_velocity(x: Tensor, velocity: Tensor, alpha: float) -> Tensor:
    """The clean latents that a predicted velocity implies (Salimans & Ho 2022)."""
    return math.sqrt(alpha) * x - math.sqrt(1 - alpha) * velocity


def ddim(
    x: Tensor, clean: Tensor, alpha: float, alpha_before: float, eta: float = 0.0, drawn: Tensor | None = None
) -> Tensor:
    """One DDIM update (Song et al. 2021, eq. 12); the noise is recomputed from the clean latents.

    Args:
        x: Latents at cumulative alpha `alpha`.
        clean: The clean latents predicted there.
        alpha: Cumulative alpha of `x`.
        alpha_before: Cumulative alpha of the result.
        eta: Share of fresh noise, 0 (none) to 1.
        drawn: The fresh noise, standard normal, like `x`; needed where `eta` is not 0.
    """
    noise = (math.sqrt(1 / alpha) * x - clean) / math.sqrt(1 / alpha - 1)
    if not eta or drawn is None:
        return math.sqrt(alpha_before) * clean + math.sqrt(1 - alpha_before) * noise
    sigma = eta * math.sqrt((1 - alpha_before) / (1 - alpha) * (1 - alpha / alpha_before))
    return math.sqrt(alpha_before) * clean + math.sqrt(1 - alpha_before - sigma**2) * noise + sigma * drawn


def noised(clean: Tensor, noise: Tensor, alpha: float) -> Tensor:
    """Clean latents taken to cumulative alpha `alpha`."""
    return math.sqrt(alpha) * clean + math.sqrt(1 - alpha) * noise
