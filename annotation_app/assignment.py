"""Chooses the next comparison for an annotator and the side of each video. Runs inside a caller's transaction.

The comparison with fewest annotators comes first, in random order among equals, and never one that the annotator has
had. A video goes to the side where it was shown less often, so that the sides of a comparison differ by one at most. Of
each ten of an annotator's main tasks, five show the first video on the left. Where the last free comparisons allow it
no more, these give way in order: that pictures do not follow themselves, then the annotator's own balance of sides.
"""

import random
import secrets
from dataclasses import dataclass, replace
from functools import cache

from sqlalchemy import Connection, Row, Select, bindparam, exists, insert, select, update

from annotation_app.events import Event
from annotation_app.people import Who
from annotation_app.schema import AnnotatorRow, ComparisonRow, PairRow, TaskRow
from annotation_app.sequence import SPACING

LIVE = ("ready", "open", "answered", "broken")
BLOCK = 10
"""Main tasks within which an annotator's sides are balanced."""

_draw = random.SystemRandom()


@dataclass(frozen=True)
class Place:
    """A comparison chosen for an annotator."""

    comparison: int
    kind: str
    first_left: bool


def choose(connection: Connection, who: Who, kind: str, previous_image: str | None) -> Place | None:
    """The next comparison of `kind` for `who`; None where none is left."""
    if kind == "main":
        return _choose_main(connection, who, previous_image)
    if kind == "repeat":
        return _choose_repeat(connection, who, previous_image)
    row = _first(connection, who, kind, "any", previous_image) or _first(connection, who, kind, "any", None)
    return None if row is None else Place(row.id, kind, _draw.random() < 0.5)


_TAKE = (
    update(ComparisonRow)
    .where(ComparisonRow.id == bindparam("number"))
    .values(
        taken=ComparisonRow.taken + 1,
        first_left=ComparisonRow.first_left + bindparam("left"),
        shuffle=bindparam("rank"),
    )
)
_BLOCK = update(AnnotatorRow).where(AnnotatorRow.id == bindparam("who")).values(block=bindparam("sides"))
_LEASE = insert(TaskRow)


def take(
    connection: Connection, who: Who, place: Place, position: int, status: str, now: int, lease: int
) -> tuple[Event, Who]:
    """Lease the chosen comparison to `who` as a task; also return the annotator with their new block of sides."""
    if place.kind != "repeat":
        values = {"number": place.comparison, "left": int(place.first_left), "rank": _draw.getrandbits(31)}
        connection.execute(_TAKE, values)
    if place.kind == "main":
        block = with_side(who, place.first_left)
        connection.execute(_BLOCK, {"who": who.id, "sides": block})
        who = replace(who, block=block)
    task = {
        "token": secrets.token_urlsafe(18),
        "media": secrets.token_hex(12),
        "annotator": who.id,
        "comparison": place.comparison,
        "kind": place.kind,
        "first_left": place.first_left,
        "position": position,
        "status": status,
        "served_at": now if status == "open" else None,
        "lease_until": now + lease,
    }
    result = connection.execute(_LEASE, task)
    assert result.inserted_primary_key is not None
    detail = {"comparison": place.comparison, "kind": place.kind, "first_left": place.first_left, "status": status}
    return Event("task.leased", who.id, result.inserted_primary_key[0], detail), who


def give_back(connection: Connection, comparison: int, kind: str, first_left: bool, answered: bool = False) -> None:
    """Free the place that a task held; `answered` if its vote had counted."""
    if kind == "repeat":
        return
    values = {"taken": ComparisonRow.taken - 1, "first_left": ComparisonRow.first_left - int(first_left)}
    if answered:
        values["done"] = ComparisonRow.done - 1
    connection.execute(update(ComparisonRow).where(ComparisonRow.id == comparison).values(**values))


def allowed_sides(taken: int, first_left: int) -> tuple[bool, ...]:
    """Whether the first video may go left (True), right (False), or either, where it was left `first_left` times."""
    right = taken - first_left
    return ((True,) if first_left < right else (False,)) if first_left != right else (True, False)


