"""The media route: opaque addresses, byte ranges, and headers that tell nothing about the file."""

from collections import OrderedDict
from pathlib import Path
from threading import Lock

from fastapi import APIRouter
from fastapi.responses import FileResponse, JSONResponse, Response

from annotation_app.store import Store

_TYPES = {".mp4": "video/mp4", ".jpg": "image/jpeg"}
_FIXED_DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
"""In place of the file's own date, which would tell files apart."""
_REMEMBERED = 4096


def media_routes(store: Store) -> APIRouter:
    """`/media/<address>.<suffix>`, for GET, HEAD and byte ranges."""
    router = APIRouter()
    remembered: OrderedDict[str, Path] = OrderedDict()
    lock = Lock()

    def find(address: str) -> Path | None:
        with lock:
            path = remembered.get(address)
        if path is None and (path := store.media(address)) is not None:
            with lock:
                remembered[address] = path
                if len(remembered) > _REMEMBERED:
                    remembered.popitem(last=False)
        return path

    @router.api_route("/media/{name}", methods=["GET", "HEAD"])
    def media(name: str) -> Response:
        address, dot, suffix = name.partition(".")
        path = find(address) if address.isalnum() and len(address) < 80 else None
        if path is None or path.suffix != dot + suffix or not path.is_file():
            return JSONResponse({"message": "There is no such file.", "reason": "missing"}, status_code=404)
        return FileResponse(
            path,
            media_type=_TYPES[path.suffix],
            headers={
                "cache-control": "private, max-age=86400, immutable",
                "etag": f'"{address}"',
                "last-modified": _FIXED_DATE,
                "cross-origin-resource-policy": "same-origin",
            },
        )

    return router
