"""The live leaderboard at `/report`, for the administrator or, where the study's author says so, for everybody."""

from collections.abc import Callable

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from annotation_app.live import Reporter
from annotation_app.routes.admin import page
from annotation_app.settings import StudyError


def report_routes(reporter: Reporter, allowed: Callable[[Request], bool]) -> APIRouter:
    """`/report`; `allowed` says who may see it."""
    router = APIRouter()

    @router.get("/report")
    def report(request: Request) -> Response:
        if not allowed(request):
            text = "This page is for the study's administrator. Log in at /admin, or serve with --public-report."
            return page("message.html", 403, title="Report", text=text, back="/admin")
        try:
            return HTMLResponse(reporter.report().html)
        except StudyError as error:
            return page("message.html", title="Report", text=str(error), back=None)

    return router