def with_side(who: Who, first_left: bool) -> str:
    """The annotator's block of sides with one more main task in it; after ten a new block begins."""
    return ("" if len(who.block) >= BLOCK else who.block) + ("L" if first_left else "R")


def wished_sides(block: str, draw: float) -> list[str]:
    """Sides in the order in which this annotator should get them; `draw` is uniform in [0, 1).

    Within a block the side is drawn from those left of five and five, so that it cannot be foretold.
    """
    running = "" if len(block) >= BLOCK else block
    left, right = BLOCK // 2 - running.count("L"), BLOCK // 2 - running.count("R")
    wish = "LR" if draw * (max(left, 0) + max(right, 0)) < max(left, 0) else "RL"
    return [side for side in wish if {"L": left, "R": right}[side] > 0]


def _choose_main(connection: Connection, who: Who, previous_image: str | None) -> Place | None:
    wished = wished_sides(who.block, _draw.random())
    tries = [(side, image) for image in (previous_image, None) for side in wished] + [("any", None)]
    for side, image in dict.fromkeys(tries):
        row = _first(connection, who, "main", side, image)
        if row is not None:
            sides = allowed_sides(row.taken, row.first_left)
            first_left = side == "L" if side != "any" and len(sides) == 2 else _draw.choice(sides)
            return Place(row.id, "main", first_left)
    return None


def _first(connection: Connection, who: Who, kind: str, side: str, image: str | None) -> "Row[int, int, int] | None":
    values = {"who": who.id, "kind": kind, "image": image or ""}
    for patient in (False, True):  # a row that another process holds is passed over, unless nothing else is left
        row = connection.execute(_statement(kind == "main", side, patient), values).first()
        if row is not None or connection.dialect.name == "sqlite":
            return row
    return None


@cache
def _statement(main: bool, side: str, patient: bool) -> "Select[int, int, int]":
    had = exists().where(
        TaskRow.annotator == bindparam("who"),
        TaskRow.comparison == ComparisonRow.id,
        TaskRow.kind == bindparam("kind"),
        TaskRow.status.in_(LIVE),
    )
    statement = (
        select(ComparisonRow.id, ComparisonRow.taken, ComparisonRow.first_left)
        .join(PairRow, PairRow.id == ComparisonRow.pair)
        .where(ComparisonRow.kind == bindparam("kind"), PairRow.image_id != bindparam("image"), ~had)
        .order_by(ComparisonRow.taken, ComparisonRow.shuffle)
        .limit(1)
        .with_for_update(of=ComparisonRow, skip_locked=not patient)
    )
    if main:
        statement = statement.where(ComparisonRow.taken < ComparisonRow.wanted)
    if side == "L":
        statement = statement.where(2 * ComparisonRow.first_left <= ComparisonRow.taken)
    if side == "R":
        statement = statement.where(2 * ComparisonRow.first_left >= ComparisonRow.taken)
    return statement


def _choose_repeat(connection: Connection, who: Who, previous_image: str | None) -> Place | None:
    """A main item that the annotator answered some tasks ago, sides swapped."""
    answered = connection.execute(_LATELY, {"who": who.id}).all()[SPACING:]
    repeated = set(connection.execute(_REPEATED, {"who": who.id}).scalars())
    rows = [row for row in answered if row.comparison not in repeated and row.image_id != previous_image]
    if not rows:
        return None
    row = _draw.choice(rows)
    return Place(row.comparison, "repeat", not row.first_left)


_LATELY = (
    select(TaskRow.comparison, TaskRow.first_left, PairRow.image_id)
    .join(ComparisonRow, ComparisonRow.id == TaskRow.comparison)
    .join(PairRow, PairRow.id == ComparisonRow.pair)
    .where(TaskRow.annotator == bindparam("who"), TaskRow.kind == "main", TaskRow.status == "answered")
    .order_by(TaskRow.position.desc())
    .limit(60)
)
_REPEATED = select(TaskRow.comparison).where(
    TaskRow.annotator == bindparam("who"), TaskRow.kind == "repeat", TaskRow.status.in_(LIVE)
)
