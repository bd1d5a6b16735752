"""A real HTTP server on 127.0.0.1 that speaks as much of the Hugging Face Hub's protocol as a download needs.

    with LoopbackHub() as hub:
        commit = hub.add("owner/name", {"weights.bin": b"…"}, lfs={"weights.bin"})
        …  # with HF_ENDPOINT=hub.endpoint, or endpoint=hub.endpoint

It can misbehave on demand: `hub.drop_once`, `hub.corrupt`, `hub.refuse`. What was asked of it stands in `hub.requests`.
"""

import hashlib
import json
import re
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

API = re.compile(
    r"/api/(?P<kind>datasets|models)/(?P<repo>[^/]+/[^/]+)(?:/(?P<verb>revision|tree|paths-info)/(?P<rev>[^/]+).*)?$"
)
RESOLVE = re.compile(r"/(?P<kind>datasets/)?(?P<repo>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)$")
STORE = re.compile(r"/store/(?P<sha256>[0-9a-f]{64})/(?P<path>.+)$")


@dataclass(frozen=True)
class Request:
    """One request that the server answered."""

    method: str
    path: str
    """Without the query."""
    range: str | None
    """The `Range` header."""


@dataclass(frozen=True)
class StoredFile:
    content: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def git_sha1(self) -> str:
        """Git's name of the blob (for an LFS file the real Hub gives the pointer's; no one checks that)."""
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()

    def listed(self, path: str) -> dict[str, object]:
        entry: dict[str, object] = {"type": "file", "oid": self.git_sha1, "size": len(self.content), "path": path}
        if self.lfs:
            entry["lfs"] = {"oid": self.sha256, "size": len(self.content), "pointerSize": 130}
        return entry


class LoopbackHub:
    """Repositories with commits and branches, served while the `with` block lasts."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.drop_once: dict[str, int] = {}
        """File path -> bytes after which the connection breaks, the first time it is asked for."""
        self.corrupt: set[str] = set()
        """File paths that are sent with the right length and wrong bytes."""
        self.refuse: dict[str, int] = {}
        """File path -> HTTP status that is answered instead of it."""
        self._commits: dict[tuple[str, str, str], dict[str, StoredFile]] = {}
        self._branches: dict[tuple[str, str, str], str] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def endpoint(self) -> str:
        """What `HF_ENDPOINT` should be."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def store(self) -> str:
        """Where large files are redirected to: another host name, as the Hub's own storage is."""
        return f"http://localhost:{self._server.server_port}"

    def add(
        self,
        repo: str,
        files: Mapping[str, bytes],
        *,
        kind: str = "models",
        lfs: Collection[str] = (),
        branch: str = "main",
    ) -> str:
        """Commit `files` as all there is in `repo` (`models` or `datasets`), move the branch, return the commit."""
        stored = {path: StoredFile(content, path in lfs) for path, content in files.items()}
        digest = hashlib.sha1(repr(sorted((path, file.sha256) for path, file in stored.items())).encode())
        commit = digest.hexdigest()
        self._commits[kind, repo, commit] = stored
        self._branches[kind, repo, branch] = commit
        return commit

    def asked_for(self, path: str) -> list[Request]:
        """GET requests whose path ends in `path`, the bytes themselves (not redirects) only."""
        return [request for request in self.requests if request.method == "GET" and request.path.endswith(path)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def known(self, kind: str, repo: str) -> bool:
        return any(key[:2] == (kind, repo) for key in self._commits)

    def commit(self, kind: str, repo: str, revision: str) -> tuple[str, dict[str, StoredFile]] | None:
        commit = self._branches.get((kind, repo, revision), revision)
        files = self._commits.get((kind, repo, commit))
        return None if files is None else (commit, files)

    def blob(self, sha256: str) -> StoredFile | None:
        every = (file for files in self._commits.values() for file in files.values())
        return next((file for file in every if file.sha256 == sha256), None)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        return Handler


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Tests read `hub.requests` instead."""

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(Request(self.command, path, self.headers.get("Range")))
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with suppress(BrokenPipeError, ConnectionResetError):
            if found := API.match(path):
                self._api(found)
            elif found := RESOLVE.match(path):
                self._resolve(found)
            elif found := STORE.match(path):
                self._send_file(self.hub.blob(found["sha256"]), found["path"], {})
            else:
                self._fail(404, "EntryNotFound", f"no route {path}")

    def _api(self, found: re.Match[str]) -> None:
        at = self._revision(found["kind"], found["repo"], found["rev"] or "main")
        if at is None:
            return
        commit, files = at
        if found["verb"] == "tree":
            self._json([*self._folders(files), *(file.listed(path) for path, file in files.items())])
        elif found["verb"] == "paths-info":
            wanted = json.loads(self._body)["paths"]
            self._json([files[path].listed(path) for path in wanted if path in files])
        else:
            siblings = [{"rfilename": path} for path in files]
            self._json(
                {"_id": "0", "id": found["repo"], "sha": commit, "private": False, "tags": [], "siblings": siblings}
            )

    def _resolve(self, found: re.Match[str]) -> None:
        at = self._revision("datasets" if found["kind"] else "models", found["repo"], found["rev"])
        if at is None:
            return
        commit, files = at
        path = found["path"]
        if path not in files:
            self._fail(404, "EntryNotFound", f"{path} is not in {found['repo']}")
            return
        file = files[path]
        headers = {"X-Repo-Commit": commit}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
            self._start(302, headers | {"Location": f"{self.hub.store}/store/{file.sha256}/{path}"}, 0)
        else:
            self._send_file(file, path, headers | {"ETag": f'"{file.git_sha1}"'})

    def _send_file(self, file: StoredFile | None, path: str, headers: dict[str, str]) -> None:
        if file is None or path in self.hub.refuse:
            self._fail(self.hub.refuse.get(path, 404), None, f"{path} is refused")
            return
        content = bytes(255 - byte for byte in file.content) if path in self.hub.corrupt else file.content
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        stop = min(int(asked[2]) + 1 if asked and asked[2] else len(content), len(content))
        headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"} | headers
        if asked:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        self._start(206 if asked else 200, headers, stop - start)
        if self.command == "HEAD":
            return
        drop = self.hub.drop_once.pop(path, None)
        if drop is None:
            self.wfile.write(content[start:stop])
        else:
            self.wfile.write(content[start : min(stop, start + drop)])
            self.wfile.flush()
            self.close_connection = True

    def _revision(self, kind: str, repo: str, revision: str) -> tuple[str, dict[str, StoredFile]] | None:
        """The commit asked for, or None after answering that there is none."""
        if not self.hub.known(kind, repo):
            self._fail(404, "RepoNotFound", "Repository not found")
            return None
        at = self.hub.commit(kind, repo, revision)
        if at is None:
            self._fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return at

    @staticmethod
    def _folders(files: Mapping[str, StoredFile]) -> Iterator[dict[str, object]]:
        names = {path.rsplit("/", 1)[0] for path in files if "/" in path}
        return ({"type": "directory", "oid": "0" * 40, "size": 0, "path": name} for name in sorted(names))

    def _json(self, content: object) -> None:
        data = json.dumps(content).encode()
        self._start(200, {"Content-Type": "application/json"}, len(data))
        if self.command != "HEAD":
            self.wfile.write(data)

    def _fail(self, status: int, code: str | None, message: str) -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self._start(status, headers, 0)

    def _start(self, status: int, headers: Mapping[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
