"""How far a study is, counted from its tables."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select

from annotation_app.schema import AnnotatorRow, ComparisonRow, TaskRow, VoteRow
from annotation_app.study import open_database


@dataclass(frozen=True)
class Progress:
    """Counts of a study."""

    comparisons: int
    complete: int
    """Comparisons with all votes asked for."""
    votes: int
    wanted: int
    """Votes asked for in all comparisons."""
    leased: int
    """Tasks on screens or preloaded."""
    annotators: int
    """People who answered at least one task."""
    simulated: int
    """Votes of simulated annotators."""
    other: dict[str, int]
    """Votes by kind other than main."""
    broken: int
    """Reports that a video does not play."""


def study_progress(database: str | Path) -> Progress:
    """Progress of the study in `database`.

    Raises:
        StudyError: there is no study.
    """
    opened, _ = open_database(database)
    try:
        with opened.read() as connection:
            return read_progress(connection)
    finally:
        opened.dispose()


def read_progress(connection: Connection) -> Progress:
    """As `study_progress`, on an open connection."""
    main = ComparisonRow.kind == "main"
    total, votes, wanted, taken = connection.execute(
        select(
            func.count(),
            func.coalesce(func.sum(ComparisonRow.done), 0),
            func.coalesce(func.sum(ComparisonRow.wanted), 0),
            func.coalesce(func.sum(ComparisonRow.taken), 0),
        ).where(main)
    ).one()
    complete = connection.execute(
        select(func.count()).where(main, ComparisonRow.done >= ComparisonRow.wanted)
    ).scalar_one()
    kinds = dict(connection.execute(select(VoteRow.kind, func.count()).group_by(VoteRow.kind)).all())
    return Progress(
        comparisons=total,
        complete=complete,
        votes=int(votes or 0),
        wanted=int(wanted or 0),
        leased=int(taken or 0) - int(votes or 0),
        annotators=connection.execute(
            select(func.count(func.distinct(VoteRow.annotator))).join(
                AnnotatorRow, AnnotatorRow.id == VoteRow.annotator
            )
        ).scalar_one(),
        simulated=connection.execute(select(func.count()).where(VoteRow.simulated)).scalar_one(),
        other={kind: count for kind, count in sorted(kinds.items()) if kind != "main"},
        broken=connection.execute(select(func.count()).where(TaskRow.status == "broken")).scalar_one(),
    )
