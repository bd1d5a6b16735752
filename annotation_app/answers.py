"""What an annotator does with the task on the screen: choose, then vote; say that a video does not play; undo."""

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, delete, insert, select, update
from sqlalchemy.orm import aliased

from annotation_app.assignment import LIVE, allowed_sides, with_side
from annotation_app.events import Event, record
from annotation_app.people import Refused, Who
from annotation_app.schema import AnnotatorRow, ComparisonRow, ModelRow, TaskRow, VideoRow, VoteRow
from annotation_app.settings import REASONS, Protocol
from annotation_app.study import Study
from annotation_app.tasks import lease_ms, release

AnyRow = Row[*tuple[Any, ...]]

UNDO_MS = 10 * 60_000
"""How long a vote can be taken back."""

_FIRST, _SECOND = aliased(VideoRow), aliased(VideoRow)
_FIRST_MODEL, _SECOND_MODEL = aliased(ModelRow), aliased(ModelRow)
_OWN = (
    TaskRow.id,
    TaskRow.annotator,
    TaskRow.comparison,
    TaskRow.kind,
    TaskRow.first_left,
    TaskRow.status,
    TaskRow.served_at,
    TaskRow.choice,
)
_WATCHED = (
    select(*_OWN, _FIRST.millis.label("first_ms"), _SECOND.millis.label("second_ms"))
    .join(ComparisonRow, ComparisonRow.id == TaskRow.comparison)
    .join(_FIRST, _FIRST.id == ComparisonRow.first)
    .join(_SECOND, _SECOND.id == ComparisonRow.second)
    .where(TaskRow.token == bindparam("token"))
    .with_for_update(of=TaskRow)
)
_TASK = (
    select(
        *_OWN,
        ComparisonRow.expected,
        ComparisonRow.note,
        _FIRST_MODEL.name.label("first_model"),
        _SECOND_MODEL.name.label("second_model"),
    )
    .join(ComparisonRow, ComparisonRow.id == TaskRow.comparison)
    .join(_FIRST, _FIRST.id == ComparisonRow.first)
    .join(_SECOND, _SECOND.id == ComparisonRow.second)
    .join(_FIRST_MODEL, _FIRST_MODEL.id == _FIRST.model)
    .join(_SECOND_MODEL, _SECOND_MODEL.id == _SECOND.model)
    .where(TaskRow.token == bindparam("token"))
    .with_for_update(of=TaskRow)
)
_CHOOSE = (
    update(TaskRow)
    .where(TaskRow.id == bindparam("task"))
    .values(choice=bindparam("side"), lease_until=bindparam("until"))
)
_CLOSE = update(TaskRow).where(TaskRow.id == bindparam("task")).values(status="answered")
_COUNT = update(ComparisonRow).where(ComparisonRow.id == bindparam("number")).values(done=ComparisonRow.done + 1)
_VOTE = insert(VoteRow)


@dataclass(frozen=True)
class Answer:
    """What the page sends."""

    choice: str
    reasons: tuple[str, ...]
    """Empty: none of these."""
    loops: int = 0


@dataclass(frozen=True)
class Saved:
    """The answer is in the database."""

    repeated: bool = False
    """It had been there before: nothing was changed."""
    correct: bool | None = None
    """Training items only."""
    note: str | None = None


def check_answer(answer: Answer, protocol: Protocol) -> None:
    """Refuse what the study's protocol does not allow.

    Raises:
        Refused: an unknown choice or reason, a reason twice, or reasons where no side was chosen.
    """
    _check_choice(answer.choice, protocol)
    if set(answer.reasons) - set(REASONS) or len(set(answer.reasons)) != len(answer.reasons):
        raise Refused("Please mark only the reasons shown, each once.", "invalid")
    if answer.reasons and answer.choice not in ("left", "right"):
        raise Refused("Reasons speak for a chosen side; this answer chooses none.", "invalid")


def commit_choice(
    connection: Connection, study: Study, who: Who, token: str, choice: str, now: int, waited: int
) -> None:
    """Keep the overall choice: the published protocol has it before any reason is given.

    The same choice again changes nothing; another one takes its place until the vote. Each is an event.

    Args:
        waited: milliseconds since the task was served by this process' steady clock; 0 where it did not serve it.

    Raises:
        Refused: the token is nobody's, another's or over; too early; the choice is not allowed.
    """
    _check_choice(choice, study.protocol)
    task = _own_task(connection, who, token, _WATCHED)
    if task.status in ("answered", "broken"):
        raise Refused("This task is done already. Here is where you are.", "stale")
    _hold(connection, study, who, task, now)
    _require_watched(study, who, task, now, waited)
    if task.choice == choice:
        return
    connection.execute(_CHOOSE, {"task": task.id, "side": choice, "until": now + lease_ms(study)})
    record(connection, [Event("task.chosen", who.id, task.id, {"choice": choice})], now)


