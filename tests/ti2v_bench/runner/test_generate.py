"""What a run makes, keeps, names and refuses, in one process."""

import errno
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.ti2v_bench.runner import toys as toy_models
from ti2v_bench.bench import Bench
from ti2v_bench.files import StorageError
from ti2v_bench.model import ModelOptions
from ti2v_bench.runner import Request, RunReport, generate
from ti2v_bench.runner.jobs import JobQueue, Outcome, RunError, plan_jobs
from ti2v_bench.runner.making import Maker, Recipe, as_frames
from ti2v_bench.runner.memory import Memory, fitting_batch
from ti2v_bench.video import VideoError, read_video

TOYS = "tests.ti2v_bench.runner.toys"


def toy(name: str, **settings: str) -> Request:
    return Request(f"{TOYS}:{name}", ModelOptions(settings=settings), name.lower())


def run(bench: Bench, out: Path, *requests: Request, seeds: tuple[int, ...] = (0,)) -> RunReport:
    return generate(bench.pairs, requests, out, seeds, show=False)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_pair_and_seed_gets_a_video_and_a_sidecar_and_nothing_else(
    bench: Bench, toys: Path, tmp_path: Path
) -> None:
    report = run(bench, tmp_path / "out", toy("Plain"), seeds=(0, 3))
    assert (report.made, report.present, report.failures) == (12, 0, ())
    expected = {f"{pair.id}_{seed}{end}" for pair in bench.pairs for seed in (0, 3) for end in (".mp4", ".json")}
    assert set(names(tmp_path / "out" / "plain")) == expected
    video = read_video(tmp_path / "out" / "plain" / f"{bench.pairs[2].id}_3.mp4")
    assert np.abs(video.frames.astype(int) - toy_models.frames_of(bench.pairs[2], 3)).max() < 5


def test_the_sidecar_describes_the_video(bench: Bench, toys: Path, tmp_path: Path) -> None:
    run(bench, tmp_path, toy("Told", steps="25"))
    path = tmp_path / "told" / f"{bench.pairs[0].id}_0.mp4"
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["bytes"] == path.stat().st_size
    assert (record["pair_id"], record["model"], record["seed"]) == (bench.pairs[0].id, "told", 0)
    assert (record["frames"], record["width"], record["height"], record["fps"]) == (4, 32, 32, 8)
    assert (record["settings"], record["weights"], record["precision"]) == ({"steps": 25}, [], "float32")
    assert record["model_says"] == {"extra": 1}
    assert set(record["seconds"]) == {"generate", "encode"}
    assert {"python", "numpy", "av"} <= set(record["packages"])
    assert record["created_at"].endswith("+00:00")


def test_a_second_run_makes_only_what_is_missing(bench: Bench, toys: Path, tmp_path: Path) -> None:
    run(bench, tmp_path, toy("Plain"))
    gone = tmp_path / "plain" / f"{bench.pairs[1].id}_0.mp4"
    before = gone.read_bytes()
    gone.unlink()
    (toys / "log").unlink()
    report = run(bench, tmp_path, toy("Plain"))
    assert (report.made, report.present) == (1, 5)
    assert [line.split()[1] for line in (toys / "log").read_text().splitlines()] == [bench.pairs[1].id]
    assert gone.read_bytes() == before


def test_nothing_is_loaded_when_nothing_is_missing(bench: Bench, toys: Path, tmp_path: Path) -> None:
    run(bench, tmp_path, toy("Plain"))
    report = run(bench, tmp_path, Request(f"{TOYS}:Broken", name="plain"))
    assert (report.made, report.present, report.failures) == (0, 6, ())


def test_a_failing_pair_stops_no_other_and_is_named_in_one_line(bench: Bench, toys: Path, tmp_path: Path) -> None:
    (toys / "fail").write_text("cat1 cat4")
    report = run(bench, tmp_path, toy("Picky"), toy("Plain"))
    assert report.made == 10
    assert [str(failure) for failure in report.failures] == [
        f"picky/{bench.pairs[k].id}_0: ZeroDivisionError: no luck with {bench.pairs[k].id}" for k in (1, 4)
    ]
    assert "toys.py" in report.failures[0].trace
    (toys / "fail").write_text("")
    assert run(bench, tmp_path, toy("Picky")).made == 2


def test_a_model_that_cannot_be_loaded_stops_no_other(bench: Bench, toys: Path, tmp_path: Path) -> None:
    report = run(bench, tmp_path, toy("Broken"), toy("Plain"))
    assert report.made == 6
    assert [str(f) for f in report.failures] == [
        "broken: 6 of 6 missing videos not made: RuntimeError: weights are upside down"
    ]


@pytest.mark.parametrize("room", [1, 3, 8])
def test_out_of_memory_halves_the_batch_and_goes_on(bench: Bench, toys: Path, tmp_path: Path, room: int) -> None:
    report = run(bench, tmp_path, toy("Batched", batch="6", room=str(room)))
    assert (report.made, report.failures) == (6, ())
    sizes = [int(line) for line in (toys / "batches").read_text().split()]
    assert max(sizes[sizes.index(max(sizes)) + 1 :], default=0) <= max(3, room)
    assert sizes[0] == 6


