"""Numbered samples to batches: which process takes which, and decoding in worker processes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from motif.data import Sample, Samples
from motif.heatmaps import Heat
from ti2v_bench.model import Frames


class Numbers(Sampler[int]):
    """The sample numbers of one process: of every global batch its own share, from a step on."""

    def __init__(self, first_step: int, steps: int, batch: int, rank: int, world: int) -> None:
        self.steps, self.batch = range(first_step, steps), batch
        self.own = range(rank * (batch // world), (rank + 1) * (batch // world))

    def __iter__(self) -> Iterator[int]:
        return (step * self.batch + place for step in self.steps for place in self.own)

    def __len__(self) -> int:
        return len(self.steps) * len(self.own)


def loader(samples: Samples, numbers: Numbers, per_device: int, workers: int) -> DataLoader[Sample]:
    """Lists of `per_device` samples, in order, decoded by `workers` processes (0: in this one)."""
    return DataLoader(
        samples,
        batch_size=per_device,
        sampler=numbers,
        num_workers=workers,
        collate_fn=list,
        multiprocessing_context="spawn" if workers else None,
        persistent_workers=bool(workers),
    )


@dataclass(frozen=True)
class Stacker:
    """Samples to tensors on a device, making the heatmaps that the decoding processes left out."""

    device: torch.device
    heat: Callable[[Frames], Heat] | None = None
    """For samples without a heatmap, e.g. RAFT on this device behind its cache."""

    def __call__(self, samples: Sequence[Sample]) -> tuple[Tensor, Tensor, Tensor]:
        """Video (B, 3, F, H, W) in [-1, 1], heat (B, F, h, w) and fps (B,)."""
        frames = torch.stack([sample.frames for sample in samples])
        video = frames.to(self.device).transpose(1, 2).float() / 127.5 - 1
        heat = torch.stack([self._heat(sample) for sample in samples]).to(self.device)
        return video, heat, torch.tensor([sample.fps for sample in samples], device=self.device)

    def _heat(self, sample: Sample) -> Tensor:
        if sample.heat is not None:
            return sample.heat
        assert self.heat is not None
        return torch.from_numpy(self.heat(sample.frames.permute(0, 2, 3, 1).numpy()))