def vote(connection: Connection, study: Study, who: Who, token: str, answer: Answer, now: int) -> Saved:
    """Store one vote, once.

    Raises:
        Refused: the token is nobody's, another's or over; another choice, or none, was made before; the answer is not
            allowed.
    """
    check_answer(answer, study.protocol)
    task = _own_task(connection, who, token)
    if task.status in ("answered", "broken"):
        return Saved(repeated=True)
    if task.status in ("open", "expired") and task.choice != answer.choice:
        raise Refused("First choose the video that is better overall, then say why.", "choice")
    _hold(connection, study, who, task, now)
    connection.execute(_VOTE, _vote_row(who, task, answer, now))
    connection.execute(_CLOSE, {"task": task.id})
    if task.kind == "main":
        connection.execute(_COUNT, {"number": task.comparison})
    detail = {"choice": answer.choice, "reasons": list(answer.reasons)}
    record(connection, [Event("task.answered", who.id, task.id, detail)], now)
    if task.kind != "training":
        return Saved()
    wins_left = (task.expected == "first") == bool(task.first_left)
    return Saved(correct=answer.choice == ("left" if wins_left else "right"), note=task.note)


def report_broken(connection: Connection, who: Who, token: str, which: str, now: int) -> Saved:
    """Record that a video does not play; the comparison's place becomes free for somebody else.

    Raises:
        Refused: as in `vote`, or `which` is neither left, right nor both.
    """
    if which not in ("left", "right", "both"):
        raise Refused("Please say which video does not play.", "invalid")
    task = _own_task(connection, who, token)
    if task.status in ("answered", "broken"):
        return Saved(repeated=True)
    if task.status != "open":
        raise Refused("This task was given back. Here is the next one.", "stale")
    release(connection, task.id, "broken")
    record(connection, [Event("task.broken", who.id, task.id, {"which": which})], now)
    return Saved()


def undo(connection: Connection, study: Study, who: Who, token: str, now: int) -> Answer:
    """Take the annotator's last vote back and open its task again; return what was answered.

    Args:
        token: of the task that is open now, or empty: a request that comes twice finds another and changes nothing.

    Raises:
        Refused: there is no vote, it is a training answer, it is older than UNDO_MS, or another task is open.
    """
    standing = select(TaskRow.token).where(TaskRow.annotator == who.id, TaskRow.status == "open")
    if (connection.execute(standing).scalar_one_or_none() or "") != token:
        raise Refused("The page was behind; here is where you are.", "stale")
    last = connection.execute(
        select(
            VoteRow.id,
            VoteRow.task,
            VoteRow.kind,
            VoteRow.comparison,
            VoteRow.choice,
            VoteRow.reasons,
            VoteRow.answered_at,
        )
        .where(VoteRow.annotator == who.id)
        .order_by(VoteRow.id.desc())
        .limit(1)
    ).one_or_none()
    if last is None or last.kind == "training" or who.stage not in ("main", "finished"):
        raise Refused("There is no answer to take back.", "invalid")
    if now - last.answered_at > UNDO_MS:
        raise Refused("Your last answer is too old to be taken back.", "stale")
    _make_room(connection, who)
    connection.execute(delete(VoteRow).where(VoteRow.id == last.id))
    fresh = {"status": "open", "token": secrets.token_urlsafe(18), "lease_until": now + lease_ms(study)}
    connection.execute(update(TaskRow).where(TaskRow.id == last.task).values(**fresh))
    if last.kind == "main":
        connection.execute(
            update(ComparisonRow).where(ComparisonRow.id == last.comparison).values(done=ComparisonRow.done - 1)
        )
    detail = {"choice": last.choice, "reasons": last.reasons}
    record(connection, [Event("task.undone", who.id, last.task, detail)], now)
    return Answer(last.choice, () if last.reasons == "none" else tuple(last.reasons.split(";")))


