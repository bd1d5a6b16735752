"""Which files of a folder are videos of a bench's pairs, and the still of each pair that stands beside them."""

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from ti2v_bench.bench import Bench
from ti2v_bench.metrics.catalogue import MetricError
from ti2v_bench.metrics.clip import Clip, Picture
from ti2v_bench.motion.flow import FlowBackend
from ti2v_bench.pictures import open_picture
from ti2v_bench.records import Pair
from ti2v_bench.video import PresentationPolicy, fit_size, probe, read_video

STATIC = "static"


@dataclass(frozen=True)
class VideoFile:
    """One video to be measured."""

    model: str
    pair: Pair
    seed: int
    path: Path
    still: bool = False
    """Not the video itself but its pair's image, repeated at the video's size and length: the static control."""

    def digest(self) -> str:
        """SHA-256 of what is measured; for a still, of the image and the form it takes."""
        if not self.still:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        form = probe(self.path)
        text = f"still {image_digest(self.pair)} {form.frames} {form.height} {form.width} {form.fps}"
        return hashlib.sha256(text.encode()).hexdigest()

    def clip(self, flow_backend: FlowBackend | None) -> Clip:
        """Decode it.

        Raises:
            VideoError: the file cannot be decoded.
        """
        image = read_image(self.pair)
        if not self.still:
            video = read_video(self.path)
            return Clip(video.frames, video.fps, image, self.pair.prompt, flow_backend)
        form = probe(self.path)
        one = fit_size(image[None], PresentationPolicy(width=form.width, height=form.height))
        frames = np.repeat(one, form.frames, axis=0)
        return Clip(frames, Fraction(form.fps), image, self.pair.prompt, flow_backend)


def find_videos(root: Path, bench: Bench) -> tuple[list[VideoFile], list[Path]]:
    """All videos `<pair id>_<seed>.mp4` below `root`, and the mp4 files that match no pair.

    `root` holds one folder per model, or is itself the folder of one model. Hidden and partial files are left out.

    Raises:
        MetricError: no such folder, or no video in it.
    """
    if not root.is_dir():
        raise MetricError(f"There is no folder {root}. Give the folder with one folder of videos per model.")
    folders = [root] if any(root.glob("*.mp4")) else sorted(path for path in root.iterdir() if path.is_dir())
    pairs = {pair.id: pair for pair in bench.pairs}
    found, strange = [], []
    for folder in folders:
        for path in sorted(folder.glob("*.mp4")):
            if path.name.startswith(".") or ".partial" in path.name:
                continue
            name, _, seed = path.stem.rpartition("_")
            if name in pairs and seed.isdecimal():
                found.append(VideoFile(folder.resolve().name, pairs[name], int(seed), path))
            else:
                strange.append(path)
    if not found:
        raise MetricError(f"No video below {root} is named <pair id>_<seed>.mp4 after a pair of {bench.root}.")
    return found, strange


def with_stills(videos: list[VideoFile]) -> list[VideoFile]:
    """The videos, and before them the static control of each pair, unless a model of that name is there."""
    if any(video.model == STATIC for video in videos):
        return videos
    first: dict[str, VideoFile] = {}
    for video in videos:
        first.setdefault(video.pair.id, video)
    return [VideoFile(STATIC, video.pair, 0, video.path, still=True) for video in first.values()] + videos


def read_image(pair: Pair) -> Picture:
    """The pair's image, upright, (H, W, 3) uint8."""
    return np.array(open_picture(pair.image))


def image_digest(pair: Pair) -> str:
    """SHA-256 of the pair's image file."""
    return hashlib.sha256(pair.image.read_bytes()).hexdigest()
