"""One training objective: noise the latents, predict, weigh the error by motion."""

from collections.abc import Sequence
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


@dataclass(frozen=True)
class Draws:
    """What is random in one step; on the CPU."""

    timestep: Tensor
    """(B,) int64 in [0, 1000)."""
    noise: Tensor
    """(B, 4, F, h, w) standard normal: the forward process's."""
    posterior: Tensor
    """The same shape: the autoencoder's sample of the clean latents."""


def draw(seed: int, step: int, places: Sequence[int], shape: tuple[int, ...]) -> Draws:
    """The draws of some places of one global batch.

    Each place has a generator of its own, so that neither resuming nor the number of processes changes what is drawn.

    Args:
        seed: of the run.
        step: number of the global batch.
        places: positions in it, each below 65537.
        shape: of one clip's latents, (4, F, h, w).
    """
    rows = []
    for place in places:
        generator = torch.Generator().manual_seed((seed * 1_000_003 + step) * 65_537 + place)
        timestep = torch.randint(STEPS, (), generator=generator)
        rows.append((timestep, *torch.randn(2, *shape, generator=generator)))
    return Draws(*(torch.stack(column) for column in zip(*rows, strict=True)))


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
