"""`report`: votes in, leaderboard files out."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import pandas as pd

SHARE = click.FloatRange(0, 1)


@click.command()
@click.argument("source")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the files.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Same votes and seed, same files.")
@click.option(
    "--level",
    type=click.FloatRange(0, 0.999999, min_open=True),
    default=0.95,
    help="Two-sided coverage of every interval.",
)
@click.option("--star", metavar="MODEL", help="Tell comparisons from this model's side.")
@click.option("--published", is_flag=True, help="Put the study beside the published TI2V scores.")
@click.option("--title", default="TI2V leaderboard", help="Heading of the report.")
@click.option(
    "--ties",
    type=click.Choice(["davidson", "half"]),
    default="davidson",
    help="Ranking: a tie parameter, or half wins.",
)
@click.option("--penalised", is_flag=True, help="Ranking: penalise instead of refusing separated votes.")
@click.option("--exclude-annotator", multiple=True, metavar="NAME", help="Leave this annotator out (repeatable).")
@click.option("--min-seconds", type=click.FloatRange(min=0), help="Leave out votes answered faster.")
@click.option("--min-votes", type=click.IntRange(min=1), help="Leave out annotators with fewer votes.")
@click.option("--min-gold", type=SHARE, help="Leave out annotators with a lower share right on gold rows.")
@click.option("--min-repeat", type=SHARE, help="Leave out annotators who repeat themselves less often.")
@click.option("--max-one-side", type=SHARE, help="Leave out annotators who choose one screen side more often.")
@click.option("--drop-second-votes", is_flag=True, help="Keep each annotator's first vote on a comparison only.")
def report(
    source: str,
    out: Path,
    seed: int,
    level: float,
    star: str | None,
    published: bool,
    title: str,
    ties: str,
    penalised: bool,
    exclude_annotator: tuple[str, ...],
    min_seconds: float | None,
    min_votes: int | None,
    min_gold: float | None,
    min_repeat: float | None,
    max_one_side: float | None,
    drop_second_votes: bool,
) -> None:
    """Turn the votes of SOURCE into leaderboards with intervals.

    SOURCE is a study database (SQLite file or SQLAlchemy URL) or a vote table (.csv or .parquet) from anywhere.

    Fix exclusion rules before you see the numbers; the report shows them with and without.
    """
    from ti2v_bench.leaderboard import Exclusions, ReportSettings, write_report

    rules = Exclusions(
        annotators=exclude_annotator,
        min_seconds=min_seconds,
        min_votes=min_votes,
        min_gold=min_gold,
        min_repeat=min_repeat,
        max_one_side=max_one_side,
        second_votes=drop_second_votes,
    )
    settings = ReportSettings(
        seed=seed,
        level=level,
        star=star,
        exclusions=rules,
        published=published,
        ties=ties,
        penalised=penalised,
        title=title,
    )
    found = write_report(load(source), out, settings)
    if found.protocol.simulated:
        click.echo("SIMULATED VOTES: these numbers are not from people.")
    for comparison in found.comparisons:
        click.echo(f"{comparison.model} against {comparison.opponent}: TI2V score {comparison.majority}")
    for note in found.protocol.notes:
        click.echo(f"Note: {note}.")
    click.echo(f"{found.protocol.n_votes} votes, {len(found.comparisons)} comparisons: report written to {out}")


def load(source: str) -> "pd.DataFrame":
    """Checked votes of a vote table or a study database.

    Raises:
        VotesError: the table cannot be used.
        TI2VError: there is no such study.
    """
    from ti2v_bench.votes import VotesError, check_votes, read_votes

    if source.lower().endswith((".csv", ".parquet", ".pq")) or Path(source).is_dir():
        return read_votes(source)
    if Path(source).is_file() and not _is_database(Path(source)):
        raise VotesError(f"{source} is neither a study database nor a vote table. Save the votes as .csv or .parquet.")
    from annotation_app.export import vote_table

    return check_votes(vote_table(source), source)


def _is_database(path: Path) -> bool:
    """Whether the file is SQLite's; an empty one may become one."""
    with path.open("rb") as file:
        return file.read(16) in (b"SQLite format 3\0", b"")
