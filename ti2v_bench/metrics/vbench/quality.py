"""How good single frames look, by networks trained on people's ratings."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ti2v_bench.metrics.clip import Clip
from ti2v_bench.metrics.metric import VideoMetric
from ti2v_bench.metrics.resize import as_tensor, imaging_input


class FrameScorer(Protocol):
    """A network that rates pictures."""

    def rate(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] to (N,) ratings in 0-100."""


class AestheticQuality(VideoMetric):
    """LAION's linear head on CLIP ViT-L/14, mean over frames of score / 10, about [0, 1]; higher is better.

    Input: feature `clip-l14` (F, 768). Weights: openai/clip-vit-large-patch14 (MIT) and
    `sa_0_4_vit_l_14_linear.pth` of LAION-AI/aesthetic-predictor (MIT). Source: aesthetic_quality.py.
    """

    name = "aesthetic_quality"

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self._head = (head.requires_grad_(False),)

    def score(self, clip: Clip) -> float:
        """See the class."""
        head = self._head[0]
        features = F.normalize(clip.feature("clip-l14").float().to(head.weight.device), dim=-1)
        return float((head(features).squeeze(-1) / 10).mean())


class ImagingQuality(VideoMetric):
    """MUSIQ (SPAQ) technical quality, mean over frames, in [0, 1] (its 0-100 over 100); higher is better.

    Input: frames. Source: imaging_quality.py. The network comes from pyiqa (PolyForm Noncommercial), so it is opt-in.
    """

    name = "imaging_quality"

    def __init__(self, scorer: FrameScorer, batch: int = 16) -> None:
        super().__init__()
        self._scorer = (scorer,)
        self.batch = batch

    def ratings(self, clip: Clip) -> Tensor:
        """(F,) ratings in 0-100."""
        pictures = torch.split(imaging_input(as_tensor(clip.frames)), self.batch)
        return torch.cat([self._scorer[0].rate(part).reshape(-1) for part in pictures])

    def score(self, clip: Clip) -> float:
        """See the class."""
        return float(self.ratings(clip).mean() / 100)
