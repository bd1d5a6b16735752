"""What the study's administrator watches: agreement, position bias, gold accuracy, speed, and who looks careless."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Any

from sqlalchemy import Connection, Row, func, select

from annotation_app.progress import Progress, read_progress
from annotation_app.schema import AnnotatorRow, ComparisonRow, PairRow, TaskRow, VoteRow

FEWEST = 5
"""Answers below which nothing is said about a person."""


@dataclass(frozen=True)
class AnnotatorLine:
    """One annotator's figures; shares are None where there is too little."""

    pseudonym: str
    door: str
    stage: str
    simulated: bool
    excluded: str | None
    answered: int
    """Main items."""
    left_share: float | None
    gold_right: int
    gold_of: int
    repeat_same: int
    repeat_of: int
    seconds: float | None
    """Median from serving to answering, in seconds."""
    broken: int
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Overview:
    """The whole study's figures, over the votes that count."""

    progress: Progress
    agreement: float | None
    """Share of equal answers among all pairs of answers to the same comparison."""
    left_share: float | None
    gold: float | None
    seconds: float | None
    broken: tuple[tuple[str, int], ...]
    """Pairs of which videos were reported not to play, and how often."""
    annotators: tuple[AnnotatorLine, ...]


@dataclass(frozen=True)
class _Answer:
    annotator: int
    comparison: int
    kind: str
    choice: str
    first: bool | None
    """Whether the first video was chosen; None for a tie and the like."""
    right: bool | None
    """Whether a gold item was answered as expected."""
    seconds: float


def overview(connection: Connection) -> Overview:
    """All figures of the admin page."""
    answers = _answers(connection)
    people = connection.execute(select(*AnnotatorRow.__table__.columns).order_by(AnnotatorRow.id)).all()
    excluded = {row.id for row in people if row.excluded is not None}
    counted = [answer for answer in answers if answer.annotator not in excluded]
    main = [answer for answer in counted if answer.kind == "main"]
    broken = _broken_by_annotator(connection)
    own: dict[int, list[_Answer]] = {person.id: [] for person in people}
    for answer in answers:
        own[answer.annotator].append(answer)
    lines = [_line(person, own[person.id], broken.get(person.id, 0)) for person in people]
    return Overview(
        progress=read_progress(connection),
        agreement=_agreement(main),
        left_share=_share([answer.choice == "left" for answer in main if answer.first is not None]),
        gold=_share([bool(answer.right) for answer in counted if answer.kind == "gold"]),
        seconds=median(answer.seconds for answer in main) if main else None,
        broken=_broken_pairs(connection),
        annotators=tuple(lines),
    )


def _answers(connection: Connection) -> list[_Answer]:
    rows = connection.execute(
        select(
            VoteRow.annotator,
            VoteRow.comparison,
            VoteRow.kind,
            VoteRow.choice,
            VoteRow.shown_at,
            VoteRow.answered_at,
            TaskRow.first_left,
            ComparisonRow.expected,
        )
        .join(TaskRow, TaskRow.id == VoteRow.task)
        .join(ComparisonRow, ComparisonRow.id == VoteRow.comparison)
        .order_by(VoteRow.id)
    )
    found = []
    for row in rows:
        sided = row.choice in ("left", "right")
        first = (row.choice == "left") == bool(row.first_left) if sided else None
        right = None if row.expected is None else first is not None and first == (row.expected == "first")
        seconds = (row.answered_at - row.shown_at) / 1000
        found.append(_Answer(row.annotator, row.comparison, row.kind, row.choice, first, right, seconds))
    return found


def _line(person: Row[*tuple[Any, ...]], own: Sequence[_Answer], broken: int) -> AnnotatorLine:
    main = [answer for answer in own if answer.kind == "main"]
    gold = [bool(answer.right) for answer in own if answer.kind == "gold"]
    first = {answer.comparison: answer.first for answer in main}
    repeats = [answer.first == first.get(answer.comparison) for answer in own if answer.kind == "repeat"]
    left = _share([answer.choice == "left" for answer in main if answer.first is not None])
    seconds = median(answer.seconds for answer in main) if main else None
    return AnnotatorLine(
        pseudonym=person.pseudonym,
        door=person.door,
        stage=person.stage,
        simulated=person.simulated,
        excluded=person.excluded,
        answered=len(main),
        left_share=left,
        gold_right=sum(gold),
        gold_of=len(gold),
        repeat_same=sum(repeats),
        repeat_of=len(repeats),
        seconds=seconds,
        broken=broken,
        flags=_flags(len(main), left, gold, repeats, seconds, broken),
    )


def _flags(
    answered: int,
    left: float | None,
    gold: Sequence[bool],
    repeats: Sequence[bool],
    seconds: float | None,
    broken: int,
) -> tuple[str, ...]:
    """Reasons to look at a person; none of them excludes by itself."""
    found = []
    if len(gold) >= 3 and sum(gold) < 0.7 * len(gold):
        found.append("gold")
    if len(repeats) >= 3 and sum(repeats) < 0.5 * len(repeats):
        found.append("inconsistent")
    if answered >= 20 and left is not None and not 0.2 <= left <= 0.8:
        found.append("one side")
    if answered >= FEWEST and seconds is not None and seconds < 3:
        found.append("fast")
    if broken >= 3 and broken > 0.2 * (answered + broken):
        found.append("many broken")
    return tuple(found)


def _agreement(main: Sequence[_Answer]) -> float | None:
    by_comparison: dict[int, list[object]] = {}
    for answer in main:
        by_comparison.setdefault(answer.comparison, []).append(answer.choice if answer.first is None else answer.first)
    same = [a == b for given in by_comparison.values() for a, b in combinations(given, 2)]
    return _share(same)


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if len(values) >= FEWEST else None


def _broken_by_annotator(connection: Connection) -> dict[int, int]:
    counts = select(TaskRow.annotator, func.count()).where(TaskRow.status == "broken").group_by(TaskRow.annotator)
    return dict(connection.execute(counts).all())


def _broken_pairs(connection: Connection) -> tuple[tuple[str, int], ...]:
    counts = (
        select(PairRow.pair_id, func.count())
        .join(ComparisonRow, ComparisonRow.pair == PairRow.id)
        .join(TaskRow, TaskRow.comparison == ComparisonRow.id)
        .where(TaskRow.status == "broken")
        .group_by(PairRow.pair_id)
        .order_by(func.count().desc())
        .limit(20)
    )
    return tuple((row[0], row[1]) for row in connection.execute(counts))
