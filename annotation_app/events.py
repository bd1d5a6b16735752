"""The append-only record of what happened in a study."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert

from annotation_app.schema import EventRow

_INSERT = insert(EventRow)


@dataclass(frozen=True)
class Event:
    """One change of state."""

    what: str
    annotator: int | None = None
    task: int | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


def record(connection: Connection, events: Sequence[Event], at: int | None = None) -> None:
    """Append events in the transaction that makes the change; `at` in milliseconds, default now."""
    moment = time.time_ns() // 1_000_000 if at is None else at
    rows = [
        {"at": moment, "what": e.what, "annotator": e.annotator, "task": e.task, "detail": json.dumps(dict(e.detail))}
        for e in events
    ]
    if rows:
        connection.execute(_INSERT, rows)
