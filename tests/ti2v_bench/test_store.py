"""Stores behind URLs: fsspec's in-memory one, one that fails on command, and S3's protocol if its server is there."""

import json
import os
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import ClassVar
from urllib.error import URLError
from urllib.parse import parse_qs, unquote
from urllib.request import urlopen

import fsspec
import pytest
from PIL import Image

from ti2v_bench.bench import Bench, load_bench
from ti2v_bench.files import StorageError
from ti2v_bench.runner import Request, generate, import_videos
from ti2v_bench.store import FolderStore, open_store
from ti2v_bench.url_store import UrlStore


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    folder = tmp_path / "bench"
    folder.mkdir()
    for index in range(3):
        Image.new("RGB", (32, 32), (70 * index, 90, 50)).save(folder / f"cat{index}.png")
    (folder / "prompt.csv").write_text(
        "image,prompt\n" + "".join(f"cat{index}.png,A cat moves.\n" for index in range(3))
    )
    return load_bench(folder)


@pytest.fixture
def memory() -> Iterator[str]:
    yield "memory://bucket/videos"
    fsspec.filesystem("memory").store.clear()


def test_a_url_holds_what_a_folder_would(bench: Bench, memory: str, tmp_path: Path) -> None:
    for out in (memory, tmp_path / "out"):
        assert generate(bench.pairs, [Request("static")], out, show=False).made == 3
        assert generate(bench.pairs, [Request("static")], out, show=False).present == 3
    files = fsspec.filesystem("memory")
    names = {path.rsplit("/", 1)[1] for path in files.ls("/bucket/videos/static", detail=False)}
    assert names == {path.name for path in (tmp_path / "out" / "static").iterdir()}
    video = f"{bench.pairs[0].id}_0.mp4"
    assert files.cat_file(f"/bucket/videos/static/{video}") == (tmp_path / "out" / "static" / video).read_bytes()
    assert json.loads(files.cat_file(f"/bucket/videos/static/{video[:-4]}.json"))["origin"] == "generated"


def test_only_what_is_missing_at_a_url_is_made(bench: Bench, memory: str) -> None:
    generate(bench.pairs, [Request("static")], memory, show=False)
    fsspec.filesystem("memory").rm(f"/bucket/videos/static/{bench.pairs[1].id}_0.mp4")
    report = generate(bench.pairs, [Request("static")], memory, show=False)
    assert (report.made, report.present) == (1, 2)


def test_videos_can_be_imported_to_a_url(bench: Bench, memory: str, tmp_path: Path) -> None:
    generate(bench.pairs, [Request("static")], tmp_path / "out", show=False)
    assert len(import_videos(tmp_path / "out" / "static", "theirs", bench.pairs, memory).copied) == 3
    assert len(import_videos(tmp_path / "out" / "static", "theirs", bench.pairs, memory).present) == 3


