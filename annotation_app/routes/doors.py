"""The ways in that are links: invitations, Prolific, MTurk. Each sets a signed session and leads to the page."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query
from fastapi.responses import RedirectResponse, Response

from annotation_app.crowd import MTurkVisit, allowed_target
from annotation_app.people import Refused
from annotation_app.sessions import Session, Sessions
from annotation_app.store import Store

Identifier = Annotated[str, Query(max_length=128)]


def door_routes(store: Store, sessions: Sessions) -> APIRouter:
    """`/join/<token>`, `/prolific` and `/mturk`."""
    router = APIRouter()

    @router.get("/join/{token}")
    def join(token: str) -> Response:
        return _enter(sessions, Session(store.enter_invited(token[:128]), {}))

    @router.get("/prolific")
    def prolific(
        PROLIFIC_PID: Identifier = "",  # noqa: N803 - the platform's names
        STUDY_ID: Identifier = "",  # noqa: N803
        SESSION_ID: Identifier = "",  # noqa: N803
    ) -> Response:
        if not (PROLIFIC_PID and STUDY_ID and SESSION_ID):
            raise Refused("Prolific's identifiers are missing. Please open the study from Prolific again.", "door")
        return _enter(sessions, Session(store.enter("prolific", PROLIFIC_PID), {}))

    @router.get("/mturk")
    def mturk(
        assignmentId: Identifier = "",  # noqa: N803
        workerId: Identifier = "",  # noqa: N803
        turkSubmitTo: Annotated[str, Query(max_length=300)] = "",  # noqa: N803
    ) -> Response:
        visit = MTurkVisit(assignmentId, workerId, turkSubmitTo)
        crowd = store.study.settings.crowd
        if "mturk" not in store.study.settings.doors:
            raise Refused("This study is not open in this way. Please use the link you were given.", "door")
        if visit.preview:
            return RedirectResponse("/#preview", status_code=303)
        if not allowed_target(crowd, turkSubmitTo):
            raise Refused("The address to submit to is not MTurk's. Please open the task from MTurk again.", "door")
        annotator = store.enter("mturk", visit.worker)
        session = Session(annotator, {"assignment": visit.assignment, "submit_to": visit.submit_to})
        # Browsers send no cookie from a frame of another site; the page takes its session from the fragment.
        return RedirectResponse(f"/#s={quote(sessions.token(session))}", status_code=303)

    return router


def _enter(sessions: Sessions, session: Session) -> Response:
    response = RedirectResponse("/", status_code=303)
    sessions.set_cookie(response, session)
    return response
