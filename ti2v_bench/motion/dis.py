"""Dense inverse search (OpenCV): flow without weights, on the CPU, the same array every time."""

from itertools import pairwise

import cv2
import numpy as np

from ti2v_bench.model import Frames
from ti2v_bench.motion.flow import Flow, FlowError, check_frames

_MIN_SIDE = 16
"""OpenCV's medium preset fails in its pyramid below about this many pixels."""


class DisFlow:
    """DIS optical flow, preset medium, on grey levels.

    Source: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016; `cv2.DISOpticalFlow`.
    """

    name = "opencv-dis-medium"

    def flow(self, frames: Frames) -> Flow:
        """Flow of a clip (see FlowBackend); identical frames give exactly 0."""
        check_frames(frames)
        if min(frames.shape[1:3]) < _MIN_SIDE:
            raise FlowError(f"DIS needs frames of at least {_MIN_SIDE}x{_MIN_SIDE} pixels, got {frames.shape[1:3]}.")
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
        flows = [dis.calc(first, second, None) for first, second in pairwise(grey)]
        return np.ascontiguousarray(np.stack(flows).transpose(0, 3, 1, 2), dtype=np.float32)
