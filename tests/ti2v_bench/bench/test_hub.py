"""`bench download` against a server that speaks the Hub's protocol, and misbehaves."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from huggingface_hub.utils import disable_progress_bars
from PIL import Image

from tests.loopback_hub import LoopbackHub
from ti2v_bench.bench import BenchError
from ti2v_bench.bench.hub import PROVENANCE, REPO, download_bench
from ti2v_bench.cli.bench import bench

disable_progress_bars()


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((160, 120), 40 + seed).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


PICTURES = {f"TI2V-Bench/horse{number}.jpeg": jpeg(number) for number in range(1, 5)}
TABLE = "image,prompt\n" + "".join(f"{path},A horse jumping.\n" for path in PICTURES)
FILES = {".gitattributes": b"*.jpeg filter=lfs\n", "prompt.csv": TABLE.encode(), **PICTURES}


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as server:
        yield server


def publish(hub: LoopbackHub, files: dict[str, bytes] | None = None) -> str:
    return hub.add(REPO, files or FILES, kind="datasets", lfs=set(PICTURES))


def content(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != PROVENANCE)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_command_fetches_checks_and_records_the_commit(hub: LoopbackHub, tmp_path: Path) -> None:
    commit = publish(hub)
    result = CliRunner(env={"HF_ENDPOINT": hub.endpoint}).invoke(bench, ["download", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [f"{REPO} at {commit}", "4 pairs, 4 images, 1 prompts, 1 scenarios"]
    assert content(tmp_path / "out") == FILES
    recorded = json.loads((tmp_path / "out" / PROVENANCE).read_text())
    assert (recorded["repo"], recorded["revision"], recorded["asked_for"]) == (REPO, commit, "main")
    assert {file["path"] for file in recorded["files"]} == set(FILES)


def test_running_again_fetches_nothing_and_stays_at_the_recorded_commit(hub: LoopbackHub, tmp_path: Path) -> None:
    first = publish(hub)
    download_bench(tmp_path, endpoint=hub.endpoint)
    publish(hub, FILES | {"prompt.csv": TABLE.replace("jumping", "running").encode()})
    hub.requests.clear()
    assert download_bench(tmp_path, endpoint=hub.endpoint) == first
    assert not [request for request in hub.requests if "resolve" in request.path]
    with pytest.raises(BenchError, match=f"holds {REPO} at {first}, not .* another folder"):
        download_bench(tmp_path, "main", endpoint=hub.endpoint)
    assert content(tmp_path) == FILES


def test_a_damaged_or_lost_file_is_fetched_again_and_alone(hub: LoopbackHub, tmp_path: Path) -> None:
    publish(hub)
    download_bench(tmp_path, endpoint=hub.endpoint)
    (tmp_path / "TI2V-Bench" / "horse2.jpeg").unlink()
    (tmp_path / "TI2V-Bench" / "horse3.jpeg").write_bytes(b"other")
    hub.requests.clear()
    download_bench(tmp_path, endpoint=hub.endpoint)
    assert content(tmp_path) == FILES
    fetched = {request.path.rsplit("/", 1)[1] for request in hub.requests if "/store/" in request.path}
    assert fetched == {"horse2.jpeg", "horse3.jpeg"}


def test_a_broken_connection_is_resumed_where_it_broke(hub: LoopbackHub, tmp_path: Path) -> None:
    chunk = 10 << 20  # what huggingface_hub writes to disk at once, and so what it can go on from
    files = FILES | {"large.bin": bytes(chunk + 5000)}
    hub.add(REPO, files, kind="datasets", lfs={"large.bin"})
    hub.drop_once["large.bin"] = chunk + 1000
    download_bench(tmp_path, endpoint=hub.endpoint)
    assert content(tmp_path) == files
    ranges = [request.range for request in hub.asked_for("large.bin") if "/store/" in request.path]
    assert ranges == [None, f"bytes={chunk}-"]


def test_an_interrupted_download_goes_on_with_what_is_missing(hub: LoopbackHub, tmp_path: Path) -> None:
    publish(hub)
    refused = "TI2V-Bench/horse4.jpeg"
    hub.refuse[refused] = 500
    with pytest.raises(BenchError, match=r"Could not download .* run the command again"):
        download_bench(tmp_path, endpoint=hub.endpoint)
    assert not (tmp_path / "prompt.csv").exists()
    assert not (tmp_path / PROVENANCE).exists()
    hub.refuse.clear()
    hub.requests.clear()
    download_bench(tmp_path, endpoint=hub.endpoint)
    assert content(tmp_path) == FILES
    assert hub.asked_for(refused)


@pytest.mark.parametrize("path", ["TI2V-Bench/horse2.jpeg", "prompt.csv"])
def test_a_wrong_hash_is_one_error_and_leaves_nothing(hub: LoopbackHub, tmp_path: Path, path: str) -> None:
    publish(hub)
    hub.corrupt.add(path)
    with pytest.raises(BenchError, match=rf"1 of 6 files came with the wrong content \(first: {path}") as raised:
        download_bench(tmp_path, endpoint=hub.endpoint)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_unknown_repository_revision_or_server_is_one_error(hub: LoopbackHub, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="has no dataset"):
        download_bench(tmp_path, endpoint=hub.endpoint)
    publish(hub)
    with pytest.raises(BenchError, match="has no revision 'v9'"):
        download_bench(tmp_path, "v9", endpoint=hub.endpoint)
    assert list(tmp_path.iterdir()) == []


def test_another_bench_in_the_folder_is_not_overwritten(hub: LoopbackHub, tmp_path: Path) -> None:
    publish(hub)
    (tmp_path / "prompt.csv").write_text("mine")
    with pytest.raises(BenchError, match="holds another bench"):
        download_bench(tmp_path, endpoint=hub.endpoint)
    assert content(tmp_path) == {"prompt.csv": b"mine"}


def test_an_unreachable_hub_is_one_line_and_status_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ti2v_bench", "bench", "download", "--out", str(tmp_path / "out")]
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: Could not download {REPO} from http://127.0.0.1:9")
    assert len(done.stderr.splitlines()) == 1
