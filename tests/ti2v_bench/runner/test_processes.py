"""Real processes on one folder: killed, interrupted, competing. Everything waits on files, nothing on the clock."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ti2v_bench.bench import Bench
from ti2v_bench.store import FolderStore
from ti2v_bench.video import read_video

TOYS = "tests.ti2v_bench.runner.toys"
ROOT = Path(__file__).parents[3]


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """`ti2v-bench …` as a process of its own; killed at the end, whatever happens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ti2v_bench", *map(str, arguments)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def making(bench: Bench, out: Path, model: str, *more: object) -> tuple[object, ...]:
    return ("generate", "--bench", bench.root, "--model", f"{TOYS}:{model}", "--out", out, "--device", "cpu", *more)


def until(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            pytest.fail(f"ended with {process.returncode} before its time: {process.communicate()}")
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def finish(process: subprocess.Popen[str], seconds: float = 60) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def whole(folder: Path, bench: Bench) -> bool:
    """Every video there, readable, with its sidecar; no other file, hidden or not."""
    found = {path.name for path in folder.rglob("*")}
    for pair in bench.pairs:
        read_video(folder / f"{pair.id}_0.mp4")
    return found == {f"{pair.id}_0{end}" for pair in bench.pairs for end in (".mp4", ".json")}


def test_kill_9_loses_one_video_and_the_next_run_makes_the_rest(bench: Bench, toys: Path, tmp_path: Path) -> None:
    ids = [pair.id for pair in bench.pairs]
    for name in ids[:2]:
        (toys / f"go_{name}").touch()
    with running(*making(bench, tmp_path / "out", "Waiting")) as process:
        until((toys / f"started_{ids[2]}").exists, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    folder = tmp_path / "out" / "waiting"
    assert {path.name for path in folder.glob("*.mp4")} == {f"{name}_0.mp4" for name in ids[:2]}
    (folder / f".{ids[4]}_0.mp4.99999.partial").write_bytes(b"half a video")  # as if killed while writing
    (folder / f"{ids[5]}_0.json").write_text("{}")  # as if killed between sidecar and video
    (toys / "go").touch()
    with running(*making(bench, tmp_path / "out", "Waiting")) as process:
        code, out, _ = finish(process)
    assert (code, out) == (0, "4 made, 2 already there, 0 failed\n")
    assert whole(folder, bench)


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "batch system")])
def test_an_interrupted_run_says_how_to_go_on_and_leaves_no_litter(
    bench: Bench, toys: Path, tmp_path: Path, number: int, name: str
) -> None:
    ids = [pair.id for pair in bench.pairs]
    (toys / f"go_{ids[0]}").touch()
    with running(*making(bench, tmp_path / "out", "Waiting")) as process:
        until((toys / f"started_{ids[1]}").exists, process)
        process.send_signal(number)
        code, _, err = finish(process)
    assert code == 130
    assert err.splitlines()[-1].startswith(
        "Stopped. Every finished video is kept; to go on: ti2v-bench generate --bench"
    )
    assert "Traceback" not in err
    assert [path.name for path in (tmp_path / "out").rglob("*.*")].count(f"{ids[0]}_0.mp4") == 1
    assert {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()} == {".mp4", ".json"}


def test_two_runs_on_one_folder_make_no_video_twice(bench: Bench, toys: Path, tmp_path: Path) -> None:
    command = making(bench, tmp_path / "out", "Waiting")
    ids = [pair.id for pair in bench.pairs]
    with running(*command) as first, running(*command) as second:
        until(lambda: all((toys / f"started_{name}").exists() for name in ids[:2]), first)
        (toys / "go").touch()
        ends = [finish(first), finish(second)]
    assert [code for code, _, _ in ends] == [0, 0]
    assert sum(int(out.split()[0]) for _, out, _ in ends) == 6
    made = Counter(line.split()[1] for line in (toys / "log").read_text().splitlines())
    assert made == dict.fromkeys(ids, 1)
    assert len({line.split()[2] for line in (toys / "log").read_text().splitlines()}) == 2
    assert whole(tmp_path / "out" / "waiting", bench)


def test_when_one_of_two_runs_is_killed_the_other_makes_its_video(bench: Bench, toys: Path, tmp_path: Path) -> None:
    command = making(bench, tmp_path / "out", "Waiting")
    ids = [pair.id for pair in bench.pairs]
    with running(*command) as first:
        until((toys / f"started_{ids[0]}").exists, first)
        for name in ids[1:]:
            (toys / f"go_{name}").touch()
        with running(*command) as second:
            until(lambda: len(list((tmp_path / "out").rglob("*.mp4"))) == 5, second)
            os.kill(first.pid, signal.SIGKILL)
            until(lambda: (toys / f"started_{ids[0]}").read_text() == str(second.pid), second)
            (toys / "go").touch()
            code, out, _ = finish(second)
    assert (code, out) == (0, "6 made, 0 already there, 0 failed\n")
    assert whole(tmp_path / "out" / "waiting", bench)


def test_a_claim_ends_with_its_process_and_not_before(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from ti2v_bench.store import FolderStore; "
        f"held = FolderStore(pathlib.Path({str(tmp_path)!r})).claim('m/a_0.mp4'); print(held is not None, flush=True); "
        "sys.stdin.read()"
    )
    store = FolderStore(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert store.claim("m/a_0.mp4") is None
        store.tidy("m")
        assert store.claim("m/a_0.mp4") is None
        other.kill()
        other.wait()
        claim = store.claim("m/a_0.mp4")
        assert claim is not None
        claim.release()
    store.tidy("m")
    assert list((tmp_path / "m").iterdir()) == []


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="this system has no limit on file sizes")
def test_a_limit_of_the_operating_system_on_files_is_one_clear_error(bench: Bench, toys: Path, tmp_path: Path) -> None:
    """RLIMIT_FSIZE: a real write refused by the kernel, below the size of one video."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900)); from ti2v_bench.cli import main; main()"
    )
    arguments = [str(argument) for argument in making(bench, tmp_path / "out", "Plain")]
    end = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, text=True, capture_output=True)
    assert end.returncode == 2
    assert end.stderr.splitlines()[-1].startswith("Error: Cannot write ")
    assert "files may not grow further. Free some space and run the same command again." in end.stderr
    assert "Traceback" not in end.stderr
    assert not [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".mp4", ".partial", ".lock")]
