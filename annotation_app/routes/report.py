"""The live leaderboard at `/report`, for the administrator or, where the study's author says so, for everybody."""

from collections.abc import Callable
from html import escape

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from annotation_app.live import Reporter
from annotation_app.settings import StudyError

_EMPTY = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="5"><meta name="color-scheme" content="light dark"><title>Report</title>
<body style="font-family: system-ui, sans-serif; margin: 3rem"><main><h1>Report</h1><p>{}</p></main></body></html>"""


def report_routes(reporter: Reporter, allowed: Callable[[Request], bool]) -> APIRouter:
    """`/report`; `allowed` says who may see it."""
    router = APIRouter()

    @router.get("/report")
    def report(request: Request) -> Response:
        if not allowed(request):
            text = "This page is for the study's administrator. Log in at /admin, or serve with --public-report."
            return HTMLResponse(_EMPTY.format(escape(text)), status_code=403)
        try:
            return HTMLResponse(reporter.report().html)
        except StudyError as error:
            return HTMLResponse(_EMPTY.format(escape(str(error))))

    return router
