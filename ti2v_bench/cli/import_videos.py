"""`import`: take over videos that were made elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ti2v_bench.runner import ImportReport


@click.command("import")
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.option("--model", required=True, help="Name the videos shall go by.")
@click.option("--bench", "bench", type=click.Path(path_type=Path), required=True, help="Folder of the bench.")
@click.option("--out", required=True, help="Folder or URL for <model>/<pair_id>_<seed>.mp4.")
@click.option("--quiet", is_flag=True, help="Count the pairs without a video instead of naming them.")
def import_videos(source: Path, model: str, bench: Path, out: str, quiet: bool) -> None:
    """Take over the videos <pair_id>_<seed>.mp4 of folder SRC, byte for byte.

    Every file that is unmatched or cannot be decoded, and every pair without a video, is named; exit status 1 if any
    file was refused. Missing pairs alone do not fail.
    """
    from ti2v_bench.bench import load_bench
    from ti2v_bench.runner import import_videos as take_over

    report = take_over(source, model, load_bench(bench).pairs, out)
    if not quiet:
        for name in report.missing:
            click.echo(f"missing {name}")
    for name in report.unmatched:
        click.echo(f"unmatched {name}: no pair of the bench with that id, or no seed at its end", err=True)
    for text in report.broken:
        click.echo(f"broken {text}", err=True)
    for text in report.different:
        click.echo(f"refused {text}", err=True)
    click.echo(_summary(report))
    raise SystemExit(1 if report.unmatched or report.broken or report.different else 0)


def _summary(report: "ImportReport") -> str:
    there = len(report.copied) + len(report.present)
    parts = [
        f"{there} of {report.expected} videos there ({len(report.copied)} copied, {len(report.present)} already there)",
        f"{len(report.missing)} missing",
        f"{len(report.unmatched)} unmatched",
        f"{len(report.broken)} broken",
        f"{len(report.different)} refused",
    ]
    return ", ".join(parts)
