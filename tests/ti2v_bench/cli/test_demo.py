"""The main job end to end, as a newcomer runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def _demo(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "ti2v_bench", "demo", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(300)
def test_headless_demo_makes_every_vote_that_was_asked_for_and_marks_it_simulated(tmp_path: Path) -> None:
    done = _demo(tmp_path, "--headless", "--simulate", "3", "--pairs", "4", "--votes", "3")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "demo/report/report.json").read_text())
    assert report["protocol"]["simulated"] is True
    for comparison in report["comparisons"]:
        assert (comparison["n_pairs"], comparison["n_votes"], comparison["n_annotators"]) == (4, 12, 3)
    for name in ("leaderboard.md", "leaderboard.html", "leaderboard.tex", "leaderboard.csv"):
        assert "SIMULATED" in (tmp_path / "demo/report" / name).read_text().upper(), name
    assert "SIMULATED" in done.stdout


def test_headless_without_voters_says_what_to_add(tmp_path: Path) -> None:
    done = _demo(tmp_path, "--headless")
    assert done.returncode == 2
    assert "--simulate" in done.stderr
    assert not list(tmp_path.iterdir())
