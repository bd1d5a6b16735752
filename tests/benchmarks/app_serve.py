"""A server process for the load and fault benchmarks: `app` is the real one, `bare` only repeats its statements."""

import gc
import sys
import uuid
from pathlib import Path


def bare_app(database: str) -> object:
    """FastAPI routes that do the vote's writes and nothing else: no session, no check, no view, no guard."""
    import secrets
    from itertools import count
    from typing import Annotated

    from fastapi import FastAPI
    from pydantic import BaseModel, Field
    from sqlalchemy import Connection, insert, select, update

    from annotation_app.events import Event, record
    from annotation_app.schema import AnnotatorRow, ComparisonRow, TaskRow, VoteRow
    from annotation_app.store import wall_clock
    from annotation_app.study import open_database

    opened, _ = open_database(database)
    with opened.read() as connection:
        free = list(connection.execute(select(ComparisonRow.id).where(ComparisonRow.kind == "main")).scalars())
    numbers = count(1)
    app = FastAPI()

    class Body(BaseModel):
        token: Annotated[str, Field(max_length=64)] = ""
        choice: str = ""
        reasons: list[str] = []
        loops: int = 0

    def lease(connection: Connection, status: str) -> dict[str, object]:
        now, comparison = wall_clock(), free.pop()
        task = {
            "token": secrets.token_urlsafe(18),
            "media": secrets.token_hex(12),
            "annotator": 1,
            "comparison": comparison,
            "kind": "main",
            "first_left": False,
            "position": next(numbers),
            "status": status,
            "served_at": now if status == "open" else None,
            "lease_until": now,
        }
        change = update(ComparisonRow).where(ComparisonRow.id == comparison)
        connection.execute(change.values(taken=ComparisonRow.taken + 1, shuffle=secrets.randbits(31)))
        connection.execute(update(AnnotatorRow).where(AnnotatorRow.id == 1).values(block="L"))
        result = connection.execute(insert(TaskRow), task)
        task["id"] = result.inserted_primary_key[0]  # type: ignore[index]
        return task

    state: dict[str, dict[str, object]] = {}

    def start(connection: Connection) -> None:
        row = {"id": 1, "pseudonym": "x", "door": "simulated", "stage": "main", "attempts": 0, "goal": 0, "block": ""}
        times = {"simulated": True, "created_at": 0, "seen_at": 0}
        connection.execute(insert(AnnotatorRow), {**row, **times})
        state["open"], state["ready"] = lease(connection, "open"), lease(connection, "ready")

    opened.transact(start)

    def answer() -> dict[str, object]:
        task, follows = state["open"], state["ready"]
        return {"state": {"stage": "task", "token": task["token"], "next": {"left": follows["media"]}}}

    @app.get("/health")
    def health() -> dict[str, object]:
        return {}

    @app.post("/api/simulated")
    @app.post("/api/consent")
    @app.post("/api/begin")
    def begin() -> dict[str, object]:
        return answer()

    class Choice(BaseModel):
        token: Annotated[str, Field(max_length=64)] = ""
        choice: str = ""

    @app.post("/api/choose")
    def choose(body: Choice) -> dict[str, object]:
        def write(connection: Connection) -> None:
            now, task = wall_clock(), state["open"]
            change = update(TaskRow).where(TaskRow.id == task["id"])
            connection.execute(change.values(choice=body.choice, lease_until=now))
            record(connection, [Event("task.chosen", 1, int(str(task["id"])), {"choice": body.choice})], now)

        opened.transact(write)
        return {"chosen": body.choice}

    @app.post("/api/vote")
    def vote(body: Body) -> dict[str, object]:
        def write(connection: Connection) -> None:
            now, task = wall_clock(), state["open"]
            row = {
                "vote_id": uuid.uuid4().hex,
                "task": task["id"],
                "annotator": 1,
                "comparison": task["comparison"],
                "kind": "main",
                "left_model": "a",
                "right_model": "b",
                "choice": body.choice,
                "reasons": ";".join(body.reasons),
                "shown_at": now,
                "answered_at": now,
                "loops": body.loops,
                "simulated": True,
            }
            connection.execute(insert(VoteRow), row)
            connection.execute(update(TaskRow).where(TaskRow.id == task["id"]).values(status="answered"))
            done = update(ComparisonRow).where(ComparisonRow.id == task["comparison"])
            connection.execute(done.values(done=ComparisonRow.done + 1))
            record(connection, [Event("task.answered", 1, int(str(task["id"])), {"choice": body.choice})], now)
            promote = update(TaskRow).where(TaskRow.id == state["ready"]["id"])
            connection.execute(promote.values(status="open", served_at=now, lease_until=now))
            state["open"], state["ready"] = state["ready"], lease(connection, "ready")
            events = [Event("task.served", 1, 1), Event("task.leased", 1, 1, {"comparison": 1, "kind": "main"})]
            record(connection, events, now)

        opened.transact(write)
        return answer()

    return app


def make_faulty(folder: Path) -> None:
    """Let files in `folder` disturb this process: `clock` holds seconds by which it is off, `disk` says it is full."""
    from collections.abc import Iterator
    from contextlib import contextmanager

    from sqlalchemy import Connection
    from sqlalchemy.exc import OperationalError

    from annotation_app import store
    from annotation_app.database import Database

    steady, write = store.wall_clock, Database.write

    def clock() -> int:
        off = folder / "clock"
        return steady() + (1000 * int(off.read_text() or 0) if off.exists() else 0)

    @contextmanager
    def full_disk(self: Database) -> Iterator[Connection]:
        with write(self) as connection:
            yield connection
            if (folder / "disk").exists():
                raise OperationalError("COMMIT", {}, Exception("database or disk is full"))

    store.Store.__init__.__defaults__ = (clock,)  # type: ignore[attr-defined]
    Database.write = full_disk  # type: ignore[method-assign]


def main() -> None:
    mode, database, port, secret = sys.argv[1:5]
    gc.disable()  # as `ti2v-bench annotate` does while it imports
    import uvicorn

    from annotation_app.server import ServeOptions, serve

    gc.freeze()
    gc.enable()
    if mode == "bare":
        uvicorn.run(bare_app(database), host="127.0.0.1", port=int(port), log_level="warning", access_log=False)  # type: ignore[arg-type]
        return
    if mode == "faulty":
        make_faulty(Path(sys.argv[5]))
    serve(database, ServeOptions(port=int(port), simulation=secret, rate=1000.0))


if __name__ == "__main__":
    main()
