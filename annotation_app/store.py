"""All that the server may do with a study. Each method is one transaction; nobody else opens one."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, func, insert, select, update

from annotation_app import answers, exclusion, people, tasks
from annotation_app.answers import Answer, Saved
from annotation_app.events import Event, record
from annotation_app.media import find_media
from annotation_app.monitor import Overview, overview
from annotation_app.people import Refused, Who
from annotation_app.schema import ComparisonRow, InviteRow, StudyRow
from annotation_app.sequence import goal_for
from annotation_app.study import OpenStudy, Study, read_study
from annotation_app.view import Json, view

T = TypeVar("T")

_FACTS_SECONDS = 2.0
"""How old the study's facts may be: pausing and growth reach all processes within this time."""
_SWEEP_SECONDS = 5.0
_REMEMBERED = 10_000
"""Tasks whose serving time this process remembers by its steady clock."""


def wall_clock() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Outcome:
    """Answer to an action: what was saved, and the page's new state."""

    state: Json
    saved: Saved | None = None
    refused: Refused | None = None
    previous: Answer | None = None
    """What was answered in the task that an undo opened again."""


class Store:
    """A study in use. Safe to share between threads; several processes may use one database."""

    def __init__(self, opened: OpenStudy, clock: Callable[[], int] = wall_clock) -> None:
        self._database = opened.database
        self.address = opened.database.url.render_as_string(hide_password=False)
        """The database's URL, with its password: for processes of ours only."""
        self.keys = opened.keys
        self._clock = clock
        self._facts = opened.facts()
        self._facts_at = self._swept_at = time.monotonic()
        self._served: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()  # one thread reads the facts anew, the others go on with what is there

    @property
    def study(self) -> Study:
        """The study's facts, at most two seconds old."""
        if time.monotonic() - self._facts_at > _FACTS_SECONDS and self._refreshing.acquire(blocking=False):
            try:
                with self._database.read() as connection:
                    self._facts = read_study(connection, self._database)
                self._facts_at = time.monotonic()
            finally:
                self._refreshing.release()
        return self._facts

    def close(self) -> None:
        """Close all connections."""
        self._database.dispose()

    # ---- coming in

    def enter(self, door: str, identity: str, simulated: bool = False) -> int:
        """Number of the annotator behind `identity`, who stays unknown to the database.

        Raises:
            Refused: the study has no such door.
        """
        if not simulated and door not in self.study.settings.doors:
            raise Refused("This study is not open in this way. Please use the link you were given.", "door")
        pseudonym = self.keys.pseudonym("simulated" if simulated else door, identity)
        name = "simulated" if simulated else door
        return self._write(lambda c, now: people.enter(c, name, pseudonym, now, simulated))

    def enter_invited(self, token: str) -> int:
        """Number of the annotator who holds this invitation.

        Raises:
            Refused: no such invitation, or it was revoked.
        """
        hashed = self.keys.hashed(token)
        with self._database.read() as connection:
            row = connection.execute(select(InviteRow.revoked).where(InviteRow.token_hash == hashed)).one_or_none()
        if row is None or row.revoked:
            raise Refused("This invitation is not valid. Please ask for a new one.", "door")
        return self.enter("invite", token)

    # ---- moving on

    def state(self, annotator: int) -> Outcome:
        """Where the annotator is; leases a task if they should have one."""
        return self._act(annotator, lambda *_: None, stays=True)

    def consent(self, annotator: int, agreed: bool) -> Outcome:
        """Leave the consent page."""
        return self._act(annotator, lambda c, who, now: people.consent(c, who, agreed, now))

    def begin(self, annotator: int) -> Outcome:
        """Leave the instructions."""
        return self._act(annotator, lambda c, who, now: people.begin(c, self._facts, who, now))

    def answer_check(self, annotator: int, given: list[int], attempts_left: int) -> tuple[Outcome, int]:
        """Take the comprehension check; also return how many answers were right.

        An attempt is counted once: `attempts_left` must be what the page was told.
        """
        right: list[int] = []
        outcome = self._act(
            annotator,
            lambda c, who, now: right.append(people.answer_check(c, self._facts, who, given, attempts_left, now)),
        )
        return outcome, right[-1] if right else 0

    def choose(self, annotator: int, token: str, choice: str) -> Outcome:
        """Keep the overall choice of a task. The page stays where it is: only a refusal tells it the state."""
        study, waited = self.study, self._waited(token)

        def transaction(connection: Connection, now: int) -> Json:
            who = _admitted(connection, annotator)
            answers.commit_choice(connection, study, who, token, choice, now, waited)
            return {}

        return self._attempt(annotator, transaction)

    def vote(self, annotator: int, token: str, answer: Answer) -> Outcome:
        """Store a vote and lease what comes next, in one transaction."""
        saved: list[Saved] = []

        def work(connection: Connection, who: Who, now: int) -> None:
            saved.append(answers.vote(connection, self._facts, who, token, answer, now))

        outcome = self._act(annotator, work, stays=True)
        if outcome.refused is not None:
            return outcome
        self._forget(token)
        return replace(outcome, saved=saved[-1])

    def report_broken(self, annotator: int, token: str, which: str) -> Outcome:
        """Record that a video does not play and go on."""
        saved: list[Saved] = []
        outcome = self._act(
            annotator, lambda c, who, now: saved.append(answers.report_broken(c, who, token, which, now))
        )
        return replace(outcome, saved=saved[-1] if saved and outcome.refused is None else None)

    def undo(self, annotator: int, token: str) -> Outcome:
        """Open the last answered task again; `token` is that of the task open now, or empty."""
        previous: list[Answer] = []

        def work(connection: Connection, who: Who, now: int) -> None:
            previous.append(answers.undo(connection, self._facts, who, token, now))
            if who.stage == "finished":
                people.resume(connection, who, who.goal, now)

        outcome = self._act(annotator, work)
        return replace(outcome, previous=previous[-1] if previous and outcome.refused is None else None)

    def more(self, annotator: int) -> Outcome:
        """Go on after the finish page if the study has new places."""

        def work(connection: Connection, who: Who, now: int) -> None:
            if who.stage != "finished" or who.door not in ("open", "invite", "simulated"):
                raise Refused("There is nothing to go on with.", "stage")
            study = self._facts
            free = select(func.count()).where(ComparisonRow.kind == "main", ComparisonRow.taken < ComparisonRow.wanted)
            mains = tasks.tally(connection, who).mains + connection.execute(free).scalar_one()
            cap = study.protocol.per_annotator
            goal = goal_for(mains if cap is None else min(mains, cap), who.pseudonym, study.protocol, study.gold_items)
            people.resume(connection, who, max(goal, who.goal), now)

        return self._act(annotator, work)

    # ---- media

    def media(self, address: str) -> Path | None:
        """File behind a media address (without suffix); None where there is none."""
        with self._database.read() as connection:
            name = find_media(connection, self.keys, address)
        return None if name is None else self._facts.media / name

    # ---- the study's author

    def pause(self, paused: bool) -> None:
        """Stop or go on leasing tasks; answers to open tasks are taken either way."""

        def work(connection: Connection, now: int) -> None:
            connection.execute(update(StudyRow).values(paused=paused))
            record(connection, [Event("study.paused" if paused else "study.resumed")], now)

        self._write(work)
        self._facts_at = 0.0

    def exclude(self, pseudonym: str, reason: str) -> None:
        """Take an annotator's votes out of the count (StudyError where that cannot be)."""
        self._write(lambda c, now: exclusion.exclude(c, pseudonym, reason, now))

    def include(self, pseudonym: str) -> None:
        """Count an excluded annotator's votes again (StudyError where that cannot be)."""
        self._write(lambda c, now: exclusion.include(c, pseudonym, now))

    def invite(self, count: int) -> list[str]:
        """Draw invitation tokens; only their keyed hashes are kept."""
        tokens = [secrets.token_urlsafe(12) for _ in range(count)]

        def work(connection: Connection, now: int) -> None:
            rows = [{"token_hash": self.keys.hashed(t), "created_at": now, "revoked": False} for t in tokens]
            connection.execute(insert(InviteRow), rows)
            record(connection, [Event("study.invited", detail={"count": count})], now)

        self._write(work)
        return tokens

    def overview(self) -> Overview:
        """The figures of the admin page."""
        with self._database.read(snapshot=True) as connection:
            return overview(connection)

    def votes_csv(self) -> bytes:
        """The vote table as CSV."""
        from annotation_app.export import as_csv, read_votes  # pandas: not needed to take votes

        with self._database.read(snapshot=True) as connection:
            return as_csv(read_votes(connection))

    def sweep(self) -> int:
        """Take back the tasks whose lease is over."""
        return self._write(tasks.sweep)

    # ---- inside

    def _write(self, work: Callable[[Connection, int], T]) -> T:
        return self._database.transact(lambda connection: work(connection, self._clock()))

    def _act(self, annotator: int, work: Callable[[Connection, Who, int], object], stays: bool = False) -> Outcome:
        """Do `work` for the annotator, then lease what they need and show where they are.

        What is refused changes nothing, but the page is still told where it is. `stays`: `work` does not change the
        annotator's own row.
        """
        study = self.study
        self._sweep_sometimes()

        def transaction(connection: Connection, now: int) -> Json:
            who = _admitted(connection, annotator)
            work(connection, who, now)
            if not stays:
                who = people.read(connection, annotator)
            who = tasks.serve(connection, study, who, now)
            return view(connection, study, self.keys, who)

        return self._attempt(annotator, transaction)

    def _attempt(self, annotator: int, transaction: Callable[[Connection, int], Json]) -> Outcome:
        try:
            outcome = Outcome(self._write(transaction))
        except Refused as refused:
            if refused.reason == "session":
                raise
            outcome = Outcome(self._look(annotator), refused=refused)
        self._remember(outcome.state)
        return outcome

    def _look(self, annotator: int) -> Json:
        def work(connection: Connection, now: int) -> Json:
            who = people.read(connection, annotator, lock=True)
            return view(connection, self._facts, self.keys, tasks.serve(connection, self._facts, who, now))

        return self._write(work)

    def _sweep_sometimes(self) -> None:
        if time.monotonic() - self._swept_at > _SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            self._write(tasks.sweep)

    def _remember(self, state: Json) -> None:
        token = state.get("token")
        if isinstance(token, str):
            with self._lock:
                self._served.setdefault(token, time.monotonic())
                while len(self._served) > _REMEMBERED:
                    self._served.popitem(last=False)

    def _forget(self, token: str) -> None:
        with self._lock:
            self._served.pop(token, None)

    def _waited(self, token: str) -> int:
        """Milliseconds since this process served the task, by a clock that is never set."""
        since = self._served.get(token)
        return 0 if since is None else round((time.monotonic() - since) * 1000)


def _admitted(connection: Connection, annotator: int) -> Who:
    """The annotator, locked; Refused where they were excluded."""
    who = people.read(connection, annotator, lock=True)
    if who.excluded is not None:
        raise Refused("Your part in this study has ended. Thank you.", "closed")
    return who
