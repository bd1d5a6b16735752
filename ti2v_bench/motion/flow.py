"""What a flow backend is, and how one is chosen by name."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ti2v_bench.errors import TI2VError
from ti2v_bench.model import Frames

Flow = NDArray[np.float32]
"""Displacement from frame l to frame l+1 in pixels: (T-1, 2, H, W) float32; channel 0 is x (right), 1 is y (down)."""

BACKENDS = ("dis", "raft")


class FlowError(TI2VError):
    """Frames, a backend's name or a checkpoint that flow cannot be made with."""


class FlowBackend(Protocol):
    """Anything that estimates optical flow between adjacent frames."""

    name: str
    """Recorded wherever the numbers go: DIS numbers are not RAFT numbers."""

    def flow(self, frames: Frames) -> Flow:
        """Flow of a clip.

        Args:
            frames: (T, H, W, 3) uint8 RGB, T at least 2.

        Raises:
            FlowError: wrong shape or dtype, or a size the backend cannot take.
        """


def check_frames(frames: Frames) -> None:
    """Raise FlowError unless `frames` is (T >= 2, H, W, 3) uint8."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.shape[0] < 2 or frames.dtype != np.uint8:
        raise FlowError(
            f"flow needs at least two uint8 frames of shape (T, H, W, 3), got {frames.dtype} {tuple(frames.shape)}."
        )


def flow_backend(name: str, weights: Path | None = None, device: str = "cpu", updates: int = 20) -> FlowBackend:
    """The backend called `name`: `dis` (OpenCV, no weights) or `raft` (RAFT-large, needs a checkpoint file).

    Args:
        name: one of BACKENDS.
        weights: RAFT checkpoint, princeton-vl's or torchvision's form; unused by `dis`.
        device: torch device of RAFT; `dis` always runs on the CPU.
        updates: RAFT's recurrent updates.

    Raises:
        FlowError: unknown name, or `raft` without weights.
    """
    if name == "dis":
        from ti2v_bench.motion.dis import DisFlow

        return DisFlow()
    if name != "raft":
        raise FlowError(f"No flow backend is called {name!r}. Known: {', '.join(BACKENDS)}.")
    if weights is None:
        raise FlowError(
            "Flow backend 'raft' needs a checkpoint: name raft_large_*.pth (torchvision) or raft-things.pth "
            "(princeton-vl), or use 'dis', which needs none."
        )
    from ti2v_bench.motion.raft import RaftFlow

    return RaftFlow.load(weights, device=device, updates=updates)
