"""The administrator's pages, behind a password and apart from annotators' sessions."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from itsdangerous import BadSignature, URLSafeTimedSerializer

from annotation_app.passwords import admin_hash, password_matches
from annotation_app.store import Store

if TYPE_CHECKING:
    from jinja2 import Environment

ADMIN_COOKIE = "ti2v_admin"
_SECONDS = 8 * 3600
_LIVE_SECONDS = 10
"""How often the figures on the page are brought up to date."""
_STATIC = Path(__file__).parent.parent / "static"

Text = Annotated[str, Form(max_length=300, pattern=r"^[^\x00]*$")]  # PostgreSQL takes no NUL


class NotAdministrator(Exception):  # noqa: N818 - a state, not a mistake
    """The page is for the administrator, who has not logged in."""


class Administrator:
    """Recognises the administrator by a signed cookie."""

    def __init__(self, store: Store, secure: bool) -> None:
        self.password_hash = admin_hash()
        self._secure = secure
        # The hash is part of the salt: a new password ends all sessions.
        salt = f"{store.keys.check()}/{self.password_hash}"
        self._signer = URLSafeTimedSerializer(store.keys.signing("admin"), salt=salt)

    def let_in(self, response: Response) -> None:
        """Give the browser an administrator's session."""
        response.set_cookie(
            ADMIN_COOKIE,
            str(self._signer.dumps("admin")),
            max_age=_SECONDS,
            httponly=True,
            samesite="strict",
            secure=self._secure,
        )

    def is_in(self, request: Request) -> bool:
        """Whether the request comes from the administrator."""
        if self.password_hash is None:
            return False
        try:
            return bool(self._signer.loads(request.cookies.get(ADMIN_COOKIE, ""), max_age=_SECONDS) == "admin")
        except BadSignature:
            return False

    def require(self, request: Request) -> None:
        """Go on only for the administrator.

        Raises:
            NotAdministrator: for everybody else.
        """
        if not self.is_in(request):
            raise NotAdministrator


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader  # no vote needs it: a server that starts again does not wait

    folder = Path(__file__).parent.parent / "templates"
    return Environment(loader=FileSystemLoader(folder), autoescape=True, trim_blocks=True)


def page(template: str, status: int = 200, **values: object) -> HTMLResponse:
    """A page made from one of our templates."""
    return HTMLResponse(_templates().get_template(template).render(**values), status, {"cache-control": "no-store"})


def admin_routes(store: Store, administrator: Administrator) -> APIRouter:
    """All routes below `/admin`."""
    router = APIRouter(prefix="/admin")
    router.include_router(_session_routes(administrator))

    @router.get("")
    def admin(request: Request) -> Response:
        administrator.require(request)
        return page("admin.html", study=store.study, now=store.overview(), seconds=_LIVE_SECONDS)

    @router.get("/live.js")
    def live() -> Response:
        headers = {"cache-control": "no-cache"}
        return FileResponse(_STATIC / "admin.js", media_type="text/javascript", headers=headers)

    @router.post("/pause")
    def pause(request: Request, paused: Text) -> Response:
        administrator.require(request)
        store.pause(paused == "1")
        return RedirectResponse("/admin", status_code=303)

    @router.post("/exclude")
    def exclude(request: Request, annotator: Text, reason: Text) -> Response:
        administrator.require(request)
        store.exclude(annotator, reason)
        return RedirectResponse("/admin", status_code=303)

    @router.post("/include")
    def include(request: Request, annotator: Text) -> Response:
        administrator.require(request)
        store.include(annotator)
        return RedirectResponse("/admin", status_code=303)

    @router.get("/votes.csv")
    def votes(request: Request) -> Response:
        administrator.require(request)
        headers = {"content-disposition": 'attachment; filename="votes.csv"', "cache-control": "no-store"}
        return Response(store.votes_csv(), media_type="text/csv", headers=headers)

    return router


def _session_routes(administrator: Administrator) -> APIRouter:
    router = APIRouter()

    @router.post("/login")
    def login(password: Annotated[str, Form(max_length=200)]) -> Response:
        hashed = administrator.password_hash
        if hashed is None or not password_matches(password, hashed):
            return page("login.html", 403, configured=hashed is not None, message="That is not the password.")
        response = RedirectResponse("/admin", status_code=303)
        administrator.let_in(response)
        return response

    @router.post("/logout")
    def logout() -> Response:
        response = RedirectResponse("/admin", status_code=303)
        response.delete_cookie(ADMIN_COOKIE, httponly=True, samesite="strict")
        return response

    return router
