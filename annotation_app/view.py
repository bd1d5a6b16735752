"""What the page is told: where the annotator is, and the task on the screen. Nothing in it speaks of a model."""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, func, select
from sqlalchemy.orm import aliased

from annotation_app.keys import Keyring
from annotation_app.people import Who
from annotation_app.schema import ComparisonRow, PairRow, TaskRow, VideoRow, VoteRow
from annotation_app.settings import REASONS
from annotation_app.study import Study
from annotation_app.tasks import tally

Json = dict[str, object]

CHOICE_LABELS = {"left": "A is better", "right": "B is better", "tie": "Equally good", "both_bad": "Both bad"}

_FIRST, _SECOND = aliased(VideoRow), aliased(VideoRow)
_AT_HAND = (
    select(
        TaskRow.token,
        TaskRow.media,
        TaskRow.status,
        TaskRow.kind,
        TaskRow.choice,
        PairRow.prompt,
        case((_FIRST.millis > _SECOND.millis, _FIRST.millis), else_=_SECOND.millis).label("millis"),
    )
    .join(ComparisonRow, ComparisonRow.id == TaskRow.comparison)
    .join(PairRow, PairRow.id == ComparisonRow.pair)
    .join(_FIRST, _FIRST.id == ComparisonRow.first)
    .join(_SECOND, _SECOND.id == ComparisonRow.second)
    .where(TaskRow.annotator == bindparam("who"), TaskRow.status.in_(("open", "ready")))
)
_TRAINED = select(func.count()).where(
    TaskRow.annotator == bindparam("who"), TaskRow.kind == "training", TaskRow.status.in_(("answered", "broken"))
)
_LAST_VOTE = select(VoteRow.kind).where(VoteRow.annotator == bindparam("who")).order_by(VoteRow.id.desc()).limit(1)


def view(connection: Connection, study: Study, keys: Keyring, who: Who) -> Json:
    """State of the annotator's page as JSON."""
    if who.excluded is not None:
        return {"stage": "closed"}
    build = {"consent": _texts, "instructions": _texts, "check": _check}.get(who.stage)
    if build is not None:
        return {"stage": who.stage, **build(study, who)}
    if who.stage in ("training", "main"):
        return _working(connection, study, keys, who)
    return {"stage": who.stage, **_ending(connection, keys, who)}


def _texts(study: Study, _: Who) -> Json:
    return {"study": study.name, "questions": len(study.protocol.questions)}


def _check(study: Study, who: Who) -> Json:
    questions = [{"text": entry.text, "options": list(entry.options)} for entry in study.protocol.questions]
    return {"check": questions, "attempts_left": study.protocol.attempts - who.attempts}


def _working(connection: Connection, study: Study, keys: Keyring, who: Who) -> Json:
    tasks = {row.status: row for row in connection.execute(_AT_HAND, {"who": who.id})}
    if "open" not in tasks:
        return {"stage": "paused"}
    task = tasks["open"]
    training = who.stage == "training"
    done = connection.execute(_TRAINED, {"who": who.id}).scalar_one() if training else tally(connection, who).done
    total = min(study.protocol.training, study.training_items) if training else who.goal
    every = study.protocol.break_every
    state: Json = {
        "stage": "task",
        "training": training,
        "token": task.token,
        "prompt": task.prompt,
        "seconds": task.millis * study.protocol.watch / 1000,
        **_addresses(task, keys),
        "choice": task.choice,
        "choices": [{"key": choice, "label": CHOICE_LABELS[choice]} for choice in study.protocol.choices()],
        "reasons": [{"key": key, "label": label} for key, label in REASONS.items()],
        "done": done,
        "total": total,
        "undo": not training and done > 0,
        "rest": bool(every and done and done % every == 0),
    }
    if "ready" in tasks:
        state["next"] = _addresses(tasks["ready"], keys)
    return state


def _addresses(task: "Row[*tuple[Any, ...]]", keys: Keyring) -> Json:
    return {
        "image": f"/media/{keys.media_id(task.media, 'image')}.jpg",
        "left": f"/media/{keys.media_id(task.media, 'left')}.mp4",
        "right": f"/media/{keys.media_id(task.media, 'right')}.mp4",
    }


def _may_undo(connection: Connection, who: Who) -> bool:
    kind = connection.execute(_LAST_VOTE, {"who": who.id}).scalar_one_or_none()
    return kind is not None and kind != "training"


def _ending(connection: Connection, keys: Keyring, who: Who) -> Json:
    done = tally(connection, who).done
    finished = who.stage == "finished"
    return {
        "door": who.door,
        "answered": done,
        "outcome": "completed" if finished and done else "full" if finished else "screened",
        "code": keys.completion_code(who.pseudonym) if finished and done else None,
        "undo": finished and bool(done) and _may_undo(connection, who),
        "more": finished and who.door in ("open", "invite", "simulated"),
    }
