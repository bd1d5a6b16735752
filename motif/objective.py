"""One training objective: noise the latents, predict, weigh the error by motion."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.lvdm.settings import UNetSettings
from motif.diffusion import STEPS, Prediction, add_noise, training_target
from motif.loss import LossTerms, loss_terms
from motif.network import with_image


@dataclass(frozen=True)
class Batch:
    """What one step sees, on the device."""

    latents: Tensor
    """Clean clips, (B, 4, F, h, w), scaled."""
    image: Tensor
    """Latent of the first frame, (B, 4, h, w), scaled."""
    context: Tensor
    """Text tokens (B, 77, D), then image tokens where the network attends to them."""
    fps: Tensor
    """Frames per second of the clip as sampled, (B,) int64."""
    heat: Tensor
    """m', (B, F, h, w) in [0, 1]."""


def draw(batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Timesteps (B,) and noise for a batch, from a CPU generator so that a resumed run draws the same."""
    timestep = torch.randint(STEPS, (len(batch.latents),), generator=generator)
    noise = torch.randn(batch.latents.shape, generator=generator)
    return timestep.to(batch.latents.device), noise.to(batch.latents.device)


def objective(
    unet: nn.Module,
    network: UNetSettings,
    batch: Batch,
    timestep: Tensor,
    noise: Tensor,
    alphas: Tensor,
    kind: Prediction,
) -> LossTerms:
    """Both loss terms of a batch for given timesteps and noise; frame 1 counts as every other (our choice)."""
    noisy = add_noise(batch.latents, noise, timestep, alphas)
    target = training_target(batch.latents, noise, timestep, alphas, kind)
    prediction = unet(with_image(noisy, batch.image, network), timestep, batch.context, batch.fps)
    return loss_terms(prediction, target, batch.heat)
