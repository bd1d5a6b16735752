"""The routes that an annotator's page talks to. Each answer carries the page's new state."""

import hmac
from dataclasses import asdict, dataclass
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from annotation_app.answers import Answer
from annotation_app.crowd import mturk_submission, prolific_return
from annotation_app.people import Refused
from annotation_app.sessions import Session, Sessions
from annotation_app.store import Outcome, Store
from annotation_app.view import Json

Short = Annotated[str, Field(max_length=64, pattern=r"^[\w~-]*$")]
"""Tokens, choices and reasons; PostgreSQL refuses some characters in the text that it compares."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Name(_Body):
    """The open door: a self-chosen name."""

    name: Annotated[str, Field(min_length=1, max_length=80)]


class Simulated(_Body):
    """A simulated annotator comes in."""

    secret: Annotated[str, Field(max_length=200)]
    name: Annotated[str, Field(min_length=1, max_length=80)]


class Agreement(_Body):
    """Answer to the consent page."""

    agreed: bool


class VoteBody(_Body):
    """One vote."""

    token: Short
    choice: Short
    reasons: Annotated[list[Short], Field(max_length=8)]
    loops: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class ChoiceBody(_Body):
    """The overall choice, sent before the reasons."""

    token: Short
    choice: Short


class Broken(_Body):
    """A video does not play."""

    token: Short
    which: Short


class CheckBody(_Body):
    """One option's index per question of the comprehension check."""

    answers: Annotated[list[Annotated[int, Field(ge=0, le=99)]], Field(max_length=50)]
    attempts_left: Annotated[int, Field(ge=0, le=1000)]
    """As the page shows it, so that a repeated request does not count twice."""


class UndoBody(_Body):
    """The task that stands open now, so that a repeated request does not undo twice; empty on the finish page."""

    token: Short


@dataclass(frozen=True)
class Pages:
    """Makes answers for the page: the state, and the way back to a platform where the annotator is at the end."""

    store: Store
    sessions: Sessions

    def answer(self, outcome: Outcome, session: Session, extra: Json | None = None) -> JSONResponse:
        """The new state, what was saved, or why it was refused."""
        state = {**outcome.state, **self._return(outcome.state, session)}
        if outcome.refused is not None:
            return refusal(outcome.refused, state)
        content: Json = {"state": state, **(extra or {})}
        saved, previous = outcome.saved, outcome.previous
        if saved is not None:
            content["saved"] = {"repeated": saved.repeated}
            if saved.correct is not None:
                content["feedback"] = {"correct": saved.correct, "note": saved.note}
        if previous is not None:
            content["previous"] = asdict(previous)
        return JSONResponse(content)

    def _return(self, state: Json, session: Session) -> Json:
        if "outcome" not in state:
            return {}
        crowd, outcome = self.store.study.settings.crowd, str(state["outcome"])
        if state["door"] == "prolific" and (url := prolific_return(crowd, outcome)):
            return {"url": url, "redirect": True}
        if state["door"] == "mturk":
            code = state["code"]
            answered = int(str(state["answered"]))
            form = mturk_submission(crowd, session.visit, outcome, answered, code if isinstance(code, str) else None)
            return {"submit": form} if form else {}
        return {}


def trial_routes(pages: Pages, simulation: str | None) -> APIRouter:
    """All routes below `/api`; simulated annotators come in only with the secret `simulation`."""
    router = APIRouter(prefix="/api")
    store, sessions = pages.store, pages.sessions

    @router.post("/simulated")
    def simulated(body: Simulated) -> Response:
        if simulation is None or not hmac.compare_digest(body.secret.encode(), simulation.encode()):
            raise Refused("Simulated annotators are not let in here.", "door")
        session = Session(store.enter("simulated", body.name, simulated=True), {})
        response = pages.answer(store.state(session.annotator), session)
        sessions.set_cookie(response, session)
        return response

    router.include_router(_stage_routes(pages))
    router.include_router(_task_routes(pages))
    return router


def _stage_routes(pages: Pages) -> APIRouter:
    router = APIRouter()
    store, sessions = pages.store, pages.sessions

    @router.get("/state")
    def state(request: Request) -> Response:
        session = sessions.read(request)
        if session is None:
            return JSONResponse({"state": _door(store)})
        return pages.answer(store.state(session.annotator), session)

    @router.post("/enter")
    def enter(body: Name) -> Response:
        name = " ".join(body.name.split()).casefold()
        if not name:
            raise Refused("Please write a name.", "invalid")
        session = Session(store.enter("open", name), {})
        response = pages.answer(store.state(session.annotator), session)
        sessions.set_cookie(response, session)
        return response

    @router.post("/leave")
    def leave() -> Response:
        response = JSONResponse({"state": _door(store)})
        sessions.clear_cookie(response)
        return response

    @router.post("/consent")
    def consent(request: Request, body: Agreement) -> Response:
        session = sessions.require(request)
        return pages.answer(store.consent(session.annotator, body.agreed), session)

    @router.post("/begin")
    def begin(request: Request) -> Response:
        session = sessions.require(request)
        return pages.answer(store.begin(session.annotator), session)

    @router.post("/check")
    def check(request: Request, body: CheckBody) -> Response:
        session = sessions.require(request)
        outcome, right = store.answer_check(session.annotator, body.answers, body.attempts_left)
        return pages.answer(outcome, session, {"right": right})

    return router


def _task_routes(pages: Pages) -> APIRouter:
    router = APIRouter()
    store, sessions = pages.store, pages.sessions

    @router.post("/choose")
    def choose(request: Request, body: ChoiceBody) -> Response:
        session = sessions.require(request)
        outcome = store.choose(session.annotator, body.token, body.choice)
        if outcome.refused is not None:
            return pages.answer(outcome, session)
        return JSONResponse({"chosen": body.choice})

    @router.post("/vote")
    def vote(request: Request, body: VoteBody) -> Response:
        session = sessions.require(request)
        answer = Answer(body.choice, tuple(body.reasons), body.loops)
        return pages.answer(store.vote(session.annotator, body.token, answer), session)

    @router.post("/broken")
    def broken(request: Request, body: Broken) -> Response:
        session = sessions.require(request)
        return pages.answer(store.report_broken(session.annotator, body.token, body.which), session)

    @router.post("/undo")
    def undo(request: Request, body: UndoBody) -> Response:
        session = sessions.require(request)
        return pages.answer(store.undo(session.annotator, body.token), session)

    @router.post("/more")
    def more(request: Request) -> Response:
        session = sessions.require(request)
        return pages.answer(store.more(session.annotator), session)

    return router


def refusal(refused: Refused, state: Json | None = None) -> JSONResponse:
    """A refusal that the page can show; 401 where the session is the trouble."""
    content: Json = {"message": refused.message, "reason": refused.reason}
    if state is not None:
        content["state"] = state
    return JSONResponse(content, status_code=401 if refused.reason == "session" else 409)


def _door(store: Store) -> Json:
    study = store.study
    return {"stage": "door", "study": study.name, "open": "open" in study.settings.doors}
