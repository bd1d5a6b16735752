"""Stands before every route: hosts, origins, sizes, rates, and the headers of every answer."""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SESSION_COOKIE = "ti2v_session"
BODY_LIMIT = 64 * 1024
"""Bytes; the largest honest request is a vote of a few hundred."""

_OWN = ("/api/", "/admin", "/media/", "/join/", "/prolific", "/mturk", "/report", "/health")
"""Where our own routes lie; Gradio has the rest, and is asked for nothing but its page."""
_GRADIO_READS = ("/gradio_api/startup-events", "/gradio_api/info", "/gradio_api/app_id", "/gradio_api/heartbeat")

_CORS = b"access-control-"
"""Headers of Gradio's that would let other sites read answers; none is sent."""

_STRICT = "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'"
_ADMIN = _STRICT + "; script-src 'self'; connect-src 'self'"  # its figures are kept current
_PAGE = (
    # Gradio's page writes its configuration in inline scripts and compiles component templates.
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
    "base-uri 'self'"
)


@dataclass(frozen=True)
class GuardSettings:
    """Who may ask, and from where."""

    hosts: frozenset[str] | None
    """Host names that the server answers to; None: any."""
    frame_ancestors: tuple[str, ...] = ()
    """Sites that may show the page in a frame (MTurk)."""
    form_targets: tuple[str, ...] = ()
    """Sites that a form of the page may be sent to (MTurk)."""
    public: str = ""
    """Host and port by which annotators know the server, where a proxy may tell it another `Host`."""
    secure: bool = False
    """The server is reached by https."""
    rate: float = 10.0
    """Requests per second of one annotator, after a burst of four seconds' worth."""


class Buckets:
    """Token buckets by key; forgets the keys not seen for longest."""

    def __init__(self, rate: float, burst: float, most: int = 20_000) -> None:
        self._rate, self._burst, self._most = rate, burst, most
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str) -> float:
        """Take one token; return 0, or the seconds until there is one."""
        now = time.monotonic()
        with self._lock:
            level, since = self._levels.pop(key, (self._burst, now))
            level = min(self._burst, level + (now - since) * self._rate)
            wait = 0.0 if level >= 1 else (1 - level) / self._rate
            self._levels[key] = (level if wait else level - 1, now)
            while len(self._levels) > self._most:
                self._levels.popitem(last=False)
        return wait


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: App, settings: GuardSettings) -> None:
        self._app = app
        self._settings = settings
        self._acting = Buckets(rate=settings.rate, burst=4 * settings.rate)  # an annotator's requests
        self._entering = Buckets(rate=1, burst=120)  # an address' attempts to come in; a class room shares one
        self._logins = Buckets(rate=1 / 30, burst=10)
        ancestors = " ".join(settings.frame_ancestors) or "'none'"
        forms = " ".join(("'self'", *settings.form_targets))
        tail = f"; frame-ancestors {ancestors}; form-action {forms}"
        self._strict, self._page, self._admin = ((policy + tail).encode() for policy in (_STRICT, _PAGE, _ADMIN))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on with limits on the body and headers on the answer."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        sender = self._with_headers(scope, send)
        refusal = self._refuse(scope, headers)
        if refusal is not None:
            await _answer(sender, *refusal)
            return
        await self._app(scope, _limited(receive), sender)

    def _refuse(self, scope: Scope, headers: Mapping[bytes, str]) -> tuple[int, str, float] | None:
        """Status, message and waiting time of a refusal; None to go on."""
        path, method = scope["path"], scope["method"]
        own = path.startswith(_OWN)
        if not self._host_known(headers):
            return 421, "This server does not answer to that name.", 0
        if method not in ("GET", "HEAD", "POST"):
            return 405, "Only GET, HEAD and POST are answered.", 0
        if method == "POST" and not own:
            return 404, "There is nothing to post to here.", 0
        if path.startswith("/gradio_api/") and not path.startswith(_GRADIO_READS):
            return 404, "There is nothing here.", 0
        if method == "POST" and not self._same_origin(headers):
            return 403, "The request came from another site and was refused.", 0
        if _declared_length(headers) > BODY_LIMIT:
            return 413, f"The request is larger than {BODY_LIMIT} bytes.", 0
        wait = self._wait(scope, path, method, headers) if own else 0.0
        return (429, "Too many requests. Please wait a moment.", wait) if wait else None

    def _host_known(self, headers: Mapping[bytes, str]) -> bool:
        host, _ = _split(f"//{headers.get(b'host', '')}")
        return self._settings.hosts is None or host in self._settings.hosts

    def _same_origin(self, headers: Mapping[bytes, str]) -> bool:
        if headers.get(b"sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        origin = headers.get(b"origin")
        return origin is None or _split(origin)[1] in (headers.get(b"host", "-"), self._settings.public or "-")

    def _wait(self, scope: Scope, path: str, method: str, headers: Mapping[bytes, str]) -> float:
        address = str((scope.get("client") or ("",))[0])  # kept in memory only
        if path == "/admin/login" and method == "POST":
            return self._logins.take(address)
        session = session_of(headers)
        if path.startswith(("/join/", "/prolific", "/mturk")) or path == "/api/enter":
            return self._entering.take(address)
        return self._acting.take(session) if session and path.startswith("/api/") else 0.0

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        own = self._admin if scope["path"] == "/admin" else self._strict
        policy = own if scope["path"].startswith(_OWN) else self._page
        extra = [
            (b"content-security-policy", policy),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),  # with no-referrer, a form of our own would post with origin null
            (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
            (b"cross-origin-opener-policy", b"same-origin"),
        ]
        if not self._settings.frame_ancestors:
            extra.append((b"x-frame-options", b"DENY"))
        if self._settings.secure:
            extra.append((b"strict-transport-security", b"max-age=31536000"))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [entry for entry in message.get("headers", []) if not entry[0].lower().startswith(_CORS)]
                present = {name.lower() for name, _ in own}
                message = {**message, "headers": [*own, *(entry for entry in extra if entry[0] not in present)]}
            await send(message)

        return with_headers


def session_of(headers: Mapping[bytes, str]) -> str:
    """The session that a request shows: a bearer token (in a frame, where cookies are not sent) or the cookie."""
    bearer = headers.get(b"authorization", "")
    if bearer.startswith("Bearer "):
        return bearer.removeprefix("Bearer ")
    for piece in headers.get(b"cookie", "").split(";"):
        name, _, value = piece.strip().partition("=")
        if name == SESSION_COOKIE:
            return value
    return ""


def _split(address: str) -> tuple[str | None, str]:
    """Host name and network location of an address; (None, "") where it is none."""
    try:
        parts = urlsplit(address)
        return parts.hostname, parts.netloc
    except ValueError:
        return None, ""


def _declared_length(headers: Mapping[bytes, str]) -> int:
    text = headers.get(b"content-length", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else BODY_LIMIT + 1


def _limited(receive: Receive) -> Receive:
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > BODY_LIMIT:  # no length was declared: cut off, which every parser refuses
            return {"type": "http.disconnect"}
        return message

    return limited


async def _answer(send: Send, status: int, text: str, wait: float = 0) -> None:
    body = json.dumps({"message": text, "reason": "refused"}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if wait:
        headers.append((b"retry-after", str(max(1, round(wait))).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
