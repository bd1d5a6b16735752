"""From an image and a prompt to frames: DDIM with classifier-free guidance on the widened network."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.lvdm.settings import UNetSettings
from baselines.sampling.ddim import ddim_schedule, ddim_step, noise_and_signal
from baselines.sampling.guidance import guided
from baselines.sampling.schedules import timesteps
from motif.diffusion import Prediction, alphas_cumprod
from motif.network import with_image
from motif.settings import SampleSettings


@dataclass(frozen=True)
class Conditions:
    """What every step is given, for B videos."""

    image: Tensor
    """Latent of the first frame, (B, 4, h, w), scaled."""
    said: Tensor
    """Tokens of the prompts and, where the network attends to it, of the image: (B, N, D)."""
    unsaid: Tensor
    """The same with the empty prompt, (B, N, D)."""
    fps: int
    """Frames per second that the network is told."""


@torch.no_grad()
def sample_latents(
    unet: nn.Module,
    network: UNetSettings,
    kind: Prediction,
    conditions: Conditions,
    noise: Tensor,
    settings: SampleSettings,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Clean latents.

    Args:
        unet: predicts `kind`.
        network: its settings.
        kind: `v` or `epsilon`.
        conditions: image, texts, frame rate. The image stays in the unconditional branch: only text is dropped in
            training.
        noise: where to begin, (B, 4, F, h, w) float32.
        settings: steps, guidance, eta.
        generator: of fresh noise where eta is above 0, on the CPU.

    Returns:
        (B, 4, F, h, w) float32.
    """
    schedule = ddim_schedule(alphas_cumprod(), timesteps("uniform", settings.steps), settings.eta)
    parameter = next(unet.parameters())
    clips, x = len(noise), noise
    context = torch.cat([conditions.said, conditions.unsaid]).to(parameter.dtype)
    fps = torch.full((clips,), conditions.fps, device=parameter.device)
    for index in reversed(range(len(schedule))):
        inputs = with_image(x, conditions.image.to(x), network).to(parameter.dtype)
        step = torch.full((clips,), schedule.timesteps[index], device=parameter.device)
        said, plain = unet(inputs, step, context, fps).float().chunk(2)
        output = guided(said, plain, settings.guidance)
        residual, clean = noise_and_signal("v" if kind == "v" else "eps", output, x, schedule.alphas[index])
        fresh = torch.randn(x.shape, generator=generator).to(x) if schedule.sigmas[index] > 0 else torch.zeros_like(x)
        x = ddim_step(clean, residual, schedule.alphas_prev[index], schedule.sigmas[index], fresh)
    return x
