"""Brings up the Gradio page beside a server that answers already: votes do not wait for gradio's import."""

import asyncio
import os
import threading
from contextlib import AsyncExitStack

from starlette.types import ASGIApp, Receive, Scope, Send

from annotation_app.study import Study

_HEAD_START = 1.0
"""Seconds; the import would take half of the processor's time from the first answers."""


class LazyPage:
    """An ASGI application that builds the real one in a thread; requests wait until it is there."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._app: ASGIApp | None = None
        self._building: asyncio.Future[None] | None = None
        self._stack = AsyncExitStack()
        self.settled = threading.Event()
        """Set when the page is there, or cannot be."""

    async def prepare(self) -> None:
        """Build the page once; callers in between wait for the same one."""
        if self._building is None:
            self._building = asyncio.ensure_future(self._build())
        await asyncio.shield(self._building)

    async def prepare_soon(self) -> None:
        """Build the page after a moment, in which those who come back after a restart are answered first."""
        await asyncio.sleep(_HEAD_START)
        await self.prepare()

    async def close(self) -> None:
        """End what the page had started."""
        if self._building is not None:
            self._building.cancel()
        await self._stack.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the page."""
        if self._app is None:
            await self.prepare()
        assert self._app is not None
        await self._app(scope, receive, send)

    async def _build(self) -> None:
        try:
            app = await asyncio.to_thread(_make, self._study)
            await self._stack.enter_async_context(app.router.lifespan_context(app))
            self._app = app
        finally:
            self.settled.set()


def _make(study: Study):  # type: ignore[no-untyped-def]
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported: it looks up hosts on its own
    from annotation_app.ui import page_app

    return page_app(study)
