"""Heatmaps on the latent grid, kept on disk under the hash of what they were made from."""

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ti2v_bench.files import write_bytes
from ti2v_bench.model import Frames
from ti2v_bench.motion.flow import FlowBackend
from ti2v_bench.motion.heatmap import HeatmapSettings, heatmap, to_grid

Heat = NDArray[np.float32]
"""m', (F, h, w) in [0, 1]."""


@dataclass(frozen=True)
class HeatmapMaker:
    """From frames to m': flow, heatmap, latent grid."""

    backend: FlowBackend
    settings: HeatmapSettings
    grid: tuple[int, int]
    """(h, w) of the latents."""

    def __call__(self, frames: Frames) -> Heat:
        """m' of a clip (F, H, W, 3) uint8."""
        flow = torch.from_numpy(self.backend.flow(frames))
        result: Heat = to_grid(heatmap(flow, self.settings), self.grid).numpy()
        return result

    def key(self, frames: Frames) -> str:
        """Hash of the pixels, the backend, the settings and the grid."""
        about = {"backend": self.backend.name, "settings": asdict(self.settings), "grid": self.grid}
        digest = hashlib.blake2b(json.dumps([about, frames.shape], sort_keys=True).encode(), digest_size=20)
        digest.update(frames.tobytes())
        return digest.hexdigest()


class HeatmapCache:
    """A maker that remembers; processes may share the folder, since every file appears whole."""

    def __init__(self, make: HeatmapMaker, folder: Path) -> None:
        self.make, self.folder = make, folder

    def __call__(self, frames: Frames) -> Heat:
        """m' of a clip, from disk where it is there; kept as float16."""
        key = self.make.key(frames)
        path = self.folder / key[:2] / f"{key[2:]}.npy"
        try:
            kept: Heat = np.load(path).astype(np.float32)
        except (OSError, ValueError):  # absent, or damaged: made again
            buffer = io.BytesIO()
            np.save(buffer, self.make(frames).astype(np.float16))
            write_bytes(path, buffer.getvalue())
            kept = np.load(io.BytesIO(buffer.getvalue())).astype(np.float32)
        return kept
