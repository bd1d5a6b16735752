"""Simulated annotators go the way of people: through a running server's routes, marked in every vote."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from annotation_app.export import vote_table
from annotation_app.progress import study_progress
from annotation_app.settings import Protocol
from annotation_app.simulate import prefer_motion, simulate, toss_coin
from tests.annotation_app.conftest import MODELS, Served, start_server, write_study
from ti2v_bench.video import write_video

SECRET = "a secret for this test"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    database = write_study(tmp_path_factory.mktemp("sim"), Protocol(gold_every=5, repeat_every=10), pairs=4)
    yield from start_server(database, simulation=SECRET, public_report=True)


def test_the_report_says_that_there_are_no_votes_yet(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotation_app.live._FRESH_SECONDS", 0.0)  # the next test asks again, with votes
    assert "There are no votes yet" in served.client().get("/report").text


def test_simulated_annotators_finish_the_study_and_are_marked(served: Served) -> None:
    began = time.monotonic()
    done = simulate(served.url, SECRET, 4, judge=toss_coin)
    table = vote_table(served.database)
    main = table[table["kind"] == "main"]
    assert done.errors == []
    assert len(main) == 4 * (len(MODELS) - 1) * 3
    assert len(table) == done.votes
    assert table["simulated"].all()
    assert {"main", "gold"} <= set(table["kind"]) <= {"main", "gold", "repeat"}  # who repeats hangs on the key
    assert study_progress(served.database).simulated == done.votes
    assert time.monotonic() - began < 60


def test_the_live_report_of_simulated_votes_says_so(served: Served) -> None:
    reply = served.client().get("/report")
    assert reply.status_code == 200
    assert "SIMULATED" in reply.text
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("secret", ["", "another", SECRET + "x"])
def test_without_the_secret_nobody_is_simulated(served: Served, secret: str) -> None:
    body = {"secret": secret, "name": "x"}
    assert served.client().post("/api/simulated", json=body).status_code == 409


def test_the_judge_prefers_the_clip_that_moves(tmp_path: Path) -> None:
    still = np.zeros((4, 64, 64, 3), np.uint8)
    moving = still.copy()
    moving[1::2] = 200
    for name, frames in (("still", still), ("moving", moving)):
        write_video(tmp_path / f"{name}.mp4", frames, 8)
    clips = [(tmp_path / f"{name}.mp4").read_bytes() for name in ("still", "moving")]
    draw = random.Random(0)
    choices = [prefer_motion(clips[0], clips[1], draw).choice for _ in range(50)]
    assert choices.count("right") > 40
