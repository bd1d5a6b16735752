"""Whether a video moves at all, by the longest flow vectors."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ti2v_bench.metrics.clip import Clip
from ti2v_bench.metrics.metric import VideoMetric
from ti2v_bench.motion.flow import Flow


def sampling_interval(fps: float | Fraction) -> int:
    """Every so many frames count, about 8 a second. Published: Python's round, so 12 and 20 fps give 2."""
    return max(1, round(float(fps) / 8))


def lengths(flow: Flow) -> NDArray[np.float32]:
    """Length of each vector of (pairs, 2, H, W), (pairs, H, W)."""
    u, v = flow[:, 0], flow[:, 1]
    result: NDArray[np.float32] = np.sqrt(u * u + v * v)
    return result


def pair_scores(flow: Flow) -> list[float]:
    """Mean length of the longest 5 % of each pair's vectors in pixels; `flow` is the padded field (pairs, 2, H, W)."""
    return longest(lengths(flow))


def longest(found: NDArray[np.float32]) -> list[float]:
    """Mean of the largest 5 % of each pair's lengths (pairs, H, W)."""
    pixels = found.shape[1] * found.shape[2]
    first = pixels - int(pixels * 0.05)
    largest = np.partition(found.reshape(len(found), pixels), first, axis=1)[:, first:]
    return [float(value) for value in largest.astype(np.float64).mean(axis=1)]


def clip_scores(clip: Clip, interval: int = 1) -> list[float]:
    """`pair_scores` of a clip's padded flow."""
    return clip.once(f"pair_scores {interval}", lambda: pair_scores(clip.padded_flow(interval)))


def threshold(height: int, width: int) -> float:
    """Pixels that a pair must exceed to count as moving; of the frame without padding."""
    return 6.0 * (min(height, width) / 256.0)


def needed_pairs(sampled: int) -> int:
    """How many pairs must move, of so many sampled frames. Published: 0 for two frames."""
    return round(4 * (sampled / 16.0))


def moves(scores: Sequence[float], limit: float, needed: int) -> bool:
    """Published: counts up before it compares, so with `needed` = 0 any pair suffices, even one without motion."""
    moving = 0
    for score in scores:
        moving += score > limit
        if moving >= needed:
            return True
    return False


class DynamicDegree(VideoMetric):
    """Share of videos that move: 1 or 0 for each; neither more nor less is better in itself.

    Input: flow of every `sampling_interval`-th pair of frames. Source: dynamic_degree.py, whose flow is RAFT
    `raft-things` with 20 updates (BSD-3); with another backend the number is another number, so the backend is
    recorded. A clip of two sampled frames always moves, one of one frame never.
    """

    name = "dynamic_degree"

    def score(self, clip: Clip) -> float:
        """1.0 if the clip moves, else 0.0."""
        interval = sampling_interval(clip.fps)
        sampled = len(clip.frames[::interval])
        scores = clip_scores(clip, interval) if sampled > 1 else []
        return float(moves(scores, threshold(*clip.frames.shape[1:3]), needed_pairs(sampled)))