def _make_room(connection: Connection, who: Who) -> None:
    """Put the open task back in front of the queue; what was in front of it goes back to the study."""
    at_hand = select(TaskRow.id, TaskRow.status).where(
        TaskRow.annotator == who.id, TaskRow.status.in_(("open", "ready"))
    )
    tasks = {row.status: row.id for row in connection.execute(at_hand)}
    if "open" in tasks:
        if "ready" in tasks:
            release(connection, tasks["ready"], "returned")
        connection.execute(update(TaskRow).where(TaskRow.id == tasks["open"]).values(status="ready"))


def _own_task(connection: Connection, who: Who, token: str, statement: Select[*tuple[Any, ...]] = _TASK) -> AnyRow:
    task = connection.execute(statement, {"token": token}).one_or_none()
    if task is None:
        raise Refused("This task is not known any more. Here is where you are.", "stale")
    if task.annotator != who.id:
        raise Refused("This task was given to somebody else. Here is yours.", "foreign")
    return task


def _check_choice(choice: str, protocol: Protocol) -> None:
    if choice not in protocol.choices():
        raise Refused("Please choose one of the answers shown.", "invalid")


def _hold(connection: Connection, study: Study, who: Who, task: AnyRow, now: int) -> None:
    """See to it that the task holds its place in the comparison."""
    if task.status == "expired":
        _take_again(connection, study, who, task, now)
    elif task.status != "open":
        raise Refused("This task was given back. Here is the next one.", "stale")


def _take_again(connection: Connection, study: Study, who: Who, task: AnyRow, now: int) -> None:
    """Revive an expired lease if its comparison still has a place on the same side and no other task is open."""
    place = (
        select(ComparisonRow.taken, ComparisonRow.first_left, ComparisonRow.wanted)
        .where(ComparisonRow.id == task.comparison)
        .with_for_update()
    )
    taken, first_left, wanted = connection.execute(place).one()
    first = bool(task.first_left)
    full = wanted is not None and (taken >= wanted or first not in allowed_sides(taken, first_left))
    full = full and task.kind == "main"  # a repeat takes no place
    mine = select(TaskRow.status, TaskRow.comparison, TaskRow.kind).where(
        TaskRow.annotator == who.id, TaskRow.status.in_(LIVE)
    )
    live = connection.execute(mine).all()
    if full or any(row.status == "open" or (row[1], row[2]) == (task.comparison, task.kind) for row in live):
        raise Refused("This task waited too long and was given back. Here is where you are.", "stale")
    if task.kind != "repeat":
        counts = {"taken": ComparisonRow.taken + 1, "first_left": ComparisonRow.first_left + int(first)}
        connection.execute(update(ComparisonRow).where(ComparisonRow.id == task.comparison).values(**counts))
    if task.kind == "main":
        connection.execute(update(AnnotatorRow).where(AnnotatorRow.id == who.id).values(block=with_side(who, first)))
    values = {"status": "open", "lease_until": now + lease_ms(study)}
    connection.execute(update(TaskRow).where(TaskRow.id == task.id).values(**values))
    record(connection, [Event("task.revived", who.id, task.id)], now)


def _require_watched(study: Study, who: Who, task: AnyRow, now: int, waited: int) -> None:
    """The published protocol: both clips are watched once before the choice."""
    needed = study.protocol.watch * max(task.first_ms, task.second_ms)
    if who.simulated or max(now - task.served_at, waited) >= needed:
        return
    raise Refused("Please watch both videos to the end before you answer.", "early")


def _vote_row(who: Who, task: AnyRow, answer: Answer, now: int) -> dict[str, object]:
    left, right = task.first_model, task.second_model
    if left == right:  # a known item: the same model's clip of another picture
        right = f"{right}:swapped"
    if not task.first_left:
        left, right = right, left
    return {
        "vote_id": uuid.uuid4().hex,
        "task": task.id,
        "annotator": who.id,
        "comparison": task.comparison,
        "kind": task.kind,
        "left_model": left,
        "right_model": right,
        "choice": answer.choice,
        "reasons": ";".join(ordered(answer.reasons)) or "none",
        "shown_at": task.served_at,
        "answered_at": max(now, task.served_at),  # a clock that was set back does not make a vote impossible
        "loops": answer.loops,
        "simulated": who.simulated,
    }


def ordered(reasons: Sequence[str]) -> list[str]:
    """Reasons in the protocol's order."""
    return [reason for reason in REASONS if reason in reasons]
