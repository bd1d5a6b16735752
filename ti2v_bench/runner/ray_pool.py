"""Workers on the hosts of an existing Ray cluster, one per GPU; what `pool` does on one host, with the same queue.

Hosts need this package, the weights' cache, and the store: a URL, or a folder that all of them mount. Images travel
with the jobs. A host that joins gets workers, a host that dies gives its jobs back.
"""

import logging
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ti2v_bench.files import StorageError
from ti2v_bench.records import Job
from ti2v_bench.runner.devices import has_network
from ti2v_bench.runner.jobs import JobQueue, Outcome, RunError
from ti2v_bench.runner.making import Maker, Recipe
from ti2v_bench.runner.messages import Done, Loaded, Message, Refusal, make_or_die, next_jobs, refusal, still_open

_log = logging.getLogger(__name__)

_FRUITLESS_STARTS = 6
"""Workers that may die in a row before any has loaded the model."""

_LOOK_AROUND = 10.0
"""Seconds between looks at whether hosts have joined."""


@dataclass(frozen=True)
class Parcel:
    """A job with its image, for hosts that do not see the bench's folder."""

    job: Job
    image: bytes


class RayWorker:
    """The remote side: one loaded model. Construction does nothing, so that a failure to load can be told in words."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._maker: Maker | None = None
        self._homes: dict[Job, Job] = {}  # the job as this host sees it -> as the driver knows it
        self._folder = Path(tempfile.mkdtemp(prefix="ti2v-bench-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def load(self) -> Message:
        """Load the model; what `make` would say if that fails."""
        try:
            self._maker = Maker(self._recipe, overlap=True)
        except Exception as error:
            return refusal(error)
        return Loaded(self._maker.batch)

    def make(self, parcels: list[Parcel]) -> Message:
        """Make and publish videos; with no parcels, finish those that are being written."""
        assert self._maker is not None
        here = [replace(parcel.job, pair=replace(parcel.job.pair, image=self._image(parcel))) for parcel in parcels]
        self._homes.update(zip(here, (parcel.job for parcel in parcels), strict=True))
        try:
            done = make_or_die(self._maker, here)
        except Exception as error:
            return refusal(error)
        return Done([replace(outcome, job=self._homes.pop(outcome.job)) for outcome in done.outcomes], done.batch)

    def _image(self, parcel: Parcel) -> Path:
        """The image where the driver sees it, if this host sees it too; else a copy."""
        there = parcel.job.pair.image
        if there.is_file():
            return there
        copy = self._folder / there.name
        copy.write_bytes(parcel.image)
        return copy


@dataclass
class _Remote:
    """The driver's side of one worker."""

    actor: Any
    asked: Any
    """Reference of the answer that is awaited, or None."""
    batch: int = 0
    """0 until the model is loaded."""
    jobs: list[Job] = field(default_factory=list)


def run_ray(recipe: Recipe, queue: JobQueue) -> Generator[Outcome, None, None]:
    """Yield final outcomes until the queue is empty; closing it stops all workers.

    Raises:
        RunError: no cluster, no room in it, or no worker could load the model.
        StorageError: the store cannot be written.
    """
    ray = _connect()
    crew = _Crew(ray, recipe, queue)
    try:
        while queue.open:
            crew.fill()
            crew.feed()
            yield from crew.hear()
    finally:
        crew.stop()


