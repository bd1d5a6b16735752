"""SEINE's sampling loop: DDPM or DDIM on masked frames, guided by text, both branches in one network call."""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

from baselines.sampling.guidance import guided
from baselines.seine.diffusion import clean_from_noise, ddim_step, ddpm_step, respaced

Network = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(sample with its conditions, timestep, text of all branches) -> noise of all branches, as `LavieUNet`."""
Method = Literal["ddpm", "ddim"]


def denoised(
    network: Network,
    x: Tensor,
    text: tuple[Tensor, Tensor],
    known: Tensor,
    method: Method,
    steps: int,
    guidance: float,
    fresh: Callable[[int], Tensor],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Latents and predicted clean latents after every step, in float32.

    Published: the network runs in half precision and so does guidance; the process runs in float32. Both branches get
    the conditional one's latents, so only those are kept.

    Args:
        network: predicts the noise in the dtype of `known`.
        x: (B, 4, F, H, W) standard normal.
        text: states of the prompt and of the negative prompt, each (B, M, D).
        known: (B, 5, F, H, W) mask (0 known, 1 unknown) and scaled latents of the masked frames.
        method: how to step.
        steps: how many.
        guidance: weight of classifier-free guidance.
        fresh: standard normal noise for a DDPM step, by sampling step from 0; like `x`.

    Yields:
        (B, 4, F, H, W) twice.
    """
    process, states = respaced(steps), torch.cat(text)
    timesteps = torch.tensor(process.timesteps, device=x.device)
    x = x.float()
    for count, i in enumerate(reversed(range(steps))):
        given = torch.cat([x.to(known.dtype), known], dim=1)
        output = network(given, timesteps[i].expand(len(given)), states)
        conditional, unconditional = output.chunk(2)
        noise = guided(conditional, unconditional, guidance).float()
        clean = clean_from_noise(process, i, x, noise)
        x = ddpm_step(process, i, x, clean, fresh(count)) if method == "ddpm" else ddim_step(process, i, x, clean)
        yield x, clean
