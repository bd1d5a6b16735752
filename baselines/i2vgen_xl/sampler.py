"""I2VGen-XL's conditions and its sampling loop.

Shapes: B videos, F frames, C latent channels, H x W latent cells.
Source: ali-vilab/VGen@4014d1f tools/modules/unet/unet_i2vgen.py and tools/modules/diffusions/diffusion_ddim.py.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.modelscope.diffusion import before, clean_from_velocity, cosine_alphas, ddim, timesteps
from baselines.modelscope.unet import ImageUnet
from baselines.sampling.guidance import guided


@dataclass(frozen=True)
class Conditions:
    """What the network is told beside the noisy latents, of B videos in k guidance branches, one after another."""

    text: Tensor
    """Text states, (k B, L, D)."""
    picture: Tensor
    """CLIP embedding of the picture, (k B, 1, D), not normalised; zeros in the unconditional branch."""
    first: Tensor
    """Latents of the picture, (B, C, H, W)."""
    fps: Tensor
    """Frame rate that the network is told, (B,)."""


def weigh_image_branch(unet: ImageUnet, factor: float) -> None:
    """Fold a factor of the image branch into the first convolution, whose last channels read it.

    Published: 2, since the branch is added twice into the network's input (its authors call it a bug).
    """
    weight = unet.conv_in.weight.detach()
    own, image = weight.chunk(2, dim=1)
    unet.conv_in.weight = nn.Parameter(torch.cat([own, image * factor], dim=1), requires_grad=False)


def position_frames(first_BCHW: Tensor, frames: int) -> Tensor:
    """The picture's latents as frame 0; frames k = 1.. are constant maps of value k / (frames - 1), (B, C, F, H, W)."""
    rest = [torch.full_like(first_BCHW, k / (frames - 1)) for k in range(1, frames)]
    return torch.stack([first_BCHW, *rest], dim=2)


def predict(unet: ImageUnet, x: Tensor, t: Tensor, given: Conditions) -> Tensor:
    """The network's velocity, (k B, C, F, H, W), in the type of `x`.

    Args:
        unet: `build_image_unet(shape)` after `weigh_image_branch`.
        x: Noisy latents, (B, C, F, H, W).
        t: Timestep, () or (B,).
        given: Conditions.
    """
    kind = unet.dtype
    latents = position_frames(given.first, x.shape[2]).to(kind)
    output: Tensor = unet(x.to(kind), t, given.fps, latents, given.picture.to(kind), given.text.to(kind))
    return output.to(x)


def trajectory(
    network: Callable[[Tensor, int], tuple[Tensor, Tensor]],
    x: Tensor,
    steps: int,
    guidance: float,
    last_alpha: float | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """DDIM on velocities: latents and predicted clean latents after every step.

    Published: the first timestep is 981 though the start is pure noise (t = 999), the last step ends at the noise
    level of training step 0, and guidance acts on the velocity. Latents are the loop's own tensor: what is written
    into them before the next step is asked for is carried on.

    Args:
        network: Latents and timestep to the velocity with the prompt and with the negative one.
        x: Standard normal, (B, C, F, H, W).
        steps: DDIM steps.
        guidance: Weight of classifier-free guidance.
        last_alpha: Where the last step ends; None: the alpha of training step 0.
    """
    alphas = cosine_alphas().tolist()
    alphas_before = [alphas[before(t, steps)] for t in timesteps(steps)]
    if last_alpha is not None:
        alphas_before[-1] = last_alpha
    for t, alpha_before in zip(timesteps(steps), alphas_before, strict=True):
        clean = clean_from_velocity(x, guided(*network(x, t), guidance), alphas[t])
        x = ddim(x, clean, alphas[t], alpha_before)
        yield x, clean
