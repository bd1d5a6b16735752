"""Numbered samples to batches: which process takes which, and decoding in worker processes."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from motif.data import Sample, Samples


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


def stacked(samples: Sequence[Sample], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Video (B, 3, F, H, W) in [-1, 1], heat (B, F, h, w) and fps (B,) on the device."""
    video = torch.stack([sample.frames for sample in samples]).to(device).transpose(1, 2).float() / 127.5 - 1
    heat = torch.stack([sample.heat for sample in samples]).to(device)
    fps = torch.tensor([sample.fps for sample in samples], device=device)
    return video, heat, fps
