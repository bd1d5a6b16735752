"""What a run is asked for, what became of each job, and the queue in between. Data and bookkeeping only."""

import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ti2v_bench.errors import TI2VError
from ti2v_bench.model import ModelOptions
from ti2v_bench.records import Job, Pair

_log = logging.getLogger(__name__)


class RunError(TI2VError):
    """A run cannot begin, or a model of it cannot."""


@dataclass(frozen=True)
class Request:
    """One model of a run."""

    model: str
    """Registered name, or `package.module:Class`."""
    options: ModelOptions = field(default_factory=ModelOptions)
    name: str = ""
    """Folder its videos go to and name they are known by; empty: `model` itself."""
    devices: tuple[str, ...] = ()
    """One worker each; empty: one worker on `options.device`."""
    grow: bool = False
    """Begin with one pair per call, then take as many as fit in memory, up to `options.batch`."""

    @property
    def folder(self) -> str:
        """The name its videos go by."""
        return self.name or self.model


@dataclass(frozen=True)
class Outcome:
    """What became of one job in one attempt."""

    job: Job
    status: Literal["made", "present", "taken", "failed"]
    """`present`: another run had finished it; `taken`: another run is making it now."""
    reason: str = ""
    """One line, for `failed`."""
    trace: str = ""
    """The traceback, for `failed`."""


@dataclass(frozen=True)
class Failure:
    """One video, or with `job` None a whole model, that a run could not make."""

    model: str
    job: Job | None
    reason: str
    trace: str = ""

    def __str__(self) -> str:
        what = self.model if self.job is None else f"{self.model}/{self.job.pair.id}_{self.job.seed}"
        return f"{what}: {self.reason}"


@dataclass(frozen=True)
class RunReport:
    """The end of a run."""

    made: int
    present: int
    """Videos that were there before, or that another run made meanwhile."""
    failures: tuple[Failure, ...]


def plan_jobs(name: str, pairs: Iterable[Pair], seeds: Sequence[int]) -> list[Job]:
    """Every video a model shall have: seed by seed, pairs in the bench's order."""
    pairs = list(pairs)
    return [Job(name, pair, seed) for seed in dict.fromkeys(seeds) for pair in pairs]


def video_name(job: Job) -> str:
    """The job's video as stores name it: `<model>/<pair_id>_<seed>.mp4`."""
    return f"{job.model}/{job.pair.id}_{job.seed}.mp4"


class JobQueue:
    """Jobs that wait, jobs in work, and the rules for trying again."""

    deaths = 2
    """A job whose worker died this often fails; it is tried alone after the first death."""

    def __init__(self, jobs: Iterable[Job], pause: float = 1.0) -> None:
        self._waiting = deque(jobs)
        self._later: deque[tuple[float, Job]] = deque()
        self._working: set[Job] = set()
        self._deaths: dict[Job, int] = {}
        self._told = False
        self._pause = pause

    @property
    def open(self) -> bool:
        """Whether anything waits or is in work."""
        return bool(self.length or self._working)

    @property
    def length(self) -> int:
        """How many jobs wait, now or later."""
        return len(self._waiting) + len(self._later)

    def take(self, most: int) -> list[Job]:
        """Up to `most` jobs to work on now; none while all that is left is in other hands."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._waiting.append(self._later.popleft()[1])
        taken: list[Job] = []
        while self._waiting and len(taken) < most:
            alone = self._waiting[0] in self._deaths
            if alone and taken:
                break
            taken.append(self._waiting.popleft())
            if alone:
                break
        self._working.update(taken)
        if not taken and self._later and not self._told:
            self._told = True
            _log.warning(
                "Another run is making the last %d videos; waiting until it is done or dead.", len(self._later)
            )
        return taken

    def seconds_to_next(self) -> float:
        """How long until `take` can give something, if nothing else happens."""
        if self._waiting or not self._later:
            return 0.0 if self._waiting else self._pause
        return max(0.0, self._later[0][0] - time.monotonic())

    def settle(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """Book what came of jobs; returns the final ones. Jobs in other hands are looked at again later.

        A video that is there when its job is tried again was published by the worker that died, before it could say so.
        """
        final = []
        for outcome in outcomes:
            self._working.discard(outcome.job)
            if outcome.status == "taken":
                self._later.append((time.monotonic() + self._pause, outcome.job))
            elif outcome.status == "present" and self.is_suspect(outcome.job):
                final.append(replace(outcome, status="made"))
            else:
                final.append(outcome)
        return final

    def is_suspect(self, job: Job) -> bool:
        """Whether a worker died with this job; such a job works alone."""
        return job in self._deaths

    def give_back(self, jobs: Iterable[Job]) -> None:
        """Book jobs whose worker went away through no fault of theirs; they wait for another one."""
        for job in jobs:
            self._working.discard(job)
            self._waiting.append(job)

    def lost(self, jobs: Iterable[Job], reason: str) -> list[Outcome]:
        """Book jobs whose worker died; returns those that are given up, the others wait for another worker."""
        given_up = []
        for job in jobs:
            self._working.discard(job)
            self._deaths[job] = self._deaths.get(job, 0) + 1
            if self._deaths[job] >= self.deaths:
                given_up.append(Outcome(job, "failed", f"its worker died {self.deaths} times ({reason})"))
            else:
                self._waiting.append(job)
        return given_up
