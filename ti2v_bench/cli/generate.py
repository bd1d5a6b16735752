"""`generate`: make every missing video."""

import re
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from ti2v_bench.errors import TI2VError

if TYPE_CHECKING:
    from ti2v_bench.records import Pair
    from ti2v_bench.runner import Executor, Request, RunReport

_MOST_AT_ONCE = 16
"""Pairs per call that `--batch auto` takes at most; beyond a few, a batch gains little."""


@click.command()
@click.option("--bench", "bench", type=click.Path(path_type=Path), required=True, help="Folder of the bench.")
@click.option("--model", "models", multiple=True, required=True, help='Name, or "package.module:Class"; repeatable.')
@click.option("--out", required=True, help="Folder or URL (s3://…, hf://…) for <model>/<pair_id>_<seed>.mp4.")
@click.option("--seed", "seeds", type=click.IntRange(min=0), multiple=True, default=(0,), help="Repeatable.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many pairs of the bench.  [default: all]")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1, or several: cuda:0,cuda:1.")
@click.option("--batch", default="1", metavar="N|auto", help="Pairs per call, for models that can; auto: what fits.")
@click.option("--fast/--exact", default=False, help="fast: compiled, same mathematics, other rounding.")
@click.option(
    "--compile-cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keeps what --fast compiled.  [default: the user's cache folder]",
)
@click.option("--weights", help="File, folder, random-tiny or random-full.  [default: the published ones]")
@click.option("--precision", type=click.Choice(["float32", "float16", "bfloat16"]), help="[default: the official one]")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Change a setting of the model; repeatable."
)
@click.option("--as", "name", help="Name the videos go by, for one model.  [default: the model's name]")
@click.option("--shard", default="0/1", metavar="I/N", help="Only every N-th video from the I-th on; I counts from 0.")
@click.option("--executor", type=click.Choice(["local", "ray"]), default="local", help="ray: all of a Ray cluster.")
@click.option(
    "--plan",
    is_flag=False,
    flag_value="here",
    metavar="[GPU]",
    help="Make nothing; print GPU-hours, memory and disk per model, on this machine's GPU or on the one named.",
)
@click.option("--price", type=click.FloatRange(min=0), help="Money per GPU-hour, for --plan.")
@click.option("--traceback", is_flag=True, help="Show where each failure happened.")
def generate(
    bench: Path,
    models: tuple[str, ...],
    out: str,
    seeds: tuple[int, ...],
    limit: int | None,
    device: str,
    batch: str,
    fast: bool,
    compile_cache: Path | None,
    weights: str | None,
    precision: str | None,
    settings: tuple[str, ...],
    name: str | None,
    shard: str,
    executor: str,
    plan: str | None,
    price: float | None,
    traceback: bool,
) -> None:
    """Make every missing video of a bench; run it again to resume.

    Exit status 1 if any video could not be made; all of them are listed. Exit status 2 if the run could not begin.
    """
    from ti2v_bench.bench import load_bench
    from ti2v_bench.model import ModelOptions
    from ti2v_bench.registry import require_fast
    from ti2v_bench.runner import Request
    from ti2v_bench.runner import generate as run
    from ti2v_bench.runner.devices import find_devices

    loaded = load_bench(bench)
    if name and len(models) > 1:
        raise click.UsageError(f"--as names one model, but {len(models)} are given.")
    changes = dict(_change(text) for text in settings)
    pairs_per_call, grow = _batch(batch)
    cache = compile_cache and compile_cache.absolute()
    if weights and Path(weights).exists():
        weights = str(Path(weights).resolve())  # workers may have another working folder
    requests = []
    for model in models:
        folder = name or _folder(model)
        devices = (device,) if executor == "ray" else find_devices(device, model)
        if fast:
            require_fast(model)
        options = ModelOptions(devices[0], weights, precision, loaded.root, pairs_per_call, changes, fast, cache)
        requests.append(Request(model, options, folder, devices, grow))
    if plan is not None:
        _print_plan(plan, price, loaded.pairs[:limit], requests, out, seeds, _shard(shard))
        return
    with _stoppable():
        report = run(loaded.pairs[:limit], requests, out, seeds, _executor(executor), _shard(shard))
    _tell(report, alone=len(models) == 1, traceback=traceback)


