"""Annotators: how they come in, and through which stages they go. Functions work inside a caller's transaction."""

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, insert, select, update

from annotation_app.events import Event, record
from annotation_app.schema import AnnotatorRow, ComparisonRow
from annotation_app.sequence import goal_for
from annotation_app.study import Study


class Refused(Exception):  # noqa: N818 - an answer to the page, not a mistake of ours
    """What the annotator asked for is not allowed; the text is shown to them."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        """One word for programs: stale, foreign, early, invalid, closed, paused, door, stage."""


@dataclass(frozen=True)
class Who:
    """An annotator as the database knows them."""

    id: int
    pseudonym: str
    door: str
    stage: str
    attempts: int
    goal: int
    block: str
    excluded: str | None
    simulated: bool


_COLUMNS = (
    AnnotatorRow.id,
    AnnotatorRow.pseudonym,
    AnnotatorRow.door,
    AnnotatorRow.stage,
    AnnotatorRow.attempts,
    AnnotatorRow.goal,
    AnnotatorRow.block,
    AnnotatorRow.excluded,
    AnnotatorRow.simulated,
)
_READ = select(*_COLUMNS).where(AnnotatorRow.id == bindparam("who"))
_LOCK = _READ.with_for_update()  # one request of an annotator at a time, whatever the number of tabs and processes
_BY_PSEUDONYM = select(AnnotatorRow.id).where(AnnotatorRow.pseudonym == bindparam("pseudonym"))


def read(connection: Connection, annotator: int, lock: bool = False) -> Who:
    """The annotator, locked until the transaction ends if asked.

    Raises:
        Refused: there is none of that number.
    """
    row = connection.execute(_LOCK if lock else _READ, {"who": annotator}).one_or_none()
    if row is None:
        raise Refused("This session belongs to another study. Please come in again.", "session")
    return Who(*row)


def enter(connection: Connection, door: str, pseudonym: str, now: int, simulated: bool = False) -> int:
    """Number of the annotator with this pseudonym; new ones are added."""
    known = connection.execute(_BY_PSEUDONYM, {"pseudonym": pseudonym}).scalar_one_or_none()
    if known is not None:
        return known
    row = {"pseudonym": pseudonym, "door": door, "stage": "consent", "attempts": 0, "goal": 0, "block": ""}
    times = {"created_at": now, "seen_at": now}
    result = connection.execute(insert(AnnotatorRow).values(**row, **times, simulated=simulated, excluded=None))
    assert result.inserted_primary_key is not None
    number: int = result.inserted_primary_key[0]
    record(connection, [Event("annotator.entered", number, detail={"door": door})], now)
    return number


def consent(connection: Connection, who: Who, agreed: bool, now: int) -> None:
    """Leave the consent page, forward or for good."""
    _require(who, "consent")
    _move(connection, who, "instructions" if agreed else "declined", now)


def begin(connection: Connection, study: Study, who: Who, now: int) -> None:
    """Leave the instructions for the first stage that this study has."""
    _require(who, "instructions")
    if study.training_items and study.protocol.training and not who.simulated:
        _move(connection, who, "training", now)
    else:
        after_training(connection, study, who, now)


def after_training(connection: Connection, study: Study, who: Who, now: int) -> None:
    """Go on to the comprehension check, or to the main stage where there is none."""
    if study.protocol.questions and not who.simulated:
        _move(connection, who, "check", now)
    else:
        start_main(connection, study, who, now)


def answer_check(
    connection: Connection, study: Study, who: Who, answers: list[int], attempts_left: int, now: int
) -> int:
    """Take the comprehension check; return how many answers were right.

    All right leads to the main stage; the last allowed failure screens the annotator out.
    """
    _require(who, "check")
    questions = study.protocol.questions
    if study.protocol.attempts - who.attempts != attempts_left:
        raise Refused("This attempt was counted already.", "stale")
    if len(answers) != len(questions):
        raise Refused(f"Please answer all {len(questions)} questions.", "invalid")
    right = sum(question.answer == given for question, given in zip(questions, answers, strict=True))
    attempts = who.attempts + 1
    connection.execute(update(AnnotatorRow).where(AnnotatorRow.id == who.id).values(attempts=attempts))
    record(connection, [Event("check.answered", who.id, detail={"right": right, "of": len(questions)})], now)
    if right == len(questions):
        start_main(connection, study, who, now)
    elif attempts >= study.protocol.attempts:
        _move(connection, who, "screened", now)
    return right


def start_main(connection: Connection, study: Study, who: Who, now: int) -> None:
    """Begin the main stage; its length is as many items as are free now, within the annotator's cap."""
    places = (
        select(func.count())
        .select_from(ComparisonRow)
        .where(ComparisonRow.kind == "main", ComparisonRow.taken < ComparisonRow.wanted)
    )
    mains = connection.execute(places).scalar_one()
    cap = study.protocol.per_annotator
    goal = goal_for(mains if cap is None else min(mains, cap), who.pseudonym, study.protocol, study.gold_items)
    connection.execute(update(AnnotatorRow).where(AnnotatorRow.id == who.id).values(goal=goal))
    _move(connection, who, "main" if goal else "finished", now, {"goal": goal})


def finish(connection: Connection, who: Who, why: str, now: int) -> None:
    """End the main stage: `goal` reached, or `supply` used up."""
    _move(connection, who, "finished", now, {"why": why})


def resume(connection: Connection, who: Who, goal: int, now: int) -> None:
    """Go back from the finish page to the main stage."""
    connection.execute(update(AnnotatorRow).where(AnnotatorRow.id == who.id).values(goal=goal))
    _move(connection, who, "main", now, {"goal": goal})


def _require(who: Who, stage: str) -> None:
    if who.stage != stage:
        raise Refused("This page is not where you are in the study. It was brought up to date.", "stage")


def _move(connection: Connection, who: Who, stage: str, now: int, detail: dict[str, object] | None = None) -> None:
    connection.execute(update(AnnotatorRow).where(AnnotatorRow.id == who.id).values(stage=stage, seen_at=now))
    record(connection, [Event(f"stage.{stage}", who.id, detail=detail or {})], now)
