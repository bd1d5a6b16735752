"""Videos in and out, and the one form in which annotators see them.

All files are H.264 yuv420p in mp4 with `moov` first. The same frames give the same bytes on every machine that has the
same PyAV, since one thread encodes and no encoder name, date or option text is written.
"""

import io
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from PIL import Image

from ti2v_bench.errors import TI2VError
from ti2v_bench.files import write_bytes
from ti2v_bench.model import Frames
from ti2v_bench.presentation import PUBLISHED_FORM
from ti2v_bench.presentation import PresentationPolicy as PresentationPolicy

_NO_SEI = "filter_units=remove_types=6"
"""Drops H.264 SEI units (type 6), where x264 writes its name and options; they never touch the picture."""

_PLAIN = {"flags": "+bitexact", "preset": "medium", "x264-params": "mbtree=0"}
"""x264's macroblock tree reads memory that nothing has written, so with it the bytes follow what the process did
before (seen under glibc's MALLOC_PERTURB_); without it they follow the frames alone."""
_ALIKE = {**_PLAIN, "bf": "0", "sc_threshold": "0", "level": "3.1"}
"""Presentation: no B-frames and no extra key frames, so that tables and atoms do not follow the content."""


class VideoError(TI2VError):
    """A file is no video that we can read, or frames are none that we can write."""


@dataclass(frozen=True)
class Video:
    """Decoded pictures and their rate."""

    frames: Frames
    """(F, H, W, 3) uint8 RGB."""
    fps: Fraction
    """Frames per second."""


@dataclass(frozen=True)
class VideoInfo:
    """What a file's header says."""

    width: int
    height: int
    frames: int
    """Number of frames the container declares; 0 where it does not say."""
    fps: Fraction
    codec: str
    profile: str
    pixel_format: str
    audio: bool
    bytes: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return float(self.frames / self.fps)


def write_video(path: Path, frames: Frames, fps: int | Fraction, crf: int = 10) -> None:
    """Write frames as H.264 mp4, whole or not at all.

    Args:
        path: where to; folders are made.
        frames: (F, H, W, 3) uint8 RGB, F at least 1, H and W even.
        fps: frames per second, exact.
        crf: x264's constant rate factor, 0 (best) to 51.

    Raises:
        VideoError: frames of another form.
        StorageError: the file could not be written.
    """
    write_bytes(path, encode_video(frames, fps, crf))


def encode_video(frames: Frames, fps: int | Fraction, crf: int = 10) -> bytes:
    """The bytes that `write_video` writes."""
    return _encode(frames, Fraction(fps), {**_PLAIN, "crf": str(crf)})


def read_video(path: Path) -> Video:
    """Decode all frames of a file's first video stream.

    Raises:
        VideoError: missing, empty, no video stream, damaged, or fewer frames than the header declares.
    """
    with _opened(path) as (container, stream):
        # Threads by default are as many as cores, for the stream and anew for every frame: dearer than small pictures.
        stream.codec_context.thread_count = 1
        to_rgb = VideoReformatter()
        frames = [to_rgb.reformat(frame, format="rgb24", threads=1).to_ndarray() for frame in container.decode(stream)]
        declared, fps = stream.frames, _rate(stream, path)
    if not frames:
        raise VideoError(f"{path} holds no frame. Make or copy it again.")
    if declared and len(frames) != declared:
        raise VideoError(f"{path} holds {len(frames)} of its {declared} frames: it is cut off. Make or copy it again.")
    return Video(np.stack(frames), fps)


def probe(path: Path) -> VideoInfo:
    """Read the header only; says nothing about whether the frames can be decoded.

    Raises:
        VideoError: missing, empty, not a video, or without a video stream.
    """
    with _opened(path) as (container, stream):
        context = stream.codec_context
        return VideoInfo(
            width=context.width,
            height=context.height,
            frames=stream.frames,
            fps=_rate(stream, path),
            codec=context.name,
            profile=context.profile or "",
            pixel_format=context.pix_fmt or "",
            audio=bool(container.streams.audio),
            bytes=path.stat().st_size,
        )


def present(source: Path, target: Path, policy: PresentationPolicy = PUBLISHED_FORM) -> VideoInfo:
    """Write `source` in the form of `policy` to `target`, so that only the picture tells sources apart.

    Profile, level, atoms, time base and track tables are the same for every source; no name, date, encoder text or
    audio is left.

    Raises:
        VideoError: the source cannot be read, or the policy asks for an odd size or no frames.
        StorageError: the target could not be written.
    """
    video = read_video(source)
    frames = fit_size(resample(video, policy), policy)
    write_bytes(target, _filled(_encode(frames, policy.fps, {**_ALIKE, "crf": str(policy.crf)}), policy.size_step))
    return probe(target)