def test_after_running_out_of_memory_the_smaller_batch_stays(bench: Bench, toys: Path, tmp_path: Path) -> None:
    run(bench, tmp_path, toy("Batched", batch="4", room="2"), seeds=(0, 1))
    sizes = [int(line) for line in (toys / "batches").read_text().split()]
    assert sizes == [4, 2, 2, 2, 2, 2, 2]


def test_one_pair_that_does_not_fit_fails_alone(bench: Bench, toys: Path, tmp_path: Path) -> None:
    report = run(bench, tmp_path, toy("Greedy"))
    assert len(report.failures) == 6
    assert "MemoryError: unable to allocate" in str(report.failures[0])


@pytest.mark.parametrize(
    ("returns", "words"),
    [
        ("np.zeros((4, 32, 32, 3), np.float32)", r"'odd' returned float32 of shape \(4, 32, 32, 3\); expected uint8"),
        ("np.zeros((4, 3, 32, 32), np.uint8)", r"\(4, 3, 32, 32\)"),
        ("np.zeros((4, 31, 32, 3), np.uint8)", "32x31"),
        ("[np.zeros((2, 2, 3)), np.zeros((3, 3, 3))]", "'odd' returned a builtins.list"),
        ("None", r"returned object of shape \(\)"),
    ],
)
def test_frames_of_another_form_are_described(
    bench: Bench, toys: Path, tmp_path: Path, returns: str, words: str
) -> None:
    (toys / "returns").write_text(returns)
    report = run(bench, tmp_path / "out", toy("Odd"))
    assert len(report.failures) == 6
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(report.failures[0].reason)
    assert not list((tmp_path / "out").rglob("*.*"))


def test_tensors_and_lists_of_frames_are_taken_as_they_are() -> None:
    torch = pytest.importorskip("torch")
    frames = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 3), dtype=np.uint8)
    assert np.array_equal(as_frames(torch.from_numpy(frames), "m"), frames)
    assert np.array_equal(as_frames(list(frames), "m"), frames)
    with pytest.raises(VideoError, match="'m' returned float32"):
        as_frames(torch.zeros(4, 8, 8, 3), "m")
    with pytest.raises(VideoError, match="numpy cannot read"):
        as_frames(torch.zeros(4, 8, 8, 3, requires_grad=True), "m")


def test_a_full_disk_stops_the_run_with_one_error_and_keeps_what_is_finished(
    bench: Bench, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def fsync(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) > 5:  # two files per video: the third video's mp4 does not fit
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(StorageError, match=r"_0\.mp4: the disk is full"):
        run(bench, tmp_path / "out", toy("Plain"), toy("Told"))
    folder = tmp_path / "out" / "plain"
    assert len(list(folder.glob("*.mp4"))) == 2
    assert not list(folder.rglob("*.partial"))
    assert not list(folder.rglob("*.lock"))
    monkeypatch.undo()
    monkeypatch.setenv("TOYS", str(toys))
    assert run(bench, tmp_path / "out", toy("Plain")).made == 4


def test_one_folder_never_mixes_two_settings(bench: Bench, toys: Path, tmp_path: Path) -> None:
    generate(bench.pairs[:2], [toy("Told", steps="50")], tmp_path, show=False)
    report = run(bench, tmp_path, toy("Told", steps="25"))
    assert report.made == 0
    assert "steps=50, not steps=25. Give another --out, or another name with --as." in str(report.failures[0])
    assert run(bench, tmp_path, Request(f"{TOYS}:Told", ModelOptions(settings={"steps": "25"}), "told25")).made == 6
    assert run(bench, tmp_path, toy("Told", steps="50")).made == 4


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (ModelOptions(settings={"steps": "25"}), "steps=50, not steps=25"),
        (ModelOptions(fast=True), "fast False, not True"),
        (ModelOptions(precision="float16"), "precision float32, not float16"),
        (ModelOptions(settings={"steps": "5e1", "size": "(320, 512)"}, precision="float32"), ""),
        (ModelOptions(), ""),
    ],
)
def test_a_finished_folder_is_not_taken_for_one_of_other_settings(
    bench: Bench, toys: Path, tmp_path: Path, wish: ModelOptions, words: str
) -> None:
    generate(bench.pairs[:1], [toy("Told", steps="50")], tmp_path, show=False)
    sidecar = next((tmp_path / "told").glob("*.json"))
    record = json.loads(sidecar.read_text()) | {"settings": {"steps": 50, "size": [320, 512]}, "precision": "float32"}
    sidecar.write_text(json.dumps(record))
    report = generate(bench.pairs[:1], [Request(f"{TOYS}:Told", wish, "told")], tmp_path, show=False)
    assert (report.made, report.present) == (0, 1)
    assert [words in str(failure) for failure in report.failures] == ([True] if words else [])


