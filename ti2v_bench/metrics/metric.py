"""What every metric is: a torchmetrics.Metric that scores one clip at a time and reduces over processes by sums."""

from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from ti2v_bench.metrics.clip import Clip, Undefined


class VideoMetric(Metric):  # type: ignore[misc]  # torchmetrics has no types to check against
    """Mean over videos of a score per video.

    States: `total` (sum of scores) and `videos` (how many had one), both float64 sums, so that processes add up.
    """

    name: ClassVar[str]
    """As in the catalogue."""
    full_state_update = False
    total: Tensor
    videos: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("videos", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def score(self, clip: Clip) -> float:
        """The clip's own score.

        Raises:
            Undefined: this clip has none.
        """
        raise NotImplementedError

    def update(self, clip: Clip) -> None:
        """Count one clip in; a clip without a score is left out."""
        try:
            score = self.score(clip)
        except Undefined:
            return
        self.total += score
        self.videos += 1

    def compute(self) -> Tensor:
        """Mean over the clips that have a score; NaN if none has."""
        return self.total / self.videos
