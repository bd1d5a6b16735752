"""One video as the metrics see it: decoded once, its flow and features made once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ti2v_bench.model import Frames
from ti2v_bench.motion.flow import Flow, FlowBackend, FlowError

T = TypeVar("T")

Picture = NDArray[np.uint8]
"""RGB, (H, W, 3) uint8."""


class Undefined(Exception):  # noqa: N818 - a statement about a video, not a fault
    """A metric has no value for this video; the message says why, in words that follow 'undefined: '."""


@dataclass
class Clip:
    """A decoded video with what it was made from."""

    frames: Frames
    """(F, H, W, 3) uint8."""
    fps: Fraction
    image: Picture
    """The pair's image at its own size."""
    prompt: str
    flow_backend: FlowBackend | None = None
    features: Mapping[str, Tensor] = field(default_factory=dict)
    """Network outputs by name (see `features.FEATURES`): (F, D) of frames, (1, D) of image or prompt."""
    prepared: dict[str, Tensor] = field(default_factory=dict, repr=False)
    """Inputs of networks that were made early, by feature."""
    _flows: dict[int, Flow] = field(default_factory=dict, repr=False)
    _made: dict[str, object] = field(default_factory=dict, repr=False)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives, made at the first call of this `name` and kept for all metrics of the clip."""
        if name not in self._made:
            self._made[name] = make()
        return cast("T", self._made[name])

    def feature(self, name: str) -> Tensor:
        """The network output called `name`.

        Raises:
            Undefined: that network was not run.
        """
        if name not in self.features:
            raise Undefined(f"the network output {name!r} was not made")
        return self.features[name]

    def padded_flow(self, interval: int = 1) -> Flow:
        """Flow between every `interval`-th frame on frames replicate-padded to multiples of 8 as RAFT's demo does.

        Returns:
            (pairs, 2, H', W') float32 in pixels; (0, 2, H', W') for a single frame.

        Raises:
            Undefined: no backend, or one that cannot take frames of this size.
        """
        if interval not in self._flows:
            frames = pad_to_multiple(self.frames[::interval], 8)
            if self.flow_backend is None:
                raise Undefined("no flow backend was given")
            if len(frames) < 2:
                return np.zeros((0, 2, *frames.shape[1:3]), np.float32)
            try:
                self._flows[interval] = self.flow_backend.flow(frames)
            except FlowError as error:
                raise Undefined(str(error)) from error
        return self._flows[interval]

    def flow(self) -> Flow:
        """Flow between neighbouring frames, (F-1, 2, H, W) float32 in pixels: `padded_flow` without the padding.

        Raises:
            Undefined: fewer than two frames, or as `padded_flow`.
        """
        if len(self.frames) < 2:
            raise Undefined("one frame has no motion")
        height, width = self.frames.shape[1:3]
        top, left = -height % 8 // 2, -width % 8 // 2
        return self.padded_flow()[..., top : top + height, left : left + width]


def pad_to_multiple(frames: Frames, multiple: int) -> Frames:
    """Frames (F, H, W, 3) with repeated borders up to multiples of `multiple`, half of them (less one) before."""
    height, width = frames.shape[1:3]
    down, across = -height % multiple, -width % multiple
    if not (down or across):
        return frames
    pads = ((0, 0), (down // 2, down - down // 2), (across // 2, across - across // 2), (0, 0))
    return np.pad(frames, pads, mode="edge")
