"""What a worker in another process says, and how it works; the same for processes of one host and for Ray."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ti2v_bench.errors import TI2VError
from ti2v_bench.files import StorageError
from ti2v_bench.records import Job
from ti2v_bench.runner.jobs import Outcome
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
    """What became of the jobs that the worker had."""

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
    """Make the jobs; but after a CUDA error every later call of a process fails, so then a new one must take over."""
    outcomes = maker.make(jobs)
    if any(outcome.status == "failed" and "CUDA error" in outcome.reason for outcome in outcomes):
        os._exit(POISONED)
    return Done(outcomes, maker.batch)