def resample(video: Video, policy: PresentationPolicy) -> Frames:
    """Pick `policy.frames` of the video's frames, (F, H, W, 3) uint8; the first is always the first.

    Raises:
        VideoError: the policy asks for less than one frame.
    """
    if policy.frames < 1 or policy.fps <= 0:
        raise VideoError(f"A presentation of {policy.frames} frames at {policy.fps} fps cannot be shown. Ask for more.")
    have, want = len(video.frames), policy.frames
    if policy.timing == "whole":
        # Rounding half up keeps the spacing regular; numpy's round goes to even.
        picks = np.floor(np.arange(want) * (have - 1) / max(want - 1, 1) + 0.5).astype(int)
    else:
        picks = np.minimum([int(k * video.fps / policy.fps) for k in range(want)], have - 1)
    chosen: Frames = video.frames[picks]
    return chosen


def fit_size(frames: Frames, policy: PresentationPolicy) -> Frames:
    """Bring frames to the policy's height and width by scaling (Lanczos) and centred cropping or padding."""
    height, width = frames.shape[1:3]
    if (height, width) == (policy.height, policy.width):
        return frames
    ratios = (policy.height / height, policy.width / width)
    scale = max(ratios) if policy.fit == "crop" else min(ratios)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.stack([_placed(frame, inner, (policy.width, policy.height)) for frame in frames])


def _placed(frame: Frames, inner: tuple[int, int], outer: tuple[int, int]) -> Frames:
    canvas = Image.new("RGB", outer)
    scaled = Image.fromarray(frame).resize(inner, Image.Resampling.LANCZOS)
    canvas.paste(scaled, ((outer[0] - inner[0]) // 2, (outer[1] - inner[1]) // 2))
    return np.asarray(canvas)


def _encode(frames: Frames, fps: Fraction, options: Mapping[str, str]) -> bytes:
    _check(frames, fps)
    buffer = io.BytesIO()
    with av.open(
        buffer,
        "w",
        format="mp4",
        options={"movflags": "+faststart", "fflags": "+bitexact"},
        io_open=lambda *_: io.BytesIO(buffer.getvalue()),  # faststart reads the file back once to move `moov`
    ) as out:
        stream = out.add_stream("libx264", rate=fps, options=dict(options))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 250
        stream.codec_context.thread_count = 1  # the bytes follow the thread count
        without_sei: BitStreamFilterContext | None = None
        for frame in [*frames, None]:
            packets = stream.encode(None if frame is None else av.VideoFrame.from_ndarray(frame, format="rgb24"))
            if without_sei is None:  # needs the codec parameters, which exist after the first call of encode
                without_sei = BitStreamFilterContext(_NO_SEI, stream)
            for packet in packets:
                for clean in without_sei.filter(packet):
                    clean.stream = stream
                    out.mux(clean)
    return buffer.getvalue()


def _check(frames: Frames, fps: Fraction) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise VideoError(f"Frames must be uint8 of shape (F, H, W, 3), but are {frames.dtype} of shape {frames.shape}.")
    count, height, width, _ = frames.shape
    if count < 1:
        raise VideoError("A video needs at least one frame, but there are 0.")
    if height < 2 or width < 2 or height % 2 or width % 2:
        raise VideoError(
            f"H.264 yuv420p needs an even width and height, but frames are {width}x{height}. Crop or resize them."
        )
    if fps <= 0:
        raise VideoError(f"A video needs a positive frame rate, but fps is {fps}.")


def _filled(data: bytes, step: int) -> bytes:
    """Append a `free` box so that the length becomes a multiple of `step`."""
    if step <= 0:
        return data
    missing = -len(data) % step
    if 0 < missing < 8:  # a box has at least its 8-byte head
        missing += step
    return data + struct.pack(">I4s", missing, b"free").ljust(missing, b"\0") if missing else data


@contextmanager
def _opened(path: Path) -> "Iterator[tuple[av.container.InputContainer, VideoStream]]":
    if not path.is_file():
        raise VideoError(f"There is no video {path}. Check the name.")
    if path.stat().st_size == 0:
        raise VideoError(f"{path} is empty (0 bytes). Make or copy it again.")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError(f"{path} has no video stream. Is it a sound or subtitle file?")
            yield container, container.streams.video[0]
    except av.error.FFmpegError as error:
        raise VideoError(
            f"{path} cannot be decoded ({error.strerror}): damaged or no video. Make or copy it again."
        ) from error


def _rate(stream: VideoStream, path: Path) -> Fraction:
    rate = stream.average_rate or stream.guessed_rate
    if not rate:
        raise VideoError(f"{path} does not say its frame rate. Write it again as mp4.")
    return Fraction(rate)
