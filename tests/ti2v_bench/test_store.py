"""Stores behind URLs: fsspec's in-memory one, one that fails on command, and S3's protocol if its server is there."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import fsspec
import pytest
from PIL import Image

from ti2v_bench.bench import Bench, load_bench
from ti2v_bench.files import StorageError
from ti2v_bench.runner import Request, generate, import_videos
from ti2v_bench.store import FolderStore, UrlStore, open_store


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


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on a server of its own on loopback that speaks S3's protocol."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    import socket

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
