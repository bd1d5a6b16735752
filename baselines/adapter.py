"""What adapters need around their networks: precision, noise by seed, memory layout, the record."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from ti2v_bench.errors import TI2VError
from ti2v_bench.model import Frames, ModelOptions

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_T = TypeVar("_T")
PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class PrecisionError(TI2VError):
    """No such precision."""


def precision_of(options: ModelOptions, official: str) -> torch.dtype:
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
        self._device = torch.device(device)

    def __call__(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """(number of seeds, *shape); advances every generator."""
        drawn = torch.stack([torch.randn(shape, generator=each, dtype=dtype) for each in self._generators])
        # From pinned memory the copy takes its turn; from other memory this process would wait until the GPU is idle.
        pinned = self._device.type == "cuda"
        return (drawn.pin_memory() if pinned else drawn).to(self._device, non_blocking=pinned)


def last(steps: Iterable[_T]) -> _T:
    """What a sampler's last step gave."""
    return deque(steps, maxlen=1).pop()


def truncated(decoded: Tensor) -> Frames:
    """(F, 3, H, W) in [-1, 1] -> (F, H, W, 3) uint8. Published by several: fractions are cut off, not rounded."""
    frames: Frames = ((decoded.float() / 2 + 0.5).clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return frames


def channels_last(network: nn.Module) -> None:
    """Store every convolution's kernel as the activations are, channels last, so that no call has to reorder it."""
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        elif parameter.dim() == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)


def settings_record(settings: "DataclassInstance") -> dict[str, object]:
    """Settings, JSON-ready, for the sidecar."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(settings).items()}
