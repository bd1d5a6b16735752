"""`report`: votes in, leaderboard files out."""

from pathlib import Path

import click


@click.command()
@click.argument("source")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the files.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, help="Of the resampling; same votes and seed, same files."
)
@click.option(
    "--level",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.95,
    help="Two-sided coverage of every interval.",
)
@click.option("--star", metavar="MODEL", help="Tell comparisons from this model's side.")
@click.option("--title", default="TI2V leaderboard", help="Heading of the report.")
def report(source: str, out: Path, seed: int, level: float, star: str | None, title: str) -> None:
    """Turn the votes of SOURCE into leaderboards with intervals.

    SOURCE is a study database (SQLite file or SQLAlchemy URL) or a vote table (.csv or .parquet) from anywhere.
    """
    from ti2v_bench.leaderboard import ReportSettings, write_report

    settings = ReportSettings(seed=seed, level=level, star=star, title=title)
    found = write_report(load(source), out, settings)
    click.echo(f"{found.protocol.n_votes} votes, {len(found.comparisons)} comparisons: report written to {out}")


def load(source: str):  # type: ignore[no-untyped-def]
    """Checked votes of a vote table or a study database."""
    from ti2v_bench.votes import check_votes, read_votes

    if source.lower().endswith((".csv", ".parquet", ".pq")):
        return read_votes(source)
    from annotation_app.export import vote_table

    return check_votes(vote_table(source), source)
