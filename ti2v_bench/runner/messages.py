"""What a worker in another process says, and how it works; the same for processes of one host and for Ray."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ti2v_bench.errors import TI2VError
from ti2v_bench.files import StorageError
from ti2v_bench.records import Job
from ti2v_bench.runner.jobs import JobQueue, Outcome
from ti2v_bench.runner.making import Maker, one_line

POISONED = 70
"""Exit status of a worker whose process can compute no more."""


@dataclass(frozen=True)
class Loaded:
    """The worker is ready."""

    batch: int
    """Jobs it takes at once."""


@dataclass(frozen=True)
class Done:
    """The worker can take more; what became of jobs that it had. Others of its jobs may still be being written."""

    outcomes: list[Outcome]
    batch: int
    """Jobs it takes at once from now on; less than before if memory ran out."""


@dataclass(frozen=True)
class Refusal:
    """The worker cannot go on."""

    text: str
    storage: bool
    """The store is at fault, so no other worker can go on either."""


Message = Loaded | Done | Refusal


def refusal(error: Exception) -> Refusal:
    """What `error` means to the parent."""
    return Refusal(str(error) if isinstance(error, TI2VError) else one_line(error), isinstance(error, StorageError))


def make_or_die(maker: Maker, jobs: Sequence[Job]) -> Done:
    """Make the jobs, or finish what is being written if there are none.

    After a CUDA error every later call of a process fails, so then a new one must take over.
    """
    outcomes = maker.make(jobs) if jobs else maker.finish()
    if any(outcome.status == "failed" and "CUDA error" in outcome.reason for outcome in outcomes):
        maker.finish()
        os._exit(POISONED)
    return Done(outcomes, maker.batch)


def next_jobs(in_hand: Sequence[Job], batch: int, queue: JobQueue, workers: int) -> list[Job] | None:
    """What to send an idle worker: jobs, an empty list to have it finish what it writes, or None for nothing.

    A job that a worker died with must be settled before the next one starts, or a later death would be blamed on it.
    """
    if any(queue.is_suspect(job) for job in in_hand):
        return []
    share = -(-queue.length // workers)
    jobs = queue.take(min(batch, max(1, share)))
    return jobs if jobs or in_hand else None


def still_open(in_hand: Sequence[Job], done: Done) -> list[Job]:
    """The jobs of a worker whose outcome is not yet known."""
    known = {outcome.job for outcome in done.outcomes}
    return [job for job in in_hand if job not in known]
