"""While one video is encoded and written, the next is computed; outcomes, claims and errors still find their way."""

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from ti2v_bench.bench import Bench
from ti2v_bench.files import StorageError
from ti2v_bench.model import Frames, ModelOptions
from ti2v_bench.records import Pair
from ti2v_bench.runner import making, plan_jobs
from ti2v_bench.runner.jobs import JobQueue
from ti2v_bench.runner.making import Maker, Recipe
from ti2v_bench.runner.messages import next_jobs
from ti2v_bench.store import FolderStore
from ti2v_bench.video import encode_video, read_video

TOYS = "tests.ti2v_bench.runner.toys"


def maker_of(name: str, out: Path) -> Maker:
    return Maker(Recipe("toy", f"{TOYS}:{name}", ModelOptions(), str(out), ("cpu",)), overlap=True)


def test_a_video_is_encoded_while_the_next_is_computed(
    bench: Bench, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoding the first waits until the model works on the second; in sequence that would never happen."""
    second_has_begun, seen = threading.Event(), []

    def encode(frames: Frames, fps: int) -> bytes:
        seen.append(second_has_begun.wait(30))
        return encode_video(frames, fps)

    maker = maker_of("Plain", tmp_path)
    compute = maker.model.generate

    def generate(pair: Pair, seed: int) -> Frames:
        if pair == bench.pairs[1]:
            second_has_begun.set()
        return compute(pair, seed)

    monkeypatch.setattr(maker.model, "generate", generate)
    monkeypatch.setattr(making, "encode_video", encode)
    first, second = plan_jobs("toy", bench.pairs[:2], [0])
    assert maker.make([first]) == []
    assert [outcome.job for outcome in maker.make([second])] == [first]
    assert maker.writing
    assert [outcome.job for outcome in maker.finish()] == [second]
    assert seen == [True, True]
    assert not maker.writing


def test_a_model_may_use_its_buffer_again(bench: Bench, toys: Path, tmp_path: Path) -> None:
    buffer = np.zeros((4, 32, 32, 3), np.uint8)

    class Thrifty:
        name, fps = "thrifty", 8

        def generate(self, pair: Pair, seed: int) -> Frames:
            buffer[:] = 40 * bench.pairs.index(pair)
            return buffer

    maker = maker_of("Plain", tmp_path)
    maker.model = Thrifty()
    jobs = plan_jobs("toy", bench.pairs, [0])
    for job in jobs:
        maker.make([job])
    maker.finish()
    shown = [round(float(read_video(job.path(tmp_path)).frames.mean()) / 40) for job in jobs]
    assert shown == [0, 1, 2, 3, 4, 5]


def test_a_claim_is_held_until_the_video_is_written(
    bench: Bench, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr(making, "encode_video", lambda frames, fps: (go.wait(30), encode_video(frames, fps))[1])
    maker = maker_of("Plain", tmp_path)
    job = plan_jobs("toy", bench.pairs, [0])[0]
    maker.make([job])
    other = FolderStore(tmp_path)
    assert other.claim(f"toy/{job.pair.id}_0.mp4") is None
    go.set()
    assert [outcome.status for outcome in maker.finish()] == ["made"]
    claim = other.claim(f"toy/{job.pair.id}_0.mp4")
    assert claim is not None
    claim.release()


def test_a_full_disk_is_reported_by_the_next_call(
    bench: Bench, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    maker = maker_of("Plain", tmp_path)
    first, second = plan_jobs("toy", bench.pairs[:2], [0])
    maker.make([first])
    with pytest.raises(StorageError, match="the disk is full"):
        maker.make([second])
    store = FolderStore(tmp_path)
    store.tidy("toy")
    assert list((tmp_path / "toy").iterdir()) == []


def test_releasing_twice_does_not_take_another_s_claim(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    mine = store.claim("m/a_0.mp4")
    assert mine is not None
    mine.release()
    theirs = FolderStore(tmp_path).claim("m/a_0.mp4")
    assert theirs is not None
    mine.release()
    assert store.claim("m/a_0.mp4") is None
    theirs.release()


def test_a_suspect_is_settled_before_its_worker_gets_more(bench: Bench) -> None:
    jobs = plan_jobs("m", bench.pairs, [0])
    queue = JobQueue(jobs[:4])
    assert next_jobs([], 2, queue, 1) == jobs[:2]
    queue.lost(jobs[:2], "SIGKILL")
    assert next_jobs([jobs[5]], 2, queue, 1) == jobs[2:4]
    assert next_jobs([], 2, queue, 1) == [jobs[0]]
    assert next_jobs([jobs[0]], 2, queue, 1) == []
    assert next_jobs([], 2, queue, 1) == [jobs[1]]
    assert next_jobs([jobs[5]], 2, queue, 1) == []
    assert next_jobs([], 2, queue, 1) is None
