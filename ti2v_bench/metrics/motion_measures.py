"""How much moves, by optical flow and by plain difference. More is not better in itself."""

import numpy as np
import torch
from numpy.typing import NDArray

from ti2v_bench.metrics.clip import Clip, Undefined
from ti2v_bench.metrics.metric import VideoMetric
from ti2v_bench.metrics.vbench.dynamics import pair_scores
from ti2v_bench.motion.heatmap import HeatmapSettings, heatmap, share


def fractions(clip: Clip) -> NDArray[np.float32]:
    """Flow as (u / width, v / height), (F - 1, 2, H, W)."""
    flow = clip.flow()
    height, width = flow.shape[2:]
    return flow / np.array([width, height], np.float32)[:, None, None]


def mean_length(flow: NDArray[np.float32]) -> float:
    """Mean length of all vectors."""
    return float(np.hypot(flow[:, 0], flow[:, 1]).mean(dtype=np.float64))


class MeanFlow(VideoMetric):
    """Mean flow length in pixels per frame. Input: flow; the backend is recorded."""

    name = "flow_mean_px"

    def score(self, clip: Clip) -> float:
        """See the class."""
        return mean_length(clip.flow())


class TopFlow(VideoMetric):
    """Mean length of each pair's longest 5 % in pixels per frame, averaged over pairs. Input: flow."""

    name = "flow_top5_px"

    def score(self, clip: Clip) -> float:
        """See the class."""
        return float(np.mean(pair_scores(clip.flow())))


class MeanFlowFraction(VideoMetric):
    """Mean flow length per frame, of (u / width, v / height). Input: flow."""

    name = "flow_mean_fraction"

    def score(self, clip: Clip) -> float:
        """See the class."""
        return mean_length(fractions(clip))


class TopFlowFraction(VideoMetric):
    """As TopFlow, of (u / width, v / height). Input: flow."""

    name = "flow_top5_fraction"

    def score(self, clip: Clip) -> float:
        """See the class."""
        return float(np.mean(pair_scores(fractions(clip))))


class HotShare(VideoMetric):
    """Share of the MotiF heatmap's entries above 0.5, in [0, 1]. Input: flow.

    Source: arXiv 2412.16153, sigma(x); x in parts of the frame is our choice, the paper does not state its unit.
    """

    name = "hot_share"

    def score(self, clip: Clip) -> float:
        """See the class."""
        flow = torch.from_numpy(np.ascontiguousarray(clip.flow()))
        return share(heatmap(flow, HeatmapSettings())).hot


class LastFirstDifference(VideoMetric):
    """Mean absolute difference of last and first frame, in levels of 0-255. Input: frames."""

    name = "last_first_difference"

    def score(self, clip: Clip) -> float:
        """See the class."""
        if len(clip.frames) < 2:
            raise Undefined("one frame is first and last")
        return float(np.abs(clip.frames[-1].astype(np.int16) - clip.frames[0]).mean())
