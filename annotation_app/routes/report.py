"""The live leaderboard at `/report`, for the administrator or, where the study's author says so, for everybody."""

from collections.abc import Callable

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from annotation_app.live import Reporter
from annotation_app.routes.admin import page
from annotation_app.settings import StudyError


def report_routes(reporter: Reporter, allowed: Callable[[Request], bool]) -> APIRouter:
    """`/report`; `allowed` says who may see it."""
    router = APIRouter()
    one = CapacityLimiter(1)  # readers wait beside the threads that take votes, not in them

    @router.get("/report")
    async def report(request: Request) -> Response:
        if not allowed(request):
            text = "This page is for the study's administrator. Log in at /admin, or serve with --public-report."
            return page("message.html", 403, title="Report", text=text, back="/admin")
        try:
            made = await to_thread.run_sync(reporter.report, limiter=one)
            return HTMLResponse(made.html)
        except StudyError as error:
            return page("message.html", title="Report", text=str(error), back=None)

    return router
