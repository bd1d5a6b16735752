"""One worker's work: a loaded model turns jobs into published videos, whatever goes wrong with single ones."""

import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from ti2v_bench.files import StorageError
from ti2v_bench.model import BatchModel, Frames, Model, ModelOptions
from ti2v_bench.provenance import Making, generated, said_by
from ti2v_bench.records import Job
from ti2v_bench.registry import load_model
from ti2v_bench.runner.jobs import Outcome, RunError, video_name
from ti2v_bench.runner.memory import fitting_batch, measured, watch_peak
from ti2v_bench.runner.mixture import refuse_mixture
from ti2v_bench.store import Claim, Store, open_store
from ti2v_bench.video import VideoError, encode_video

_WRITERS = 4
"""Threads that encode and publish; x264 itself runs on one thread per video."""


@dataclass(frozen=True)
class Recipe:
    """All a worker needs to know, in a form that travels to another process or host."""

    name: str
    """Folder of the model's videos."""
    model: str
    """Registered name, or `package.module:Class`."""
    options: ModelOptions
    out: str
    """Folder or URL of the store."""
    devices: tuple[str, ...]
    """One worker each."""
    grow: bool = False
    """Begin with one pair per call, then take as many as fit in memory."""


class Maker:
    """Holds a loaded model and makes videos with it.

    With `overlap`, a call's videos are encoded and published by threads while the next call computes; their outcomes
    come with a later call, or from `finish`.

    Raises:
        TI2VError: the model cannot be loaded, or its folder holds videos made with other settings.
    """

    def __init__(self, recipe: Recipe, overlap: bool = False) -> None:
        self.store: Store = open_store(recipe.out)
        self.model: Model = load_model(recipe.model, recipe.options)
        if not getattr(self.model, "fps", None):
            raise RunError(f"Model {recipe.name!r} has no `fps`. Give the class an attribute fps, e.g. fps = 8.")
        self._fast = recipe.options.fast
        self._most = max(1, self.model.batch) if isinstance(self.model, BatchModel) else 1
        self._grow = recipe.grow
        self.batch = 1 if recipe.grow else self._most
        """Pairs per call; shrinks when memory runs out."""
        watch_peak()
        self._writers = ThreadPoolExecutor(_WRITERS) if overlap else None
        self._writing: list[Future[Outcome]] = []
        refuse_mixture(self.model, recipe.name, recipe.options, self.store)

    def make(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Make and publish the videos of `jobs`; returns outcomes, one per job unless they overlap.

        Raises:
            StorageError: the store is full or out of reach, so that going on makes no sense.
        """
        outcomes: list[Outcome] = []
        held: list[tuple[Job, Claim]] = []
        try:
            for job in jobs:
                claim = self.store.claim(video_name(job))
                if claim is None:
                    outcomes.append(Outcome(job, "taken"))
                elif self.store.exists(video_name(job)):
                    claim.release()
                    outcomes.append(Outcome(job, "present"))
                else:
                    held.append((job, claim))
            while held:
                part = held[: self.batch]
                outcomes += self._make_part([job for job, _ in part], dict(part))
                del held[: len(part)]
        finally:
            for _, claim in held:
                claim.release()
        return outcomes

    @property
    def writing(self) -> bool:
        """Whether outcomes are still to come."""
        return bool(self._writing)

    def finish(self) -> list[Outcome]:
        """Wait until all videos are published; their outcomes.

        Raises:
            StorageError: as `make`.
        """
        done, self._writing = self._writing, []
        return [future.result() for future in done]

    def _make_part(self, jobs: list[Job], claims: dict[Job, Claim]) -> list[Outcome]:
        """At most `batch` jobs; a call that fails is broken up until only the culprit fails."""
        started = time.perf_counter()
        try:
            pictures = self._pictures(jobs)
        except Exception as error:  # one bad pair must not stop the others
            if len(jobs) == 1:
                claims[jobs[0]].release()
                return [_failed(jobs[0], error)]
            half = len(jobs) // 2
            if _is_out_of_memory(error):
                self.batch = max(1, half)
                error.__traceback__ = None  # its frames hold the tensors that did not fit
                _free_memory()
            return self._make_part(jobs[:half], claims) + self._make_part(jobs[half:], claims)
        seconds = (time.perf_counter() - started) / len(jobs)
        if self._grow:
            self._grow, self.batch = False, fitting_batch(measured(), self._most)
        said = said_by(self.model)
        parts = [
            _Made(job, claims[job], made, seconds, len(jobs), said) for job, made in zip(jobs, pictures, strict=True)
        ]
        if self._writers is None:
            return [self._publish(part) for part in parts]
        before = self.finish()  # never more than one call's frames in memory
        self._writing = [self._writers.submit(self._publish, replace(p, frames=_copied(p.frames))) for p in parts]
        return before

    def _pictures(self, jobs: list[Job]) -> list[object]:
        # What is compiled is compiled for one batch size: a smaller portion is filled up, which costs less.
        asked = jobs + jobs[-1:] * (self.batch - len(jobs)) if self._fast else jobs
        if len(asked) == 1:
            return [self.model.generate(jobs[0].pair, jobs[0].seed)]
        assert isinstance(self.model, BatchModel)
        made = list(self.model.generate_batch([job.pair for job in asked], [job.seed for job in asked]))
        if len(made) != len(asked):
            raise VideoError(f"Model {jobs[0].model!r} returned {len(made)} videos for {len(asked)} pairs.")
        return list(made[: len(jobs)])

    def _publish(self, made: "_Made") -> Outcome:
        """Encode and write one video; gives its claim back."""
        job = made.job
        try:
            frames = as_frames(made.frames, job.model)
            started = time.perf_counter()
            video = encode_video(frames, self.model.fps)
            stages = {"generate": made.seconds, "encode": time.perf_counter() - started}
            making = Making(stages, made.batch, self._fast)
            sidecar = generated(job, frames, self.model.fps, video, made.said, making)
            self.store.publish(video_name(job), video, sidecar)
        except StorageError:
            raise
        except Exception as error:  # frames of another form; one bad pair must not stop the others
            return _failed(job, error)
        finally:
            made.claim.release()
        return Outcome(job, "made")


@dataclass(frozen=True)
class _Made:
    """What a model returned for one job, on its way to the store."""

    job: Job
    claim: Claim
    frames: object
    seconds: float
    batch: int
    said: dict[str, object]


def _copied(frames: object) -> object:
    """A model may use its buffer again while this one's frames are written."""
    return frames.copy() if isinstance(frames, np.ndarray) else frames


def as_frames(value: object, model: str) -> Frames:
    """What a model returned as (F, H, W, 3) uint8: an array, a tensor, or a list of frames.

    Raises:
        VideoError: it is something else; names the model, the dtype and the shape.
    """
    shape = tuple(getattr(value, "shape", ()))
    kind = f"{type(value).__module__}.{type(value).__name__}"
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors on another device or with gradients
        raise VideoError(
            f"Model {model!r} returned a {kind} {shape} that numpy cannot read ({str(error).splitlines()[0]}). "
            "Return uint8 frames (F, H, W, 3) on the CPU."
        ) from error
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] != 3:
        raise VideoError(
            f"Model {model!r} returned {array.dtype} of shape {array.shape}; expected uint8 of shape (F, H, W, 3)."
        )
    return np.ascontiguousarray(array)


def one_line(error: BaseException) -> str:
    """`Kind: message`, cut to one line of readable length."""
    text = " ".join(str(error).split())
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return line if len(line) <= 300 else line[:299] + "…"


def _failed(job: Job, error: Exception) -> Outcome:
    return Outcome(job, "failed", one_line(error), "".join(traceback.format_exception(error)))


def _is_out_of_memory(error: Exception) -> bool:
    """Torch's own kind, Python's, and the libraries' that only say so."""
    return (
        isinstance(error, MemoryError)
        or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
        or (isinstance(error, RuntimeError) and "out of memory" in str(error).lower())
    )


def _free_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
