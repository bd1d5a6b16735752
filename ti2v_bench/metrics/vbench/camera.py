"""Which camera motion four tracked edge points show: the rules alone; the tracker (CC BY-NC) is a plug-in."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ti2v_bench.metrics.clip import Clip, Undefined
from ti2v_bench.metrics.metric import VideoMetric
from ti2v_bench.model import Frames

GRID = 10
"""Points per side."""
PHRASES = {
    "camera pans left": "pan_left",
    "camera pans right": "pan_right",
    "camera tilts up": "tilt_up",
    "camera tilts down": "tilt_down",
    "camera zooms in": "zoom_in",
    "camera zooms out": "zoom_out",
    "camera static": "static",
}
"""Words of a prompt that ask for a camera motion."""
_BOTH = {
    ("left", "left"): "pan_right",
    ("right", "right"): "pan_left",
    ("down", "down"): "tilt_up",
    ("up", "up"): "tilt_down",
    ("static", "static"): "static",
}
_TOP_BOTTOM = _BOTH | {("up", "down"): "zoom_in", ("down", "up"): "zoom_out"}
_LEFT_RIGHT = _BOTH | {("left", "right"): "zoom_in", ("right", "left"): "zoom_out"}


class Tracker(Protocol):
    """A network that follows a 10 x 10 grid of points through a clip."""

    def tracks(self, frames: Frames) -> NDArray[np.float32]:
        """(F, H, W, 3) uint8 to (F, 100, 2): x and y in pixels, points row by row."""


def directions(first: NDArray[np.int64], last: NDArray[np.int64], limit: float) -> list[str]:
    """Where a point (x, y) went: one word along each axis on which it went further than `limit`, or `static`."""
    x, y = (last - first).tolist()
    found = [word for word, shift in (("right", x), ("left", -x), ("down", y), ("up", -y)) if shift > limit]
    return found or ["static"]


def camera_motions(tracks: NDArray[np.float32], height: int, width: int) -> set[str]:
    """The motions that the middle points of the four edges agree on.

    Args:
        tracks: (F, 100, 2) x and y in pixels.
        height: of the frame, in pixels.
        width: likewise.

    Returns:
        Names as in PHRASES' values; `None` (the word) where the points agree on nothing.
    """
    ends = np.trunc(tracks[[0, -1]]).astype(np.int64).reshape(2, GRID, GRID, 2)
    limit = 0.005 * min(height, width)
    middle, far = GRID // 2, GRID - 1
    edges = {"top": (0, middle), "bottom": (far, middle), "left": (middle, 0), "right": (middle, far)}
    went = {edge: directions(ends[0][at], ends[1][at], limit) for edge, at in edges.items()}
    found = {_TOP_BOTTOM.get((a, b), "None") for a in went["top"] for b in went["bottom"]}
    found |= {_LEFT_RIGHT.get((a, b), "None") for a in went["left"] for b in went["right"]}
    for weak in ("static", "None"):
        if len(found) > 1:
            found.discard(weak)
    return found


def asked_motion(prompt: str) -> str | None:
    """The camera motion that a prompt or file name asks for."""
    return next((name for phrase, name in PHRASES.items() if phrase in prompt.lower()), None)


class CameraMotion(VideoMetric):
    """Share of videos that show the camera motion their prompt asks for: 1 or 0 each; higher is better.

    Input: frames and prompt, and a tracker. Source: vbench2_beta_i2v/camera_motion.py. Undefined for prompts that ask
    for none, which are all of TI2V-Bench's.
    """

    name = "camera_motion"

    def __init__(self, tracker: Tracker) -> None:
        super().__init__()
        self._tracker = (tracker,)

    def score(self, clip: Clip) -> float:
        """1.0 if the motion asked for is among those shown, else 0.0."""
        asked = asked_motion(clip.prompt)
        if asked is None:
            raise Undefined("the prompt asks for no camera motion")
        height, width = clip.frames.shape[1:3]
        return float(asked in camera_motions(self._tracker[0].tracks(clip.frames), height, width))
