"""`bench`: is this folder a bench; fetch the published one; draw one of our own."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ti2v_bench.bench import BenchReport


@click.group()
def bench() -> None:
    """Check, download or draw a bench: a folder with prompt.csv and the images that it names."""


@bench.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def check(folder: Path) -> None:
    """Name every bad row of the bench in DIR, then count its good ones; exit status 1 if any row is bad."""
    from ti2v_bench.bench import check_bench

    _tell(check_bench(folder))


def _tell(report: "BenchReport") -> None:
    for problem in report.problems:
        click.echo(str(problem))
    click.echo(str(report.counts()))
    raise SystemExit(1 if report.problems else 0)


@bench.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("TI2V-Bench"), help="Folder for the bench.")
@click.option("--revision", default=None, help="Commit, tag or branch; without it, what main is now (then recorded).")
def download(out: Path, revision: str | None) -> None:
    """Fetch TI2V-Bench from the Hub, or what is missing of it, check every hash, then check the bench."""
    from ti2v_bench.bench import check_bench
    from ti2v_bench.bench.hub import REPO, download_bench

    commit = download_bench(out, revision, endpoint=os.environ.get("HF_ENDPOINT"))
    click.echo(f"{REPO} at {commit}")
    _tell(check_bench(out))


@bench.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--pairs", default=96, help="How many pairs; four to an image.")
@click.option("--size", default=128, help="Side of the square images in pixels.")
@click.option("--frames", default=16, help="Frames of each true video.")
@click.option("--fps", default=8, help="Frames per second of the true videos.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Same seed, same bench.")
def draw(folder: Path, pairs: int, size: int, frames: int, fps: int, seed: int) -> None:
    """Draw the embedded bench into DIR: coloured shapes of which one moves, with the true video of each pair."""
    from ti2v_bench.bench import load_bench
    from ti2v_bench.shapes import write_shapes

    write_shapes(folder, pairs, size, frames, fps, seed)
    click.echo(str(load_bench(folder).counts()))