def test_the_sidecar_is_written_before_the_video(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, written = UrlStore(memory), []
    monkeypatch.setattr(store._fs, "pipe_file", lambda path, data: written.append(path.rsplit("/", 1)[1]))
    store.publish("m/a_0.mp4", b"video", b"{}")
    assert written == ["a_0.json", "a_0.mp4"]


def test_a_store_that_stumbles_is_asked_again(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UrlStore, "pauses", (0.0, 0.0))
    store, calls = UrlStore(memory), []
    write = store._fs.pipe_file

    def stumbling(path: str, data: bytes) -> None:
        calls.append(path)
        if len(calls) in (1, 2, 4):
            raise TimeoutError("no answer")
        write(path, data)

    monkeypatch.setattr(store._fs, "pipe_file", stumbling)
    store.publish("m/a_0.mp4", b"video", b"{}")
    assert store.read("m/a_0.mp4") == b"video"
    assert len(calls) == 5


def test_a_store_out_of_reach_is_one_error_that_names_it(
    bench: Bench, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UrlStore, "pauses", (0.0,))

    def gone(path: str, data: bytes) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(fsspec.filesystem("memory"), "pipe_file", gone)
    with pytest.raises(
        StorageError, match=r"Cannot write memory://bucket/videos/static/cat0.*ConnectionError: Name or"
    ):
        generate(bench.pairs, [Request("static")], memory, show=False)


def test_a_refusal_is_not_asked_again(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waited"))
    store = UrlStore(memory)

    def refuse(path: str, data: bytes) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(store._fs, "pipe_file", refuse)
    with pytest.raises(StorageError, match="PermissionError: Access Denied"):
        store.publish("m/a_0.mp4", b"video", b"{}")


def test_what_a_url_needs_is_named() -> None:
    with pytest.raises(StorageError, match="Cannot open nonsense://x/y: Protocol not known: nonsense"):
        open_store("nonsense://x/y")


def test_file_urls_and_paths_are_folders(tmp_path: Path) -> None:
    for out in (tmp_path, str(tmp_path), f"file://{tmp_path}"):
        store = open_store(out)
        assert isinstance(store, FolderStore)
        assert store.root == tmp_path.resolve()


def test_image_names_with_dots_are_tidied_alone(tmp_path: Path) -> None:
    """`a_0` must not take away what is being written for `a_0.x_0`."""
    store = FolderStore(tmp_path)
    (tmp_path / "m").mkdir()
    other = tmp_path / "m" / ".a_0.x_0.mp4.77.partial"
    other.write_bytes(b"being written")
    claim = store.claim("m/a_0.mp4")
    assert claim is not None
    assert other.exists()
    claim.release()
    store.tidy("m")
    assert list((tmp_path / "m").iterdir()) == []


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub's protocol as reading and writing small files of one data set takes."""

    files: ClassVar[dict[str, bytes]] = {}
    commits: ClassVar[list[set[str]]] = []

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        if path in ("/api/datasets/owner/name", "/api/datasets/owner/name/revision/main"):
            self._json({"_id": "1", "id": "owner/name", "sha": "a" * 40, "private": False, "tags": [], "downloads": 0})
        elif path.startswith("/api/datasets/owner/name/tree/main"):
            below = path.removeprefix("/api/datasets/owner/name/tree/main").strip("/")
            found = [self._entry(name) for name in self.files if name.startswith(below + "/")]
            self._json(found) if found else self._missing()
        elif (name := path.removeprefix("/datasets/owner/name/resolve/main/")) in self.files:
            self._answer(200, self.files[name], {"ETag": '"1"', "X-Repo-Commit": "a" * 40})
        else:
            self._missing()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/preupload/main"):
            asked = json.loads(body)["files"]
            self._json({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]})
        elif "/paths-info/" in self.path:
            asked = parse_qs(body.decode()).get("paths", []) if b"=" in body[:6] else json.loads(body)["paths"]
            self._json([self._entry(name) for name in asked if name in self.files])
        elif self.path.partition("?")[0].endswith("/commit/main"):
            lines = [json.loads(line) for line in body.splitlines()]
            added = {f["value"]["path"]: b64decode(f["value"]["content"]) for f in lines if f["key"] == "file"}
            self.files.update(added)
            self.commits.append(set(added))
            url = f"http://{self.headers['Host']}/datasets/owner/name/commit/{'a' * 40}"
            self._json({"commitUrl": url, "commitOid": "a" * 40, "success": True, "hookOutput": ""})
        else:
            self._missing()

    def _entry(self, name: str) -> dict[str, object]:
        return {"type": "file", "path": name, "size": len(self.files[name]), "oid": "b" * 40}

    def _json(self, value: object) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _missing(self) -> None:
        self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def test_the_hub_gets_one_commit_per_video(bench: Bench, tmp_path: Path) -> None:
    """In a process of its own, as huggingface_hub reads HF_ENDPOINT when it is imported."""
    Hub.files.clear()
    Hub.commits.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    command = ["generate", "--bench", str(bench.root), "--model", "static", "--out", "hf://datasets/owner/name/videos"]
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_TOKEN": "hf_test",
        "HF_HOME": str(tmp_path / "home"),
    }
    try:
        ends = [
            subprocess.run(
                [sys.executable, "-m", "ti2v_bench", *command], env=environment, capture_output=True, text=True
            )
            for _ in range(2)
        ]
    finally:
        server.shutdown()
        server.server_close()
    assert ends[0].stdout == "3 made, 0 already there, 0 failed\n", ends[0].stderr
    assert ends[1].stdout == "0 made, 3 already there, 0 failed\n", ends[1].stderr
    stems = [f"videos/static/{pair.id}_0" for pair in bench.pairs]
    assert Hub.commits == [{f"{stem}.json", f"{stem}.mp4"} for stem in stems]
    generate(bench.pairs, [Request("static")], tmp_path / "out", show=False)
    for pair in bench.pairs:
        name = f"static/{pair.id}_0.mp4"
        assert Hub.files[f"videos/{name}"] == (tmp_path / "out" / name).read_bytes()


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on a server of its own on loopback that speaks S3's protocol."""
    import socket

    if not all(find_spec(name) for name in ("s3fs", "moto", "flask_cors")):
        if os.environ.get("TI2V_BENCH_REQUIRE_ALL"):
            pytest.fail("s3fs, moto or flask-cors is not installed")
        pytest.skip("s3fs, moto or flask-cors is not installed")

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}"),
    ):
        monkeypatch.setenv(name, value)
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/moto-api/", server)
        fsspec.filesystem("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).mkdir("bucket")
        yield "s3://bucket/videos"
    finally:
        server.kill()
        server.wait()


def _wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        try:
            with urlopen(url):
                return
        except URLError:
            time.sleep(0.05)
    pytest.fail("the server did not come up")


@pytest.mark.filterwarnings("default")
def test_s3_holds_what_a_folder_would_from_several_processes(bench: Bench, s3: str, tmp_path: Path) -> None:
    for out in (s3, tmp_path / "out"):
        request = Request("static", devices=("cpu", "cpu"))
        assert generate(bench.pairs, [request], out, show=False).made == 3
        assert generate(bench.pairs, [request], out, show=False).present == 3
    files = fsspec.filesystem("s3")
    for path in (tmp_path / "out" / "static").glob("*.mp4"):
        assert files.cat_file(f"bucket/videos/static/{path.name}") == path.read_bytes()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc on this system")
def test_a_folder_that_cannot_be_made_is_one_error_and_no_endless_try() -> None:
    with pytest.raises(StorageError, match="Cannot write /proc/nowhere"):
        open_store(Path("/proc/nowhere")).claim("static/cat1_a_cat_0.mp4")
