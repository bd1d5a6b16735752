"""`bench check`: is this folder a bench, and how large."""

from pathlib import Path

import click


@click.group()
def bench() -> None:
    """Check, download or draw a bench: a folder with prompt.csv and the images that it names."""


@bench.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def check(folder: Path) -> None:
    """Name every bad row of the bench in DIR, then count its good ones; exit status 1 if any row is bad."""
    from ti2v_bench.bench import check_bench

    report = check_bench(folder)
    for problem in report.problems:
        click.echo(str(problem))
    click.echo(str(report.counts()))
    raise SystemExit(1 if report.problems else 0)