@pytest.mark.parametrize("content", ['{"origin": "gener', "[]", "\x00\x00"])
def test_a_broken_sidecar_in_a_finished_folder_is_named_in_one_line(
    bench: Bench, toys: Path, tmp_path: Path, content: str
) -> None:
    generate(bench.pairs[:1], [toy("Told")], tmp_path, show=False)
    sidecar = next((tmp_path / "told").glob("*.json"))
    sidecar.write_text(content)
    report = generate(bench.pairs[:1], [toy("Told"), toy("Plain")], tmp_path, show=False)
    assert [f"{sidecar.name} is no sidecar of a video" in str(failure) for failure in report.failures] == [True]
    assert (report.made, report.present) == (1, 1)


def test_one_folder_never_mixes_exact_and_fast(
    bench: Bench, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(bench.pairs[:2], [toy("Told", steps="50")], tmp_path, show=False)
    record = json.loads(next((tmp_path / "told").glob("*.json")).read_text())
    assert record["fast"] is False
    monkeypatch.setattr("ti2v_bench.runner.making.load_model", lambda *_: toy_models.Told("50"))
    with pytest.raises(RunError, match="made with fast False, not True"):
        Maker(Recipe("told", "told", ModelOptions(fast=True), str(tmp_path), ("cpu",)))


def test_the_fast_form_always_gets_full_batches(
    bench: Bench, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is compiled is compiled for one batch size."""
    monkeypatch.setattr("ti2v_bench.runner.making.load_model", lambda *_: toy_models.Batched("4", "8"))
    maker = Maker(Recipe("batched", "batched", ModelOptions(fast=True), str(tmp_path), ("cpu",)))
    outcomes = [
        outcome for part in (bench.pairs[:4], bench.pairs[4:]) for outcome in maker.make(plan_jobs("b", part, [0]))
    ]
    assert [outcome.job.pair for outcome in outcomes] == list(bench.pairs)
    assert (toys / "batches").read_text() == "4\n4\n"
    assert len(list((tmp_path / "b").glob("*.mp4"))) == 6


def test_a_batch_grows_to_what_fits_and_no_further(bench: Bench, toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(usable=100, held=20, peak=34)  # (90 - 20) / 14: five
    monkeypatch.setattr("ti2v_bench.runner.making.measured", lambda: memory)
    request = replace(toy("Batched", batch="16", room="8"), grow=True)
    assert generate(bench.pairs, [request], toys / "out", show=False).made == 6
    sizes = [json.loads(path.read_text())["batch"] for path in (toys / "out" / "batched").glob("*.json")]
    assert sorted(sizes) == [1, 5, 5, 5, 5, 5]


@pytest.mark.parametrize(
    ("memory", "batch"), [(None, 1), (Memory(100, 20, 20), 1), (Memory(100, 50, 95), 1), (Memory(10**6, 20, 34), 16)]
)
def test_a_batch_is_at_least_one_and_at_most_what_was_asked(memory: Memory | None, batch: int) -> None:
    assert fitting_batch(memory, 16) == batch


def test_shards_share_the_work_without_overlap(bench: Bench, toys: Path, tmp_path: Path) -> None:
    made = [
        generate(bench.pairs, [toy("Plain")], tmp_path, (0, 1), shard=(index, 5), show=False).made for index in range(5)
    ]
    assert made == [3, 3, 2, 2, 2]
    assert len(list((tmp_path / "plain").glob("*.mp4"))) == 12


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "a b", "", "x:y"])
def test_names_that_are_no_folder_are_refused(bench: Bench, tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match="--as"):
        run(bench, tmp_path, Request("no.module:Thing" if not name else "static", name=name))


def test_a_model_asked_for_twice_is_refused(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="'static' is asked for 2 times"):
        run(bench, tmp_path, Request("static"), Request("static"))


def test_a_video_whose_worker_died_before_it_could_say_so_counts_as_made(bench: Bench) -> None:
    jobs = plan_jobs("a", bench.pairs[:2], [0])
    queue = JobQueue(jobs)
    queue.take(2)
    assert queue.lost(jobs[:1], "SIGKILL") == []
    assert queue.take(2) == jobs[:1]
    ends = queue.settle([Outcome(jobs[0], "present"), Outcome(jobs[1], "present")])
    assert [end.status for end in ends] == ["made", "present"]
    assert not queue.open


def test_the_queue_looks_again_at_jobs_in_other_hands_and_gives_up_on_killers(bench: Bench) -> None:
    jobs = plan_jobs("m", bench.pairs, [0])
    queue = JobQueue(jobs, pause=0)
    first = queue.take(4)
    assert queue.settle([Outcome(first[0], "taken"), Outcome(first[1], "made")]) == [Outcome(first[1], "made")]
    assert queue.lost(first[2:], "signal 9") == []
    assert queue.take(2) == jobs[4:]
    assert [queue.take(3), queue.take(3)] == [[jobs[2]], [jobs[3]]]  # suspects work alone
    assert [end.job for end in queue.lost([jobs[2]], "signal 9")] == [jobs[2]]
    assert queue.take(3) == [jobs[0]]
    queue.settle([Outcome(job, "made") for job in (jobs[0], jobs[3], *jobs[4:])])
    assert not queue.open
