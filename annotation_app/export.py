"""The vote table of a study, in the columns that `report` and anybody else's tools read."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from sqlalchemy import Connection, select

from annotation_app.schema import AnnotatorRow, ComparisonRow, PairRow, StudyRow, VoteRow
from annotation_app.settings import StudyError
from annotation_app.study import open_database
from ti2v_bench.files import write_bytes

COLUMNS = (
    "vote_id",
    "study",
    "pair_id",
    "image_id",
    "scenario",
    "left",
    "right",
    "choice",
    "reasons",
    "annotator",
    "kind",
    "shown_at",
    "answered_at",
    "simulated",
)

_VOTES = (
    select(
        VoteRow.vote_id,
        PairRow.pair_id,
        PairRow.image_id,
        PairRow.scenario,
        VoteRow.left_model.label("left"),
        VoteRow.right_model.label("right"),
        VoteRow.choice,
        VoteRow.reasons,
        AnnotatorRow.pseudonym.label("annotator"),
        VoteRow.kind,
        VoteRow.shown_at,
        VoteRow.answered_at,
        VoteRow.simulated,
    )
    .join(ComparisonRow, ComparisonRow.id == VoteRow.comparison)
    .join(PairRow, PairRow.id == ComparisonRow.pair)
    .join(AnnotatorRow, AnnotatorRow.id == VoteRow.annotator)
    .order_by(VoteRow.id)
)


def vote_table(database: str | Path, excluded: bool = False) -> pd.DataFrame:
    """All votes of the study in `database`, one row each, in the order in which they were given.

    Args:
        excluded: also those of annotators who were excluded.

    Raises:
        StudyError: there is no study.
    """
    opened, _ = open_database(database)
    try:
        with opened.read() as connection:
            return read_votes(connection, excluded)
    finally:
        opened.dispose()


def read_votes(connection: Connection, excluded: bool = False) -> pd.DataFrame:
    """As `vote_table`, on an open connection."""
    study = connection.execute(select(StudyRow.name)).scalar_one()
    statement = _VOTES if excluded else _VOTES.where(AnnotatorRow.excluded.is_(None))
    rows = [dict(row) for row in connection.execute(statement).mappings()]
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "study"])
    table.insert(1, "study", study)
    for column in ("shown_at", "answered_at"):
        table[column] = [_iso(value) for value in table[column]]
    table["simulated"] = table["simulated"].astype(bool)
    return table[list(COLUMNS)]


def as_csv(table: pd.DataFrame) -> bytes:
    """A vote table as UTF-8 CSV."""
    words = table["simulated"].map({True: "true", False: "false"})
    return table.assign(simulated=words).to_csv(index=False, lineterminator="\n").encode()


def write_votes(table: pd.DataFrame, out: Path) -> None:
    """Write a vote table whole or not at all; the suffix says csv or parquet.

    Raises:
        StudyError: another suffix.
        StorageError: the file could not be written.
    """
    if out.suffix == ".csv":
        data = as_csv(table)
    elif out.suffix == ".parquet":
        data = table.to_parquet(index=False)
    else:
        raise StudyError(f"{out} ends neither in .csv nor in .parquet. Name the form that you want.")
    write_bytes(out, data)


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
