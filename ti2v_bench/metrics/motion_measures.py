"""How much moves, by optical flow and by plain difference. More is not better in itself."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ti2v_bench.metrics.clip import Clip, Undefined
from ti2v_bench.metrics.metric import VideoMetric
from ti2v_bench.metrics.vbench.dynamics import clip_scores, lengths, longest
from ti2v_bench.motion.heatmap import share, sigma


@dataclass(frozen=True)
class FlowLengths:
    """How long a clip's flow vectors are."""

    mean: float
    """Of all vectors."""
    top: float
    """Of each pair's longest 5 %, averaged over pairs."""


def in_pixels(clip: Clip) -> FlowLengths:
    """In pixels per frame; without padding the longest vectors are those that the dynamic degree looks at."""

    def make() -> FlowLengths:
        flow = clip.flow()
        found = lengths(flow)
        whole = clip.padded_flow().shape == flow.shape
        return FlowLengths(float(found.mean(dtype=np.float64)), _mean(clip_scores(clip) if whole else longest(found)))

    return clip.once("flow in pixels", make)


def in_fractions(clip: Clip) -> FlowLengths:
    """Per frame, of (u / width, v / height)."""

    def make() -> FlowLengths:
        found = _fractions(clip)
        return FlowLengths(float(found.mean(dtype=np.float64)), _mean(longest(found)))

    return clip.once("flow in fractions", make)


def _fractions(clip: Clip) -> NDArray[np.float32]:
    """(F - 1, H, W) length of (u / width, v / height)."""

    def make() -> NDArray[np.float32]:
        flow = clip.flow()
        return lengths(flow / np.array(flow.shape[:1:-1], np.float32)[:, None, None])

    return clip.once("flow lengths in fractions", make)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


class MeanFlow(VideoMetric):
    """Mean flow length in pixels per frame. Input: flow; the backend is recorded."""

    name = "flow_mean_px"

    def score(self, clip: Clip) -> float:
        """See the class."""
        return in_pixels(clip).mean


class TopFlow(VideoMetric):
    """Mean length of each pair's longest 5 % in pixels per frame, averaged over pairs. Input: flow."""

    name = "flow_top5_px"

    def score(self, clip: Clip) -> float:
        """See the class."""
        return in_pixels(clip).top


class MeanFlowFraction(VideoMetric):
    """Mean flow length per frame, of (u / width, v / height). Input: flow."""

    name = "flow_mean_fraction"

    def score(self, clip: Clip) -> float:
        """See the class."""
        return in_fractions(clip).mean


class TopFlowFraction(VideoMetric):
    """As TopFlow, of (u / width, v / height). Input: flow."""

    name = "flow_top5_fraction"

    def score(self, clip: Clip) -> float:
        """See the class."""
        return in_fractions(clip).top


class HotShare(VideoMetric):
    """Share of the MotiF heatmap's entries above 0.5, in [0, 1]. Input: flow.

    Source: arXiv 2412.16153, sigma(x); x in parts of the frame is our choice, the paper does not state its unit.
    """

    name = "hot_share"

    def score(self, clip: Clip) -> float:
        """See the class."""
        weights = sigma(torch.from_numpy(_fractions(clip)))
        return share(torch.cat([weights, weights[-1:]])).hot  # the last frame's heatmap is the one before it


class LastFirstDifference(VideoMetric):
    """Mean absolute difference of last and first frame, in levels of 0-255. Input: frames."""

    name = "last_first_difference"

    def score(self, clip: Clip) -> float:
        """See the class."""
        if len(clip.frames) < 2:
            raise Undefined("one frame is first and last")
        return float(np.abs(clip.frames[-1].astype(np.int16) - clip.frames[0]).mean())
