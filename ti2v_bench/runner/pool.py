"""One worker process per device. Idle workers get the next jobs; a dead one is replaced and its jobs tried again.

A worker sees only its own GPU (as `cuda`), holds one loaded model, and publishes what it makes itself; over the pipe go
jobs one way and outcomes the other.
"""

import logging
import multiprocessing
import os
import signal
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from ti2v_bench.files import StorageError
from ti2v_bench.records import Job
from ti2v_bench.runner.devices import visible_gpu
from ti2v_bench.runner.jobs import JobQueue, Outcome, RunError
from ti2v_bench.runner.making import Maker, Recipe
from ti2v_bench.runner.messages import Done, Loaded, Message, make_or_die, next_jobs, refusal, still_open

_log = logging.getLogger(__name__)

_FRUITLESS_STARTS = 3
"""A worker that dies so often while it loads the model is not replaced again."""


@dataclass
class _Worker:
    """The parent's side of one worker process."""

    device: str
    process: BaseProcess
    pipe: "Connection[list[Job] | None, Message]"
    starts: int
    """Starts on this device, this one included, since the model was last loaded there."""
    batch: int = 0
    """0 until the model is loaded."""
    busy: bool = True
    """It computes, or loads; otherwise it can take jobs, though videos of earlier ones may still be being written."""
    jobs: list[Job] = field(default_factory=list)
    """Given to it, outcome not yet known."""


def run_pool(recipe: Recipe, queue: JobQueue) -> Generator[Outcome, None, None]:
    """Yield final outcomes until the queue is empty; closing it stops all workers.

    Raises:
        RunError: no worker could load the model.
        StorageError: the store cannot be written.
    """
    workers = [_start(recipe, device, starts=1) for device in recipe.devices]
    try:
        while queue.open:
            for worker in workers:
                _feed(worker, queue, len(workers))
            idle = any(not worker.busy for worker in workers)
            seconds = queue.seconds_to_next() if idle and queue.length else None
            for pipe in wait([worker.pipe for worker in workers], seconds):
                worker = next(worker for worker in workers if worker.pipe is pipe)
                try:
                    message = worker.pipe.recv()
                except (EOFError, OSError):
                    yield from _bury(worker, workers, recipe, queue)
                else:
                    yield from _hear(worker, workers, queue, message)
    finally:
        for worker in workers:
            _stop(worker)


def _start(recipe: Recipe, device: str, starts: int) -> _Worker:
    context = multiprocessing.get_context("spawn")  # a fork would share CUDA's state and the parent's locks
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(recipe, device, theirs), daemon=True, name=f"worker {device}")
    process.start()
    theirs.close()  # so that a dead worker reads as the end of the pipe
    return _Worker(device, process, ours, starts)


def _feed(worker: _Worker, queue: JobQueue, workers: int) -> None:
    """Near the end of the queue, smaller portions, so that no worker idles while another has a full batch before it."""
    if worker.busy:
        return
    jobs = next_jobs(worker.jobs, worker.batch, queue, workers)
    if jobs is not None:
        worker.jobs += jobs
        worker.busy = True
        with suppress(OSError):  # it has just died; the end of its pipe will be read next
            worker.pipe.send(jobs)


def _hear(worker: _Worker, workers: list[_Worker], queue: JobQueue, message: Message) -> list[Outcome]:
    if isinstance(message, Loaded):
        worker.batch, worker.busy = message.batch, False
        return []
    if isinstance(message, Done):
        worker.batch, worker.busy = message.batch, False
        worker.jobs = still_open(worker.jobs, message)
        return queue.settle(message.outcomes)
    if message.storage:
        raise StorageError(message.text)
    given_up = queue.lost(worker.jobs, message.text)
    worker.jobs = []
    _drop(worker, workers, message.text)
    return given_up


def _bury(worker: _Worker, workers: list[_Worker], recipe: Recipe, queue: JobQueue) -> list[Outcome]:
    """Replace a dead worker, unless it keeps dying before it has done anything; its jobs go back or are given up."""
    worker.process.join()
    reason = _cause(worker.process.exitcode)
    given_up = queue.lost(worker.jobs, reason)
    worker.jobs = []
    if worker.starts >= _FRUITLESS_STARTS and not worker.batch:
        _drop(worker, workers, f"its process died {worker.starts} times before the model was loaded ({reason})")
    else:
        # A death after loading is the jobs' affair, which the queue counts; only earlier ones speak against a start.
        workers[workers.index(worker)] = _start(recipe, worker.device, 1 if worker.batch else worker.starts + 1)
        worker.pipe.close()
    return given_up


def _drop(worker: _Worker, workers: list[_Worker], reason: str) -> None:
    """Go on without this worker.

    Raises:
        RunError: it was the last one.
    """
    workers.remove(worker)
    _stop(worker)
    if not workers:
        raise RunError(reason)
    _log.warning("The worker on %s is left out, the others go on: %s", worker.device, reason)


def _stop(worker: _Worker) -> None:
    """An idle worker ends by itself; a busy one is terminated, which its claims and files survive without harm."""
    with suppress(OSError):
        worker.pipe.send(None)
    worker.pipe.close()
    if worker.jobs or not worker.batch:
        worker.process.terminate()
    worker.process.join(10)
    if worker.process.exitcode is None:
        worker.process.kill()
        worker.process.join()


def _cause(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit status {code}"
    name = signal.Signals(-code).name
    return f"{name}: host memory may be full" if name == "SIGKILL" else name


def _work(recipe: Recipe, device: str, pipe: "Connection[Message, list[Job] | None]") -> None:
    """The worker's side: load, then make what comes until None or the end of the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        maker = Maker(_on_device(recipe, device), overlap=True)
        pipe.send(Loaded(maker.batch))
        while (jobs := pipe.recv()) is not None:
            pipe.send(make_or_die(maker, jobs))
    except (EOFError, BrokenPipeError):
        return  # the parent is gone
    except Exception as error:
        pipe.send(refusal(error))


def _on_device(recipe: Recipe, device: str) -> Recipe:
    """Hide all GPUs but one from this process, before torch is imported; share the cores among CPU workers."""
    gpu = visible_gpu(device)
    if gpu is None:
        cores = max(1, (os.cpu_count() or 1) // len(recipe.devices))
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))
        return replace(recipe, options=replace(recipe.options, device=device))
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    return replace(recipe, options=replace(recipe.options, device="cuda"))
