"""Worker processes that die, run out of memory, or lose their parent."""

import os
import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.ti2v_bench.runner.test_generate import TOYS
from tests.ti2v_bench.runner.test_processes import finish, making, running, until, whole
from ti2v_bench.bench import Bench
from ti2v_bench.files import StorageError
from ti2v_bench.model import ModelOptions
from ti2v_bench.runner import Request, RunReport, generate
from ti2v_bench.runner.devices import find_devices, visible_gpu
from ti2v_bench.runner.pool import run_pool


def pooled(bench: Bench, out: Path, name: str) -> RunReport:
    request = Request(f"{TOYS}:{name}", name=name.lower(), devices=("cpu", "cpu"))
    return generate(bench.pairs, [request], out, show=False)


def alone(bench: Bench, out: Path, name: str, **settings: str) -> RunReport:
    """One worker process, as on a machine with one GPU."""
    request = Request(f"{TOYS}:{name}", ModelOptions(settings=settings), name.lower())
    return generate(bench.pairs, [request], out, executor=run_pool, show=False)


def logged(toys: Path) -> list[tuple[str, int]]:
    """Pair and process of every video made."""
    return [(line.split()[1], int(line.split()[2])) for line in (toys / "log").read_text().splitlines()]


def test_both_workers_work_and_no_video_is_made_twice(bench: Bench, toys: Path, tmp_path: Path) -> None:
    """Each waits inside its first pair until the other has begun one too."""
    ids = [pair.id for pair in bench.pairs]
    with running(*making(bench, tmp_path / "out", "Waiting", "--device", "cpu,cpu")) as process:
        until(lambda: all((toys / f"started_{name}").exists() for name in ids[:2]), process)
        (toys / "go").touch()
        code, out, _ = finish(process)
    assert (code, out) == (0, "6 made, 0 already there, 0 failed\n")
    assert Counter(name for name, _ in logged(toys)) == dict.fromkeys(ids, 1)
    assert len({pid for _, pid in logged(toys)}) == 2
    assert whole(tmp_path / "out" / "waiting", bench)


def test_a_dead_worker_is_replaced_and_its_pair_tried_again(bench: Bench, toys: Path, tmp_path: Path) -> None:
    (toys / f"die_{bench.pairs[1].id}").write_text("once")
    report = pooled(bench, tmp_path / "out", "Dying")
    assert (report.made, report.failures) == (6, ())
    assert whole(tmp_path / "out" / "dying", bench)


def test_a_pair_that_kills_every_worker_fails_alone(bench: Bench, toys: Path, tmp_path: Path) -> None:
    (toys / f"die_{bench.pairs[3].id}").write_text("always")
    report = alone(bench, tmp_path / "out", "Dying")
    assert report.made == 5
    assert [str(failure) for failure in report.failures] == [
        f"dying/{bench.pairs[3].id}_0: its worker died 2 times (SIGKILL: host memory may be full)"
    ]


def test_a_model_that_no_worker_can_load_is_one_failure(bench: Bench, toys: Path, tmp_path: Path) -> None:
    report = alone(bench, tmp_path / "out", "Broken")
    assert [str(failure) for failure in report.failures] == [
        "broken: 6 of 6 missing videos not made: RuntimeError: weights are upside down"
    ]


def test_a_worker_that_dies_while_loading_is_not_started_for_ever(bench: Bench, toys: Path, tmp_path: Path) -> None:
    report = alone(bench, tmp_path / "out", "Stillborn")
    assert "its process died 3 times before the model was loaded (exit status 9)" in str(report.failures[0])


def test_a_store_that_cannot_be_written_stops_all_workers(bench: Bench, toys: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="Cannot write"):
        pooled(bench, tmp_path, "Plain")


def test_out_of_memory_in_a_worker_halves_its_batch(bench: Bench, toys: Path, tmp_path: Path) -> None:
    report = alone(bench, tmp_path / "out", "Batched", batch="3", room="1")
    assert (report.made, report.failures) == (6, ())


def test_a_cuda_error_is_tried_again_in_a_new_process(bench: Bench, toys: Path, tmp_path: Path) -> None:
    (toys / "poison").touch()
    report = alone(bench, tmp_path / "out", "Poisoned")
    assert (report.made, report.failures) == (6, ())
    assert whole(tmp_path / "out" / "poisoned", bench)


def test_workers_end_with_their_parent_and_the_next_run_goes_on(bench: Bench, toys: Path, tmp_path: Path) -> None:
    ids = [pair.id for pair in bench.pairs]
    command = making(bench, tmp_path / "out", "Waiting", "--device", "cpu,cpu")
    with running(*command) as process:
        until(lambda: all((toys / f"started_{name}").exists() for name in ids[:2]), process)
        workers = [int((toys / f"started_{name}").read_text()) for name in ids[:2]]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        (toys / "go").touch()
        with running(*command) as second:
            code, _, _ = finish(second)
    assert code == 0
    assert whole(tmp_path / "out" / "waiting", bench)
    assert Counter(name for name, _ in logged(toys)) == dict.fromkeys(ids, 1)
    assert not any(alive(worker) for worker in workers)


def alive(pid: int) -> bool:
    """Whether the process still runs; one that has ended but was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ctrl_c_stops_all_workers_and_leaves_no_litter(bench: Bench, toys: Path, tmp_path: Path) -> None:
    ids = [pair.id for pair in bench.pairs]
    with running(*making(bench, tmp_path / "out", "Waiting", "--device", "cpu,cpu")) as process:
        until(lambda: all((toys / f"started_{name}").exists() for name in ids[:2]), process)
        workers = [int((toys / f"started_{name}").read_text()) for name in ids[:2]]
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
        code, _, err = finish(process)
    assert code == 130
    assert "Stopped. Every finished video is kept" in err
    assert "Traceback" not in err
    assert not any(alive(worker) for worker in workers)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_devices_are_found_and_handed_out_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    assert find_devices("auto", "static") == ("cpu",)
    assert find_devices("cpu,cpu", "static") == ("cpu", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert find_devices("auto", "a.module:Class") == find_devices("cuda", "x:y") == ("cuda:0", "cuda:1", "cuda:2")
    assert find_devices("cuda:2", "x:y") == ("cuda:2",)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [visible_gpu(device) for device in ("cuda:2", "cuda", "cpu")] == ["2", "0", None]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-8f2,7")
    assert [visible_gpu(f"cuda:{index}") for index in range(3)] == ["5", "GPU-8f2", "7"]


def test_devices_that_are_none_are_refused() -> None:
    for asked in ("tpu", "", "cuda:x", "cpu;cpu"):
        with pytest.raises(Exception, match=re.escape(f"{asked!r} is no device")):
            find_devices(asked, "static")
