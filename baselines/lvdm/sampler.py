"""The family's DDIM: plain steps from `baselines.sampling`, and clean latents that are scaled in time.

Source: lvdm/models/samplers/ddim.py of AILab-CVC/VideoCrafter @ 11bcd76 and Doubiiu/DynamiCrafter @ c453369.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.lvdm.settings import DiffusionSettings
from baselines.sampling.ddim import DDIMSchedule, ddim_schedule, ddim_step, noise_and_signal
from baselines.sampling.schedules import alphas_cumprod, scaled_linear_betas, zero_terminal_snr

_SCALED_STEPS = 400
"""Training steps over which the scale falls (mid_step)."""


@dataclass(frozen=True)
class Steps:
    """Coefficients of every sampling step, ascending in noise: index 0 is the last step."""

    ddim: DDIMSchedule
    scales: tuple[float, ...]
    """Scale of clean latents at each step; all 1 where the model has none."""
    scales_prev: tuple[float, ...]
    """Scale at the next cleaner step."""


def training_betas(settings: DiffusionSettings) -> Tensor:
    """Betas of the training schedule, (1000,) float64."""
    betas = scaled_linear_betas()
    return zero_terminal_snr(betas) if settings.zero_terminal_snr else betas


def training_alphas(settings: DiffusionSettings) -> Tensor:
    """Cumulative alphas of the training schedule, (1000,) float64."""
    return alphas_cumprod(training_betas(settings))


def training_scales(settings: DiffusionSettings) -> Tensor:
    """Scale of clean latents at each training step, (1400,) float32.

    Published: 400 falling values are followed by 1000 constant ones, so the list is longer than the schedule; only its
    first 1000 entries are ever read.
    """
    falling = torch.linspace(1.0, settings.scale_base, _SCALED_STEPS, dtype=torch.float64)
    return torch.cat([falling, torch.full((1000,), settings.scale_base, dtype=torch.float64)]).float()


def sampling_steps(settings: DiffusionSettings, timesteps: Sequence[int], eta: float) -> Steps:
    """Coefficients for ascending training steps `timesteps`."""
    ddim = ddim_schedule(training_alphas(settings), timesteps, eta)
    if settings.scaling == "none":
        ones = (1.0,) * len(ddim)
        return Steps(ddim, ones, ones)
    curve = training_scales(settings)
    scales = tuple(curve[list(timesteps)].tolist())
    # The last step goes to the scale of training step 0 in VideoCrafter, but stays at its own in DynamiCrafter.
    last = curve[0].item() if settings.scaling == "input" else scales[0]
    return Steps(ddim, scales, (last, *scales[:-1]))


def denoise_step(
    settings: DiffusionSettings, steps: Steps, index: int, x: Tensor, output: Tensor, fresh: Tensor
) -> tuple[Tensor, Tensor]:
    """One step towards the clean latent.

    Args:
        settings: what the network predicts and how latents are scaled.
        steps: coefficients.
        index: position in them; 0 is the last step.
        x: noisy latent, (B, C, F, H, W) float32.
        output: guided network output, same shape.
        fresh: standard normal, same shape; not used where eta is 0.

    Returns:
        (next latent, clean latent as predicted here, rescaled as published).
    """
    noise, clean = noise_and_signal(settings.prediction, output.float(), x, steps.ddim.alphas[index])
    scale, scale_prev = steps.scales[index], steps.scales_prev[index]
    if settings.scaling == "input":
        clean = clean / scale
    else:
        # In float32, as the official code divides two float32 tensors.
        clean = clean * (torch.tensor(scale_prev) / torch.tensor(scale)).item()
        scale_prev = 1.0
    x = ddim_step(clean, noise, steps.ddim.alphas_prev[index], steps.ddim.sigmas[index], fresh, scale_prev)
    return x, clean


def denoise(
    settings: DiffusionSettings,
    steps: Steps,
    x: Tensor,
    predict: Callable[[Tensor, int], Tensor],
    fresh: Callable[[], Tensor],
) -> Tensor:
    """All steps from the noisiest on.

    Args:
        settings: what the network predicts and how latents are scaled.
        steps: coefficients.
        x: initial latent, (B, C, F, H, W) float32.
        predict: guided network output for a latent and a training step.
        fresh: draws standard normal noise of the latent's shape; called once per step, the last one included.

    Returns:
        Clean latent, same shape.
    """
    for index in reversed(range(len(steps.ddim))):
        output = predict(x, steps.ddim.timesteps[index])
        x, _ = denoise_step(settings, steps, index, x, output, fresh())
    return x
