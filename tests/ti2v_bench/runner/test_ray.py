"""A real Ray cluster of several nodes (raylets) on this machine; nodes and workers are killed in mid-run."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ti2v_bench.runner.test_pool import logged
from tests.ti2v_bench.runner.test_processes import TOYS, finish, making, running, until, whole
from ti2v_bench.bench import Bench
from ti2v_bench.model import ModelOptions
from ti2v_bench.runner.jobs import JobQueue, RunError, plan_jobs
from ti2v_bench.runner.making import Recipe
from ti2v_bench.runner.messages import Done, Loaded, Refusal
from ti2v_bench.runner.ray_pool import Parcel, RayWorker, run_ray
from ti2v_bench.video import read_video


def in_cluster(test: Callable[..., None]) -> Callable[..., None]:
    for mark in (pytest.mark.ray, pytest.mark.timeout(400), pytest.mark.filterwarnings("default")):
        test = mark(test)
    return test


@pytest.fixture
def cluster(request: pytest.FixtureRequest, toys: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without room for work and two nodes with room for one worker each."""
    if "ray" not in request.config.getoption("-m"):
        pytest.skip("starts a Ray cluster; run with -m ray")
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    room = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **room})
    found.workers = [found.add_node(num_cpus=1, object_store_memory=80 * 2**20) for _ in range(2)]
    found.wait_for_nodes()
    monkeypatch.setenv("RAY_ADDRESS", found.address)
    yield found
    found.shutdown()


@in_cluster
def test_every_video_is_made_although_a_node_and_a_worker_are_killed(
    cluster: Any, bench: Bench, toys: Path, tmp_path: Path
) -> None:
    ids = [pair.id for pair in bench.pairs]
    with running(*making(bench, tmp_path / "out", "Waiting", "--executor", "ray")) as process:
        until(lambda: all((toys / f"started_{name}").exists() for name in ids[:2]), process, 180)
        first = [int((toys / f"started_{name}").read_text()) for name in ids[:2]]
        cluster.remove_node(cluster.workers[0], allow_graceful=False)  # with the worker in mid-video
        until(lambda: sum(map(alive, first)) == 1, process)
        os.kill(next(filter(alive, first)), signal.SIGKILL)
        (toys / "go").touch()
        code, out, err = finish(process, 180)
    assert code == 0, err
    assert "6 made, 0 already there, 0 failed\n" in out  # Ray itself prints on standard output
    assert Counter(name for name, _ in logged(toys)) == dict.fromkeys(ids, 1)
    assert whole(tmp_path / "out" / "waiting", bench)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


@in_cluster
def test_failures_come_back_from_the_cluster(cluster: Any, bench: Bench, toys: Path, tmp_path: Path) -> None:
    (toys / "fail").write_text("cat3")
    with running(*making(bench, tmp_path / "out", "Picky", "--executor", "ray")) as process:
        code, out, err = finish(process, 180)
    assert code == 1
    assert "5 made, 0 already there, 1 failed\n" in out
    assert f"failed picky/{bench.pairs[3].id}_0: ZeroDivisionError: no luck with {bench.pairs[3].id}" in err


def test_a_host_that_does_not_see_the_bench_works_with_the_images_that_travel(bench: Bench, tmp_path: Path) -> None:
    job = plan_jobs("static", bench.pairs, [0])[2]
    afar = replace(job, pair=replace(job.pair, image=Path("/not/on/this/host") / job.pair.image.name))
    worker = RayWorker(Recipe("static", "static", ModelOptions(), str(tmp_path / "out"), ("cpu",)))
    assert worker.load() == Loaded(1)
    assert worker.make([Parcel(afar, job.pair.image.read_bytes())]) == Done([], 1)  # it is being written
    answer = worker.make([])
    assert isinstance(answer, Done)
    assert [(outcome.job, outcome.status) for outcome in answer.outcomes] == [(afar, "made")]
    assert np.abs(read_video(job.path(tmp_path / "out")).frames.astype(int)[0, 5, 5] - (40, 100, 50)).max() < 6


def test_a_worker_tells_why_it_cannot_load_its_model(toys: Path, tmp_path: Path) -> None:
    worker = RayWorker(Recipe("broken", f"{TOYS}:Broken", ModelOptions(), str(tmp_path), ("cpu",)))
    assert worker.load() == Refusal("RuntimeError: weights are upside down", storage=False)


def test_without_a_cluster_the_error_says_how_to_start_one(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoRay:
        """Stands for Ray where no cluster runs."""

        @staticmethod
        def is_initialized() -> bool:
            return False

        @staticmethod
        def init(**_: object) -> None:
            raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setitem(sys.modules, "ray", NoRay)  # type: ignore[arg-type]
    recipe = Recipe("static", "static", ModelOptions(), str(tmp_path), ("cpu",))
    with pytest.raises(RunError, match="ray start --head"):
        list(run_ray(recipe, JobQueue(plan_jobs("static", bench.pairs, [0]))))