def _tell(report: "RunReport", alone: bool, traceback: bool) -> None:
    """What was made and what was not; exit status 1 if anything failed."""
    if traceback:
        for failure in report.failures:
            click.echo(failure.trace, err=True)
    if alone and not report.made and any(failure.job is None for failure in report.failures):
        raise TI2VError(str(report.failures[-1]))  # the only model could not even begin
    for failure in report.failures:
        click.echo(f"failed {failure}", err=True)
    click.echo(f"{report.made} made, {report.present} already there, {len(report.failures)} failed")
    if report.failures:
        click.echo(f"To try what is missing again: {_command()}", err=True)
        raise SystemExit(1)


def _folder(model: str) -> str:
    """A registered model's videos go by its name; those of a class of the user's by its attribute `name`."""
    from ti2v_bench.registry import find, load_card

    if ":" not in model:
        return load_card(model).name  # refuses an unknown name before anything is loaded
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does, so that a class beside the user is found
    name = getattr(find(model), "name", None)
    if not isinstance(name, str):
        raise TI2VError(
            f"{model} has no class attribute `name`, so its videos have no folder. Give one with --as NAME."
        )
    return name


def _print_plan(
    device: str,
    price: float | None,
    pairs: "Sequence[Pair]",
    requests: "Sequence[Request]",
    out: str,
    seeds: tuple[int, ...],
    shard: tuple[int, int],
) -> None:
    from ti2v_bench.results import results_folder
    from ti2v_bench.runner import costs, plan_jobs
    from ti2v_bench.runner.run import find_missing
    from ti2v_bench.store import open_store

    target = costs.local_target() if device == "here" else costs.vendor_target(device)
    if target is None:
        click.echo("No GPU here: the hours are those of the GPU that was measured. --plan A100 names another one.")
    speeds = costs.read_speeds(results_folder() / "speed")
    store = open_store(out)
    found = []
    for request in requests:
        jobs = plan_jobs(request.folder, pairs, seeds)[shard[0] :: shard[1]]
        missing = len(find_missing(store, request.folder, jobs))
        found.append(costs.estimate(request.model, missing, request.options, target, speeds))
    workers = max(len(request.devices) for request in requests)
    rows = costs.cost_table(found, workers, price)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    click.echo(
        "Estimates. Hours leave out loading, what --fast compiles (once), and writing files. GPU memory is the peak of"
    )
    click.echo("a sampling step. Weights are downloaded once; a number that is not known is shown as –.")


def _executor(name: str) -> "Executor | None":
    if name != "ray":
        return None
    from ti2v_bench.runner.ray_pool import run_ray

    return run_ray


def _change(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise click.UsageError(f"--set {text!r} is not NAME=VALUE.")
    return name.strip(), value.strip()


def _batch(text: str) -> tuple[int, bool]:
    """Most pairs per call, and whether to find out how many fit."""
    if text == "auto":
        return _MOST_AT_ONCE, True
    if not text.isdecimal() or int(text) < 1:
        raise click.UsageError(f"--batch {text!r} is neither a number from 1 on nor auto.")
    return int(text), False


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or int(found[1]) >= int(found[2]):
        raise click.UsageError(f"--shard {text!r} is not I/N with I from 0 to N-1, e.g. 0/8.")
    return int(found[1]), int(found[2])


def _command() -> str:
    return shlex.join(["ti2v-bench", *sys.argv[1:]])


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C, and the SIGTERM of a batch system, end a run between two videos' files, with a word on what to do."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"\nStopped. Every finished video is kept; to go on: {_command()}", err=True)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, before)
