"""How steady neighbouring frames are, with a network between them and without."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ti2v_bench.metrics.clip import Clip, Undefined, pad_to_multiple
from ti2v_bench.metrics.metric import VideoMetric
from ti2v_bench.model import Frames


class Interpolator(Protocol):
    """A network that draws the frame between two."""

    def midpoint(self, before: Tensor, after: Tensor) -> Tensor:
        """Both (1, 3, H, W) in [0, 1], H and W multiples of 16; the result need not stay in [0, 1]."""


def neighbour_differences(frames: Frames) -> NDArray[np.float64]:
    """Mean absolute difference of neighbouring frames in levels of 0-255, (F - 1,)."""
    wide = frames.astype(np.int16)
    return np.asarray(np.abs(wide[1:] - wide[:-1]).mean(axis=(1, 2, 3)), np.float64)


class TemporalFlickering(VideoMetric):
    """1 - mean absolute difference of neighbouring frames over 255, in [0, 1]; higher is steadier, a still gives 1.

    Input: frames. No weights. Source: temporal_flickering.py. Not part of VBench's I2V total.
    """

    name = "temporal_flickering"

    def score(self, clip: Clip) -> float:
        """See the class."""
        if len(clip.frames) < 2:
            raise Undefined("one frame cannot flicker")
        return float(1 - neighbour_differences(clip.frames).mean() / 255)


def predicted_frames(frames: Frames, interpolator: Interpolator) -> Frames:
    """What the interpolator draws between frames 0, 2, 4, …: (P, H, W, 3) uint8.

    Published: clipped to 0-255 and *truncated* to uint8.
    """
    height, width = frames.shape[1:3]
    top, left = -height % 16 // 2, -width % 16 // 2
    padded = torch.from_numpy(pad_to_multiple(frames[::2], 16)).permute(0, 3, 1, 2).float() / 255
    drawn = [
        interpolator.midpoint(padded[at : at + 1], padded[at + 1 : at + 2])[
            ..., top : top + height, left : left + width
        ]
        for at in range(len(padded) - 1)
    ]
    levels = (torch.cat(drawn) * 255).clamp(0, 255).permute(0, 2, 3, 1)
    return levels.cpu().numpy().astype(np.uint8)


class MotionSmoothness(VideoMetric):
    """1 - mean absolute difference between odd frames and what is drawn from the even ones, over 255; in [0, 1].

    Input: frames, and an interpolator. Source: motion_smoothness.py, whose interpolator is AMT-S (CC BY-NC 4.0, so it
    is an opt-in plug-in here). The last frame of a clip with an even number of frames is not used.
    """

    name = "motion_smoothness"

    def __init__(self, interpolator: Interpolator) -> None:
        super().__init__()
        self._interpolator = (interpolator,)  # in a tuple: no submodule, its weights are not this metric's state

    def score(self, clip: Clip) -> float:
        """See the class."""
        if len(clip.frames) < 3:
            raise Undefined("smoothness needs at least three frames")
        drawn = predicted_frames(clip.frames, self._interpolator[0])
        real = clip.frames[1::2][: len(drawn)]
        return float(1 - np.abs(real.astype(np.int16) - drawn).mean(axis=(1, 2, 3)).mean() / 255)
