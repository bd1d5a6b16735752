"""Puts the parts together: our routes, the Gradio page at `/`, the guard before them all."""

import asyncio
import contextlib
import ctypes
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from annotation_app.database import Unavailable
from annotation_app.guard import App, Guard, GuardSettings
from annotation_app.live import Reporter
from annotation_app.page import LazyPage
from annotation_app.people import Refused
from annotation_app.routes.admin import Administrator, NotAdministrator, admin_routes, page
from annotation_app.routes.doors import door_routes
from annotation_app.routes.files import media_routes
from annotation_app.routes.report import report_routes
from annotation_app.routes.trial import Pages, refusal, trial_routes
from annotation_app.sessions import Sessions
from annotation_app.settings import StudyError
from annotation_app.store import Store
from annotation_app.study import open_study

_THREADS = 12
"""Requests at work at the same time; more would wait for the same interpreter and writer, and each keeps memory."""


@dataclass(frozen=True)
class ServeOptions:
    """How a study is served."""

    host: str = "127.0.0.1"
    port: int = 7860
    public_url: str | None = None
    """Address under which annotators reach the server, where a proxy stands before it."""
    key: Path | None = None
    public_report: bool = False
    """Whether anybody may see the live report; otherwise the administrator only."""
    rate: float = 10.0
    """Requests per second that one annotator may make, on average."""
    simulation: str | None = None
    """Secret by which simulated annotators come in; None: none may."""


def build_app(store: Store, options: ServeOptions, page_of_study: LazyPage) -> App:
    """The whole application as one ASGI callable."""
    secure = (options.public_url or "").startswith("https://")
    sessions = Sessions(store.keys, secure)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = _THREADS
        preparing = asyncio.ensure_future(page_of_study.prepare_soon())
        yield
        preparing.cancel()
        await page_of_study.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.include_router(trial_routes(Pages(store, sessions), options.simulation))
    app.include_router(media_routes(store))

    app.include_router(door_routes(store, sessions))
    administrator = Administrator(store, secure)
    app.include_router(admin_routes(store, administrator))
    reporter = Reporter(store.address, store.study.name, store.study.star)
    app.include_router(report_routes(reporter, lambda r: options.public_report or administrator.is_in(r)))

    @app.get("/health")
    def health() -> JSONResponse:
        return JSONResponse({"ok": True, "study": bool(store.study)})

    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(NotAdministrator, lambda *_: _login(administrator))
    app.add_exception_handler(StudyError, _mistake)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.mount("/", page_of_study)
    return Guard(app, _guard_settings(store, options, secure))


def serve(database: str | Path, options: ServeOptions, ready: Callable[[], None] = lambda: None) -> None:
    """Serve the study in `database` until interrupted; `ready` is called once the address answers.

    Raises:
        StudyError: the study cannot be opened, or the address is taken.
    """
    store = Store(open_study(database, options.key))
    try:
        server, page_of_study = _server(store, options)

        async def main() -> None:
            serving = asyncio.ensure_future(server.serve())
            while not (page_of_study.settled.is_set() or serving.done()):
                await asyncio.sleep(0.02)
            if page_of_study.settled.is_set():
                ready()
            await serving

        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(main())
    finally:
        store.close()


@contextlib.contextmanager
def serving(database: str | Path, options: ServeOptions) -> Iterator[Store]:
    """Serve the study from a thread of this process while the context is entered; gives its store.

    Raises:
        StudyError: the study cannot be opened, or the address is taken.
    """
    store = Store(open_study(database, options.key))
    try:
        server, page_of_study = _server(store, options)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not page_of_study.settled.wait(0.05) and thread.is_alive():
            pass
        try:
            yield store
        finally:
            server.should_exit = True
            thread.join(10)
    finally:
        store.close()


def _share_arenas() -> None:
    """Let all threads allocate from two arenas: glibc gives each its own, which keeps what was freed in it for good."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none, and no arenas
    if mallopt is not None:
        mallopt(-8, 2)  # M_ARENA_MAX


def _server(store: Store, options: ServeOptions) -> tuple[uvicorn.Server, LazyPage]:
    _share_arenas()
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.host, options.port))
        except OSError as error:
            reason = error.strerror or error
            message = f"{options.host}:{options.port} cannot be used ({reason}). Choose another with --port."
            raise StudyError(message) from error
    page_of_study = LazyPage(store.study)
    config = uvicorn.Config(
        build_app(store, options, page_of_study),
        host=options.host,
        port=options.port,
        log_level="warning",
        access_log=False,  # it would write network addresses
        timeout_keep_alive=75,
        server_header=False,
        date_header=False,
    )
    return uvicorn.Server(config), page_of_study


def _guard_settings(store: Store, options: ServeOptions, secure: bool) -> GuardSettings:
    study = store.study
    mturk = study.settings.crowd.mturk_hosts if "mturk" in study.settings.doors else ()
    loopback = options.host in ("127.0.0.1", "localhost", "::1")
    public = urlsplit(options.public_url).hostname if options.public_url else None
    hosts = frozenset({"127.0.0.1", "localhost", "::1", *([public] if public else [])})
    return GuardSettings(
        hosts=hosts if loopback or public else None,
        frame_ancestors=mturk,
        form_targets=mturk,
        public=urlsplit(options.public_url).netloc if options.public_url else "",
        secure=secure,
        rate=options.rate,
    )


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    if request.url.path.startswith("/api/"):
        return refusal(error)
    return page("message.html", 409, title="Not this way", text=error.message, back=None)


def _login(administrator: Administrator) -> Response:
    return page("login.html", 403, configured=administrator.password_hash is not None)


def _mistake(_: Request, error: Exception) -> Response:
    return page("message.html", 409, title="Not done", text=str(error), back="/admin")


def _unavailable(_: Request, __: Exception) -> JSONResponse:
    content = {"message": "This could not be saved just now. It will be tried again.", "reason": "busy"}
    return JSONResponse(content, status_code=503, headers={"retry-after": "1"})


def _invalid(_: Request, __: Exception) -> JSONResponse:
    content = {"message": "The request has another form than this page sends.", "reason": "invalid"}
    return JSONResponse(content, status_code=422)
