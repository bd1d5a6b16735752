"""ConsistI2V's sampling loop: DDIM on the frames after the first, guided by text or by text and first frame."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.sampling.guidance import guided, guided_by_two, rescaled
from baselines.sampling.leading import Step, ddim_step, in_steps

Network = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(sample, timestep, text of all branches, first, stride) -> noise of all branches, as `ConsistUNet`."""


@dataclass(frozen=True)
class Guidance:
    """How several predictions become one."""

    text: float
    """Weight of the prompt against the negative prompt; at 1 and below there is no branch for it."""
    image: float
    """Weight of the first frame against its noise; above 1 it switches three branches on, whatever `text` is."""
    rescale: float
    """Share in which the result takes the spread of the prompt's prediction; only in text mode."""

    @property
    def branches(self) -> int:
        """Network calls per step, made as one batch."""
        if self.image > 1:
            return 3
        return 2 if self.text > 1 else 1

    def combine(self, noise: Tensor) -> Tensor:
        """(branches x B, …) in the order of `Conditions` -> (B, …)."""
        if self.branches == 1:
            return noise
        if self.branches == 3:
            neither, image, both = noise.chunk(3)
            return guided_by_two(both, image, neither, self.text, self.image)
        unconditional, conditional = noise.chunk(2)
        result = guided(conditional, unconditional, self.text)
        return rescaled(result, conditional, self.rescale) if self.rescale > 0 else result


@dataclass(frozen=True)
class Conditions:
    """What the network is told in each branch."""

    text: tuple[Tensor, Tensor]
    """States of the negative prompt and of the prompt, each (B, M, D)."""
    first: Tensor
    """(B, 4, 1, H, W) scaled latent of the first frame."""
    noisy_first: Tensor
    """The same place in the start latents. Published: it stands in for "no image" at every step unchanged."""
    stride: int
    """Frame stride that the network is told."""

    def for_branches(self, branches: int) -> tuple[Tensor, Tensor]:
        """Text of all branches, and first frames: B where the branches have the same, else those of all branches."""
        negative, positive = self.text
        if branches == 1:
            return positive, self.first
        if branches == 2:
            return torch.cat([negative, positive]), self.first
        return torch.cat([negative, negative, positive]), torch.cat([self.noisy_first, self.first, self.first])


def denoised(network: Network, x: Tensor, given: Conditions, steps: list[Step], guidance: Guidance) -> Iterator[Tensor]:
    """Latents of the frames after the first, after every step, (B, 4, F - 1, H, W).

    Args:
        network: predicts the noise.
        x: start latents without frame 0, in the network's dtype.
        given: conditions.
        steps: from `leading_steps`.
        guidance: weights.
    """
    branches = guidance.branches
    text, first = given.for_branches(branches)
    stride = torch.full((len(first),), given.stride, device=x.device)
    for step, timestep in in_steps(steps, x.device, len(first)):
        noise = network(x.repeat(len(first) // len(x), 1, 1, 1, 1), timestep, text, first, stride)
        x = ddim_step(x, guidance.combine(noise), step)
        yield x
