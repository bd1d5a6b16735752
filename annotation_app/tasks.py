"""Keeps one task on an annotator's screen and the next one ready, and takes back what was left lying."""

from dataclasses import dataclass, replace

from sqlalchemy import Connection, bindparam, case, func, select, update

from annotation_app import people
from annotation_app.assignment import LIVE, choose, give_back, take
from annotation_app.events import Event, record
from annotation_app.people import Who
from annotation_app.schema import AnnotatorRow, ComparisonRow, PairRow, TaskRow
from annotation_app.sequence import kind_at
from annotation_app.study import Study


@dataclass(frozen=True)
class Tally:
    """Counts over an annotator's live tasks of the main stage."""

    live: int
    """On screen, preloaded, and done."""
    done: int
    mains: int


_TALLY = select(
    func.count(),
    func.coalesce(func.sum(case((TaskRow.status.in_(("answered", "broken")), 1), else_=0)), 0),
    func.coalesce(func.sum(case((TaskRow.kind == "main", 1), else_=0)), 0),
).where(TaskRow.annotator == bindparam("who"), TaskRow.status.in_(LIVE), TaskRow.kind != "training")

_AT_HAND = (
    select(TaskRow.id, TaskRow.status, TaskRow.lease_until)
    .where(TaskRow.annotator == bindparam("who"), TaskRow.status.in_(("open", "ready")))
    .with_for_update()
)

_LAST_IMAGE = (
    select(PairRow.image_id)
    .join(ComparisonRow, ComparisonRow.pair == PairRow.id)
    .join(TaskRow, TaskRow.comparison == ComparisonRow.id)
    .where(TaskRow.annotator == bindparam("who"), TaskRow.status.in_(LIVE))
    .order_by(TaskRow.id.desc())
    .limit(1)
)

_PROMOTE = (
    update(TaskRow)
    .where(TaskRow.id == bindparam("task"))
    .values(status="open", served_at=bindparam("now"), lease_until=bindparam("until"))
)

_RENEW = (
    update(TaskRow)
    .where(TaskRow.annotator == bindparam("who"), TaskRow.status.in_(("open", "ready")))
    .values(lease_until=bindparam("until"))
)


def tally(connection: Connection, who: Who) -> Tally:
    """How far the annotator is."""
    return Tally(*connection.execute(_TALLY, {"who": who.id}).one())


def lease_ms(study: Study) -> int:
    """How long a task is kept for its annotator."""
    return round(study.settings.lease_minutes * 60_000)


def serve(connection: Connection, study: Study, who: Who, now: int) -> Who:
    """See to it that one task is open and the next is ready; move on to the next stage where none is left.

    Returns:
        The annotator as they are afterwards.
    """
    if who.stage not in ("training", "main") or who.excluded is not None:
        return who
    rows = connection.execute(_AT_HAND, {"who": who.id}).all()
    at_hand = {row.status: row.id for row in rows}
    events: list[Event] = []
    if any(row.lease_until - now < lease_ms(study) // 2 for row in rows):
        connection.execute(_RENEW, {"who": who.id, "until": now + lease_ms(study)})
    if study.paused and "open" not in at_hand:
        return who
    if "open" not in at_hand:
        if "ready" in at_hand:
            values = {"task": at_hand.pop("ready"), "now": now, "until": now + lease_ms(study)}
            connection.execute(_PROMOTE, values)
            events.append(Event("task.served", who.id, values["task"]))
        elif (leased := _lease(connection, study, who, "open", now)) is not None:
            event, who = leased
            events.append(event)
        else:
            return _next_stage(connection, study, who, now)
    if "ready" not in at_hand and not study.paused and (leased := _lease(connection, study, who, "ready", now)):
        event, who = leased
        events.append(event)
    record(connection, events, now)
    return who


def _lease(connection: Connection, study: Study, who: Who, status: str, now: int) -> tuple[Event, Who] | None:
    """Lease the next task; None where the annotator is at their goal or nothing is free."""
    image = connection.execute(_LAST_IMAGE, {"who": who.id}).scalar_one_or_none()
    if who.stage == "training":
        return _lease_training(connection, study, who, status, now)
    counts = tally(connection, who)
    if counts.live >= who.goal:
        return None
    position = counts.live + 1
    kind = kind_at(position, who.pseudonym, study.protocol, study.gold_items)
    place = choose(connection, who, kind, image)
    if place is None and kind != "main":
        place = choose(connection, who, "main", image)
    cap = study.protocol.per_annotator
    if place is None or (place.kind == "main" and cap is not None and counts.mains >= cap):
        return None
    return take(connection, who, place, position, status, now, lease_ms(study))


def _lease_training(connection: Connection, study: Study, who: Who, status: str, now: int) -> tuple[Event, Who] | None:
    had = connection.execute(
        select(func.count())
        .select_from(TaskRow)
        .where(TaskRow.annotator == who.id, TaskRow.kind == "training", TaskRow.status.in_(LIVE))
    ).scalar_one()
    place = choose(connection, who, "training", None) if had < study.protocol.training else None
    return None if place is None else take(connection, who, place, had + 1, status, now, lease_ms(study))


def _next_stage(connection: Connection, study: Study, who: Who, now: int) -> Who:
    if who.stage == "training":
        people.after_training(connection, study, who, now)
        return serve(connection, study, people.read(connection, who.id), now)
    why = "goal" if tally(connection, who).done >= who.goal else "supply"
    people.finish(connection, who, why, now)
    return replace(who, stage="finished")


def release(connection: Connection, task: int, status: str) -> None:
    """Take a task from its annotator: `expired`, `returned` or `broken`; its place becomes free."""
    row = connection.execute(
        select(TaskRow.comparison, TaskRow.kind, TaskRow.first_left, TaskRow.annotator).where(TaskRow.id == task)
    ).one()
    connection.execute(update(TaskRow).where(TaskRow.id == task).values(status=status))
    give_back(connection, row.comparison, row.kind, row.first_left)
    if row.kind == "main":
        block = connection.execute(select(AnnotatorRow.block).where(AnnotatorRow.id == row.annotator)).scalar_one()
        side = "L" if row.first_left else "R"
        # The place in the block is free again, so that ten answered tasks are balanced, not ten leased ones.
        fewer = "".join(reversed("".join(reversed(block)).replace(side, "", 1)))
        connection.execute(update(AnnotatorRow).where(AnnotatorRow.id == row.annotator).values(block=fewer))


def sweep(connection: Connection, now: int) -> int:
    """Take back all tasks whose lease is over; return how many."""
    due = connection.execute(
        select(TaskRow.id, TaskRow.annotator)
        .where(TaskRow.status.in_(("open", "ready")), TaskRow.lease_until < now)
        .order_by(TaskRow.comparison)
        .with_for_update(skip_locked=True)
    ).all()
    for row in due:
        release(connection, row.id, "expired")
    record(connection, [Event("task.expired", row.annotator, row.id) for row in due], now)
    return len(due)
