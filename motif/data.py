"""Training samples by number: which clip, which frames, which text. The number alone decides, so a run can resume.

Published: 16 frames, "dynamic frame stride". Its range is not published; 1 to 4 is our choice. Windows start at one of
a few evenly spaced places, so that a clip has a finite number of windows and cached heatmaps are met again.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import av
import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from motif.clips import Clip, ClipsError
from motif.heatmaps import Heat
from ti2v_bench.model import Frames


@dataclass(frozen=True)
class SamplingSettings:
    """Which part of a clip is seen."""

    frames: int = 16
    height: int = 320
    width: int = 512
    strides: tuple[int, ...] = (1, 2, 3, 4)
    """Frames of the source between two of the sample; one is drawn. Our choice."""
    starts: int = 4
    """Places where a window may start, evenly spaced over what the clip allows. Our choice."""
    text_drop: float = 0.1
    image_drop: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Sample:
    """One training sample before encoding."""

    frames: Tensor
    """(F, 3, H, W) uint8."""
    caption: str
    """Empty where the text was dropped."""
    fps: int
    """Of the frames as sampled, at least 1."""
    heat: Tensor | None
    """(F, h, w) in [0, 1]; None where the training process makes it on its own device."""
    keep_image: bool
    broken: tuple[tuple[str, str], ...]
    """(name, reason) of clips that were passed over on the way to this one."""


class Samples(Dataset[Sample]):
    """Endless numbered samples: every pass goes through all clips once, in an order of its own.

    A clip that cannot be decoded is passed over for the next one, and named in the sample.
    """

    def __init__(
        self, clips: Sequence[Clip], settings: SamplingSettings, heat: Callable[[Frames], Heat] | None
    ) -> None:
        self.clips, self.settings, self.heat = clips, settings, heat
        self._order = (-1, np.zeros(0, np.int64))

    def __getitem__(self, number: int) -> Sample:
        """The sample of this number, 0 or more.

        Raises:
            ClipsError: no clip of the whole source can be decoded.
        """
        rng = np.random.default_rng([self.settings.seed, 1, number])
        turn, place = divmod(number, len(self.clips))
        if self._order[0] != turn:
            shuffled = np.random.default_rng([self.settings.seed, 0, turn]).permutation(len(self.clips))
            self._order = (turn, shuffled)
        order = self._order[1]
        broken = []
        for ahead in range(len(self.clips)):
            clip = self.clips[order[(place + ahead) % len(order)]]
            try:
                frames, fps = window(clip.data(), self.settings, rng)
            except (OSError, ValueError) as error:  # PyAV's errors are OSErrors or ValueErrors
                broken.append((clip.name, str(error)))
                continue
            return self._sample(clip, frames, fps, rng, tuple(broken))
        name, reason = broken[0]
        raise ClipsError(f"None of the {len(self.clips)} clips can be decoded; the first, {name}: {reason}")

    def _sample(
        self, clip: Clip, frames: Frames, fps: int, rng: np.random.Generator, broken: tuple[tuple[str, str], ...]
    ) -> Sample:
        settings = self.settings
        text, image = rng.random(2)
        return Sample(
            frames=torch.from_numpy(frames).permute(0, 3, 1, 2),
            caption="" if text < settings.text_drop else clip.caption,
            fps=fps,
            heat=torch.from_numpy(self.heat(frames)) if self.heat else None,
            keep_image=bool(image >= settings.image_drop),
            broken=broken,
        )


def window(data: bytes, settings: SamplingSettings, rng: np.random.Generator) -> tuple[Frames, int]:
    """A window of a video: frames (F, H, W, 3) uint8 at the training size, and their rate.

    The stride is drawn among those that fit; a clip too short for every stride is refused.

    Raises:
        ValueError: too short, or damaged.
        OSError: not a video.
    """
    with av.open(io.BytesIO(data), "r") as container:
        if not container.streams.video:
            raise ValueError("no video stream")
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 0)
        count = stream.frames or _counted(data)
        fitting = [s for s in settings.strides if (settings.frames - 1) * s < count]
        if not fitting or rate <= 0:
            raise ValueError(f"{count} frames at {rate:g} fps are too few for {settings.frames}")
        stride = int(rng.choice(fitting))
        room = count - 1 - (settings.frames - 1) * stride
        start = round(room * int(rng.integers(settings.starts)) / max(1, settings.starts - 1))
        wanted = range(start, start + settings.frames * stride, stride)
        found = [
            fitted(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), settings.height, settings.width)
            for index, frame in zip(range(wanted[-1] + 1), container.decode(stream), strict=False)
            if index in wanted
        ]
    if len(found) < settings.frames:
        raise ValueError(f"ends after {len(found)} of {settings.frames} frames")
    return np.stack(found), max(1, round(rate / stride))


def _counted(data: bytes) -> int:
    """Frames of a container that does not say how many it has."""
    with av.open(io.BytesIO(data), "r") as container:
        return sum(1 for _ in container.decode(video=0))


def fitted(frame: Frames, height: int, width: int) -> Frames:
    """The largest centred part of the right shape, brought to the size: (H, W, 3) uint8."""
    have_h, have_w = frame.shape[:2]
    scale = min(have_h / height, have_w / width)
    cut_h, cut_w = min(have_h, round(height * scale)), min(have_w, round(width * scale))
    top, left = (have_h - cut_h) // 2, (have_w - cut_w) // 2
    part = np.ascontiguousarray(frame[top : top + cut_h, left : left + cut_w])
    smaller = cut_h > height
    kind = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    resized: Frames = np.asarray(cv2.resize(part, (width, height), interpolation=kind), np.uint8)
    return resized
