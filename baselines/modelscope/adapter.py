"""What the three adapters share: noise by seed, precision, prediction in one batch, frames as bytes."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ti2v_bench.errors import TI2VError
from ti2v_bench.model import Frames, ModelOptions

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class PrecisionError(TI2VError):
    """No such precision."""


def precision_of(options: ModelOptions, official: str = "float16") -> torch.dtype:
    """Type of the denoising network: the one asked for, else the official one on a GPU and float32 on a CPU.

    Raises:
        PrecisionError: none of float32, float16, bfloat16.
    """
    name = options.precision or (official if options.device.startswith("cuda") else "float32")
    if name not in PRECISIONS:
        raise PrecisionError(f"There is no precision {name!r}. Known: {', '.join(PRECISIONS)}.")
    return PRECISIONS[name]


class Noise:
    """Standard normal numbers, one CPU generator per video: a seed means the same on every device, in every batch."""

    def __init__(self, seeds: Sequence[int], device: str | torch.device) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._device = device

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        """(number of seeds, *shape) float32; advances every generator."""
        drawn = [torch.randn(shape, generator=generator) for generator in self._generators]
        return torch.stack(drawn).to(self._device)


def both(predicted: Tensor) -> tuple[Tensor, Tensor]:
    """The halves of a batch that held two guidance branches."""
    first, second = predicted.chunk(2)
    return first, second


def as_frames(video_BF3HW: Tensor) -> list[Frames]:
    """Videos in [-1, 1] as bytes, (F, H, W, 3) each. Published: values are cut off, not rounded."""
    bytes_BFHW3 = ((video_BF3HW.float() * 0.5 + 0.5).clamp(0, 1) * 255).to(torch.uint8).movedim(2, -1)
    return list(bytes_BFHW3.cpu().numpy())


def compile_blocks(network: nn.Module, kinds: Sequence[type[nn.Module]]) -> None:
    """Compile every block of these kinds on its first use; same mathematics, other rounding.

    Blocks rather than the whole network: equal blocks share one compilation, which takes a fraction of the time.
    """
    import torch._dynamo.config as dynamo  # its import is slow, and few ask for it

    dynamo.recompile_limit = max(dynamo.recompile_limit, 64)  # one kind of block at every size of the network
    for module in network.modules():
        if isinstance(module, tuple(kinds)):
            module.compile(dynamic=False)


def settings_record(settings: "DataclassInstance") -> dict[str, object]:
    """Settings, JSON-ready, for the sidecar."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(settings).items()}


ReadText = Callable[[Sequence[str]], Tensor]
"""Prompts to text states, (N, L, D), on the model's device."""