class _Crew:
    """All remote workers of one run, and what they are doing."""

    def __init__(self, ray: Any, recipe: Recipe, queue: JobQueue) -> None:
        self._ray = ray
        self._gpus = _gpus_per_worker(recipe, ray.cluster_resources())
        device = "cuda" if self._gpus else "cpu"
        self._recipe = replace(recipe, options=replace(recipe.options, device=device))
        self._queue = queue
        self._workers: list[_Remote] = []
        self._fruitless = 0
        self._looked = float("-inf")
        self._places = 0

    def fill(self) -> None:
        """Start workers until every place in the cluster has one, or there are as many as jobs.

        Raises:
            RunError: the cluster has no place for even one.
        """
        if time.monotonic() - self._looked > _LOOK_AROUND:
            self._looked = time.monotonic()
            resources = self._ray.cluster_resources()
            self._places = int(resources.get("GPU" if self._gpus else "CPU", 0))
            if self._places < 1 and not self._workers:
                raise RunError(f"The Ray cluster has no {'GPU' if self._gpus else 'CPU'} for a worker. Add a node.")
        busy = sum(bool(worker.jobs) for worker in self._workers)
        while len(self._workers) < min(self._places, busy + self._queue.length):
            remote = self._ray.remote(RayWorker)
            actor = remote.options(num_gpus=self._gpus, num_cpus=1, max_restarts=0).remote(self._recipe)
            self._workers.append(_Remote(actor, actor.load.remote()))

    def feed(self) -> None:
        """Give jobs to idle workers."""
        for worker in self._workers:
            if worker.asked is None:
                jobs = next_jobs(worker.jobs, worker.batch, self._queue, len(self._workers))
                if jobs is not None:
                    worker.jobs += jobs
                    parcels = [Parcel(job, job.pair.image.read_bytes()) for job in jobs]
                    worker.asked = worker.actor.make.remote(parcels)

    def hear(self) -> list[Outcome]:
        """Wait for an answer, a death, or the time to look around; returns final outcomes."""
        awaited = [worker.asked for worker in self._workers if worker.asked is not None]
        seconds = min(_LOOK_AROUND, self._queue.seconds_to_next() or _LOOK_AROUND)
        if not awaited:
            time.sleep(min(seconds, 1.0))
            return []
        ready, _ = self._ray.wait(awaited, num_returns=1, timeout=seconds)
        return [outcome for reference in ready for outcome in self._answer(reference)]

    def _answer(self, reference: Any) -> list[Outcome]:
        worker = next(worker for worker in self._workers if worker.asked == reference)
        worker.asked = None
        try:
            message: Message = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return self._bury(worker, str(error))
        if isinstance(message, Loaded):
            worker.batch, self._fruitless = message.batch, 0
            return []
        if isinstance(message, Done):
            worker.batch, worker.jobs = message.batch, still_open(worker.jobs, message)
            return self._queue.settle(message.outcomes)
        return self._refused(worker, message)

    def _bury(self, worker: _Remote, reason: str) -> list[Outcome]:
        """A worker's host is no fault of its jobs; its process may be."""
        self._workers.remove(worker)
        self._ray.kill(worker.actor)  # it may only be out of reach for a while
        self._looked = float("-inf")  # the cluster may have shrunk
        line = " ".join(reason.split())
        if not worker.batch:
            self._fruitless += 1
            if self._fruitless >= _FRUITLESS_STARTS:
                raise RunError(f"{self._fruitless} Ray workers died before the model was loaded ({line[:200]})")
        if "node has died" in line or "unavailable" in line:
            _log.warning("A Ray node is gone; its jobs go to others.")
            self._queue.give_back(worker.jobs)
            return []
        return self._queue.lost(worker.jobs, line[:200])

    def _refused(self, worker: _Remote, message: Refusal) -> list[Outcome]:
        if message.storage:
            raise StorageError(message.text)
        if not worker.batch:
            raise RunError(message.text)
        self._workers.remove(worker)
        self._ray.kill(worker.actor)
        return self._queue.lost(worker.jobs, message.text)

    def stop(self) -> None:
        """End all workers; what they have published stays."""
        for worker in self._workers:
            self._ray.kill(worker.actor)


def _gpus_per_worker(recipe: Recipe, resources: Mapping[str, float]) -> int:
    asked = recipe.devices[0]
    if asked == "auto":
        return int(has_network(recipe.model) and resources.get("GPU", 0) >= 1)
    return int(asked.startswith("cuda"))


def _connect() -> Any:
    try:
        import ray
    except ImportError as error:
        raise RunError("The executor 'ray' needs Ray: pip install 'ti2v-bench[ray]'.") from error
    if not ray.is_initialized():
        try:
            ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), log_to_driver=False, logging_level=logging.WARNING)
        except (ConnectionError, ValueError) as error:
            raise RunError(
                "No Ray cluster was found. Start one with `ray start --head`, or set RAY_ADDRESS to the one you have."
            ) from error
    return ray
