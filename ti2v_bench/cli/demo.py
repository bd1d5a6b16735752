"""`ti2v-bench demo`: the main job end to end on the embedded bench."""

import secrets
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import pandas as pd

SIZE = 128
"""Side of the drawn bench's pictures in pixels."""
TRAINED = ("motif-mini", "plain-mini")
"""Small networks that ship with the project; they need torch."""
CONTROLS = ("static", "reference")


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("demo"), help="Folder for all.")
@click.option("--pairs", type=click.IntRange(min=1), default=96, help="Pairs of the bench that is drawn.")
@click.option("--votes", type=click.IntRange(min=1), default=5, help="Annotators per comparison.")
@click.option("--simulate", type=click.IntRange(min=1), metavar="N", help="N simulated annotators vote first.")
@click.option("--headless", is_flag=True, help="End after the report instead of serving the app; needs --simulate.")
@click.option("--port", type=click.IntRange(0, 65535), default=7860, help="Port of the app on 127.0.0.1; 0: any.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the bench, the videos and the simulated votes.")
def demo(out: Path, pairs: int, votes: int, simulate: int | None, headless: bool, port: int, seed: int) -> None:
    """Run the whole chain: draw a bench, make its videos, open a study, serve the app with a live report at /report.

    Run it again to go on where it stopped; everything lies in --out.
    """
    if headless and not simulate:
        raise click.UsageError("--headless has nobody to vote; add --simulate N, e.g. --headless --simulate 5.")
    from annotation_app.server import ServeOptions, serving

    models = (*TRAINED, *CONTROLS) if _torch() else CONTROLS[::-1]
    click.echo(f"1. Bench: {_bench(out / 'shapes', pairs, seed)}")
    click.echo(f"2. Videos of {', '.join(models)}{_why(models)}")
    _videos(out, models, seed)
    database = out / "study.db"
    click.echo(f"3. Study: {_study(out, database, models, votes, seed)}")
    secret = secrets.token_urlsafe(16)
    options = ServeOptions(port=_free_port() if headless or port == 0 else port, public_report=True, simulation=secret)
    address = f"http://{options.host}:{options.port}"
    with serving(database, options):
        if simulate:
            click.echo(f"4. Votes: {_simulate(database, address, secret, simulate, seed)}")
        if not headless:
            click.echo(f"Vote at {address}/ and watch the report at {address}/report (Ctrl-C ends it)")
            _wait()
    click.echo(_report(database, out / "report", models[0]))


def _torch() -> bool:
    from ti2v_bench.registry import MODELS

    return find_spec("torch") is not None and all(name in MODELS for name in TRAINED)


def _why(models: tuple[str, ...]) -> str:
    return "" if TRAINED[0] in models else " (with the extra 'models' installed, also of two small trained networks)"


def _bench(folder: Path, pairs: int, seed: int) -> str:
    from ti2v_bench.bench import load_bench
    from ti2v_bench.errors import TI2VError
    from ti2v_bench.shapes import write_shapes

    if not (folder / "prompt.csv").exists():
        write_shapes(folder, pairs, SIZE, seed=seed)
    bench = load_bench(folder)
    if len(bench.pairs) != pairs:
        raise TI2VError(
            f"{folder} holds a bench of {len(bench.pairs)} pairs, but --pairs is {pairs}. "
            "Give the same number to go on, or another --out."
        )
    return f"{bench.counts()}, drawn in {folder}"


def _videos(out: Path, models: tuple[str, ...], seed: int) -> None:
    from ti2v_bench.bench import load_bench
    from ti2v_bench.errors import TI2VError
    from ti2v_bench.model import ModelOptions
    from ti2v_bench.runner import Request, generate

    bench = load_bench(out / "shapes")
    requests = [Request(name, ModelOptions(bench=bench.root, batch=8)) for name in models]
    report = generate(bench.pairs, requests, out / "videos", (seed,))
    if report.failures:
        raise TI2VError(f"{len(report.failures)} videos could not be made; the first: {report.failures[0]}")


def _study(out: Path, database: Path, models: tuple[str, ...], votes: int, seed: int) -> str:
    from dataclasses import replace

    from annotation_app.create import StudyPlan, create_study
    from annotation_app.settings import Protocol, StudySettings
    from ti2v_bench.bench import load_bench

    if database.exists():
        return f"{database} is there already and goes on"
    # A visitor should reach the first real task in a minute: no comprehension check.
    settings = replace(StudySettings(), seed=seed, protocol=Protocol(questions=()))
    plan = StudyPlan(models, "star", models[0], votes, "Demo: embedded bench", settings)
    created = create_study(database, load_bench(out / "shapes"), out / "videos", plan)
    return f"{created.comparisons} comparisons around {models[0]}, {votes} votes each, in {database}"


def _simulate(database: Path, address: str, secret: str, annotators: int, seed: int) -> str:
    from annotation_app.simulate import simulate

    # Those of an earlier run have voted already: new ones come in under another seed.
    done = simulate(address, secret, annotators, seed=seed + len(_votes(database)))
    return f"SIMULATED: {done.votes} votes of {done.annotators} simulated annotators (they prefer what moves more)"


def _wait() -> None:
    import contextlib
    import threading

    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _votes(database: Path) -> "pd.DataFrame":
    from annotation_app.export import vote_table

    return vote_table(str(database))


def _report(database: Path, out: Path, star: str) -> str:
    from ti2v_bench.leaderboard import ReportSettings, write_report
    from ti2v_bench.votes import check_votes

    votes = _votes(database)
    if votes.empty:
        return f"No votes yet. To go on: ti2v-bench demo --out {out.parent}"
    report = write_report(check_votes(votes, str(database)), out, ReportSettings(star=star, title="Embedded bench"))
    lines = ["SIMULATED VOTES: these numbers are not from people."] if report.protocol.simulated else []
    for comparison in report.comparisons:
        lines.append(f"  {comparison.model} against {comparison.opponent}: TI2V score {comparison.majority}")
    return "\n".join([*lines, f"Report: {out / 'leaderboard.html'}"])


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
