"""Report files: complete, repeatable, safe with any name."""

import json
import re
from pathlib import Path

import pytest

from tests.votes_by_hand import random_votes
from ti2v_bench.leaderboard import ReportSettings, write_report
from ti2v_bench.leaderboard.write import FILES
from ti2v_bench.votes import check_votes

NASTY = "[2em]<script>alert(1)</script>|&_$x^{2}%\\input{x}`\"'*~#"


def test_all_files_are_written_and_equal_for_shuffled_votes(tmp_path: Path) -> None:
    frame = random_votes(models=("A", "B", "C"), seed=1)
    write_report(check_votes(frame), tmp_path / "one", ReportSettings(seed=7))
    write_report(check_votes(frame.sample(frac=1, random_state=2)), tmp_path / "two", ReportSettings(seed=7))
    for name in FILES:
        one, two = ((tmp_path / folder / name).read_bytes() for folder in ("one", "two"))
        if name == "report.json":
            one, two = (re.sub(rb'"created_at": "[^"]*"', b"", data) for data in (one, two))
        assert one == two, name


def test_names_from_votes_are_shown_literally_and_run_nowhere(tmp_path: Path) -> None:
    write_report(check_votes(random_votes(models=(NASTY, "=1+1"))), tmp_path, ReportSettings(star=NASTY))
    page = (tmp_path / "leaderboard.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in (tmp_path / "preferences.svg").read_text()
    assert "<script>" not in (tmp_path / "leaderboard.md").read_text()
    assert "\n[2em]" not in (tmp_path / "leaderboard.tex").read_text()  # would be an argument of the line before
    assert "\\input{" not in (tmp_path / "leaderboard.tex").read_text()
    assert ",'=1+1," in (tmp_path / "leaderboard.csv").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["comparisons"][0]["model"] == NASTY


@pytest.mark.parametrize("rows", [0, 1])
def test_hardly_any_votes_still_make_a_report(tmp_path: Path, rows: int) -> None:
    frame = random_votes()[["pair_id", "left", "right", "choice", "annotator"]].iloc[:rows]
    report = write_report(check_votes(frame), tmp_path)
    assert report.protocol.n_votes == rows
    assert all((tmp_path / name).stat().st_size for name in FILES)
    assert "NaN" not in (tmp_path / "report.json").read_text()
