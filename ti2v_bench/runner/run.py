"""The engine of `generate`: what is missing, who makes it, how far it is, what failed."""

import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from ti2v_bench.errors import TI2VError
from ti2v_bench.files import StorageError
from ti2v_bench.records import Job, Pair
from ti2v_bench.runner.jobs import Failure, JobQueue, Outcome, Request, RunError, RunReport, plan_jobs, video_name
from ti2v_bench.runner.making import Recipe, one_line
from ti2v_bench.runner.mixture import refuse_other_wishes
from ti2v_bench.runner.pool import run_pool
from ti2v_bench.runner.serial import run_serial
from ti2v_bench.store import Store, open_store

Executor = Callable[[Recipe, JobQueue], Generator[Outcome, None, None]]
"""Works a queue off with one model and yields final outcomes as they come; closing it stops its workers."""


def generate(
    pairs: Sequence[Pair],
    requests: Sequence[Request],
    out: Path | str,
    seeds: Sequence[int] = (0,),
    executor: Executor | None = None,
    shard: tuple[int, int] = (0, 1),
    show: bool = True,
) -> RunReport:
    """Make every missing video; run it again to resume.

    Args:
        pairs: the bench's pairs, or the part of them that is asked for.
        requests: the models; one after another.
        out: folder, or fsspec URL.
        seeds: one video per pair and seed.
        executor: who does the work; None: this process on one CPU, else one worker process per device.
        shard: (index, count): only every count-th job from index on; for arrays of independent machines.
        show: print a progress bar on standard error.

    Raises:
        RunError: a name that cannot be a folder, or is asked for twice.
        StorageError: the store is full or out of reach; what is finished stays.
    """
    _check_names(requests)
    store = open_store(out)
    made = present = 0
    failures: list[Failure] = []
    for request in requests:
        name = request.folder
        jobs = plan_jobs(name, pairs, seeds)[shard[0] :: shard[1]]
        store.tidy(name)
        missing = find_missing(store, name, jobs)
        devices = request.devices or (request.options.device,)
        recipe = Recipe(name, request.model, request.options, _plain_url(out), devices, request.grow)
        try:
            if missing:
                outcomes, fault = _work_off(recipe, missing, executor or _fitting(recipe), len(jobs), show)
            else:
                outcomes, fault = [], _other_wishes(request, store)
        finally:
            store.tidy(name)
        count = Counter(outcome.status for outcome in outcomes)
        made += count["made"]
        present += len(jobs) - len(missing) + count["present"]
        failures += [Failure(name, end.job, end.reason, end.trace) for end in outcomes if end.status == "failed"]
        failures += [fault] if fault else []
    return RunReport(made, present, tuple(failures))


def find_missing(store: Store, name: str, jobs: Sequence[Job]) -> list[Job]:
    """Those of a model's jobs that have no finished video yet."""
    finished = store.finished(name)
    return [job for job in jobs if video_name(job).removeprefix(f"{name}/") not in finished]


def _fitting(recipe: Recipe) -> Executor:
    """A worker process even for a single GPU: a crash in a driver or kernel then costs one try, not the run."""
    return run_serial if recipe.devices in (("cpu",), ("mps",)) else run_pool


def _work_off(
    recipe: Recipe, missing: list[Job], executor: Executor, total: int, show: bool
) -> tuple[list[Outcome], Failure | None]:
    """All final outcomes of one model's missing videos, and what stopped it before its end, if anything did."""
    outcomes: list[Outcome] = []
    queue = JobQueue(missing)
    with _bar(recipe.name, total, total - len(missing), show) as bar, closing(executor(recipe, queue)) as running:
        try:
            for outcome in running:
                outcomes.append(outcome)
                failed = sum(end.status == "failed" for end in outcomes)
                bar.set_postfix({"failed": failed} if failed else {}, refresh=False)
                bar.update()
        except StorageError:
            bar.leave = bool(outcomes)
            raise
        except Exception as error:  # a model that cannot be loaded must not stop the other models
            bar.leave = bool(outcomes)
            left = len(missing) - len(outcomes)
            reason = str(error) if isinstance(error, TI2VError) else one_line(error)
            trace = "".join(traceback.format_exception(error))
            return outcomes, Failure(
                recipe.name, None, f"{left} of {len(missing)} missing videos not made: {reason}", trace
            )
    return outcomes, None


def _other_wishes(request: Request, store: Store) -> Failure | None:
    """What keeps a finished folder from being what was asked for."""
    try:
        refuse_other_wishes(request.folder, request.options, store)
    except RunError as error:
        return Failure(request.folder, None, str(error))
    return None


def _bar(name: str, total: int, initial: int, show: bool) -> "tqdm[NoReturn]":
    """Counts all videos; rate and time left come from those of this run. Sparse lines where nobody watches."""
    watched = sys.stderr.isatty()
    return tqdm(
        desc=name,
        total=total,
        initial=initial,
        unit="video",
        disable=not show,
        mininterval=0.2 if watched else 30,
        delay=0 if watched else 1,
        dynamic_ncols=watched,
    )


def _check_names(requests: Sequence[Request]) -> None:
    names = [request.folder for request in requests]
    for name in names:
        if names.count(name) > 1:
            raise RunError(f"Model {name!r} is asked for {names.count(name)} times. Name it once.")
        if not re.fullmatch(r"[\w+-][\w.+-]*", name):
            raise RunError(
                f"{name!r} cannot be the name of a folder of videos. "
                "Give one with --as, of letters, digits, '-', '_', '.'."
            )


def _plain_url(out: Path | str) -> str:
    """The store in a form that means the same in another process."""
    return out if isinstance(out, str) and "://" in out else str(Path(out).resolve())
