"""What the three adapters share: prediction of two branches in one batch, frames as bytes."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ti2v_bench.model import Frames

ReadText = Callable[[Sequence[str]], Tensor]
"""Prompts to text states, (N, L, D), on the model's device."""


def both(predicted: Tensor) -> tuple[Tensor, Tensor]:
    """The halves of a batch that held two guidance branches."""
    first, second = predicted.chunk(2)
    return first, second


def as_frames(video_BF3HW: Tensor) -> list[Frames]:
    """Videos in [-1, 1] as bytes, (F, H, W, 3) each. Published: values are cut off, not rounded."""
    bytes_BFHW3 = ((video_BF3HW.float() * 0.5 + 0.5).clamp(0, 1) * 255).to(torch.uint8).movedim(2, -1)
    return list(bytes_BFHW3.cpu().numpy())
