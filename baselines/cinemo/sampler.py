"""Cinemo's sampling loop: DDIM on motion residuals, guided by text, both branches in one network call."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from baselines.sampling.guidance import guided
from baselines.sampling.leading import Step, ddim_step, in_steps

Network = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(sample, timestep, text of all branches, base, motion) -> noise of all branches, as `CinemoUNet`."""


def residuals(
    network: Network,
    x: Tensor,
    text: tuple[Tensor, Tensor],
    base: Tensor,
    motion: float,
    steps: list[Step],
    guidance: float,
) -> Iterator[Tensor]:
    """Latents after every step.

    Args:
        network: predicts the noise.
        x: (B, 4, F, H, W) start latents in the network's dtype, in which the whole loop runs.
        text: states of the negative prompt and of the prompt, each (B, M, D).
        base: (B, 4, 1, H, W) scaled image latent; the same in both branches.
        motion: value that the network is given.
        steps: from `leading_steps`.
        guidance: weight of classifier-free guidance; at 1 and below there is no second branch.

    Yields:
        (B, 4, F, H, W).
    """
    branches = 2 if guidance > 1 else 1
    states = torch.cat(text) if branches == 2 else text[1]
    motions = torch.full((len(x),), float(motion), device=x.device, dtype=x.dtype)  # rounded to it, as published
    for step, timestep in in_steps(steps, x.device, len(x)):
        noise = network(x, timestep, states, base, motions)
        if branches == 2:
            unconditional, conditional = noise.chunk(2)
            noise = guided(conditional, unconditional, guidance)
        x = ddim_step(x, noise, step)
        yield x
