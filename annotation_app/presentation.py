"""The files that annotators see, under names that say nothing: clips in one form, pictures in the same size."""

import hashlib
import io
import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from annotation_app.settings import StudyError
from ti2v_bench.files import write_bytes
from ti2v_bench.model import Frames
from ti2v_bench.pictures import read_picture
from ti2v_bench.records import Pair
from ti2v_bench.video import PresentationPolicy, VideoError, fit_size, present, write_video


@dataclass(frozen=True)
class Clip:
    """One clip in the media folder."""

    file: str
    millis: int
    source_sha256: str


def show_clip(source: Path, media: Path, policy: PresentationPolicy) -> Clip:
    """Bring one video into presentation form.

    Raises:
        VideoError: it cannot be read.
    """
    file = f"{secrets.token_hex(16)}.mp4"
    info = present(source, media / file, policy)
    return Clip(file, round(info.seconds * 1000), hashlib.sha256(source.read_bytes()).hexdigest())


def show_clips(
    sources: Iterable[Path], media: Path, policy: PresentationPolicy, workers: int
) -> Iterator[tuple[Path, Clip | VideoError]]:
    """Bring many videos into presentation form, in order; an unreadable one yields its error."""

    def one(source: Path) -> tuple[Path, Clip | VideoError]:
        try:
            return source, show_clip(source, media, policy)
        except VideoError as error:
            return source, error

    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        yield from pool.map(one, sources)


def still_clip(pair: Pair, media: Path, policy: PresentationPolicy) -> Clip:
    """The pair's picture held still, as a clip: the loser of a gold item."""
    with TemporaryDirectory() as folder:
        source = Path(folder) / "still.mp4"
        frames = np.repeat(_picture(pair.image, policy)[None], policy.frames, axis=0)
        write_video(source, frames, policy.fps)
        return show_clip(source, media, policy)


def show_picture(pair: Pair, media: Path, policy: PresentationPolicy) -> str:
    """Write the pair's picture in the size of the clips, without metadata; return its file name."""
    buffer = io.BytesIO()
    Image.fromarray(_picture(pair.image, policy)).save(buffer, "JPEG", quality=95, subsampling=0)
    file = f"{secrets.token_hex(16)}.jpg"
    write_bytes(media / file, buffer.getvalue())
    return file


def _picture(path: Path, policy: PresentationPolicy) -> Frames:
    try:
        pixels = read_picture(path)
    except OSError as error:
        raise StudyError(f"The picture {path} cannot be read: {error}. Run: ti2v-bench bench check") from error
    fitted: Frames = fit_size(pixels[None], policy)[0]
    return fitted
