"""Overlays of whole folders: what `motif heatmap` does."""

from collections.abc import Iterator
from pathlib import Path

import torch

from motif.clips import VIDEOS
from motif.heatmaps import HeatmapMaker
from motif.overlay import overlay
from ti2v_bench.errors import TI2VError
from ti2v_bench.motion.flow import FlowBackend
from ti2v_bench.motion.heatmap import HeatmapSettings, share
from ti2v_bench.video import read_video, write_video


def look(source: Path, out: Path, backend: FlowBackend, settings: HeatmapSettings, cell: int) -> Iterator[str]:
    """Write one overlay per video; yields one line per video, and one for all.

    Raises:
        TI2VError: there is no video.
        VideoError: a video cannot be read.
        FlowError: a video too short or too small for the backend.
    """
    paths = sorted(p for p in source.rglob("*") if p.suffix.lower() in VIDEOS) if source.is_dir() else [source]
    if not paths:
        raise TI2VError(f"{source} holds no video. Name a video, or a folder of {', '.join(VIDEOS)} files.")
    base = source if source.is_dir() else source.parent
    everything = []
    for path in paths:
        video = read_video(path)
        height, width = video.frames.shape[1:3]
        maker = HeatmapMaker(backend, settings, (max(1, height // cell), max(1, width // cell)))
        heat = maker(video.frames)
        target = out / path.relative_to(base).with_suffix(".mp4")
        write_video(target, overlay(video.frames, heat), video.fps)
        everything.append(torch.from_numpy(heat).flatten())
        found = share(everything[-1])
        yield f"{target}  hot {found.hot:.2%}  mean {found.mean:.4f}"
    found = share(torch.cat(everything))
    yield f"{len(paths)} videos  hot {found.hot:.2%}  mean {found.mean:.4f}"
