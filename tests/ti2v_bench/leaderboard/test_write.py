"""Report files: complete, repeatable, safe with any name."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.votes_by_hand import random_votes
from ti2v_bench.files import StorageError
from ti2v_bench.leaderboard import Exclusions, ReportSettings, figure, write_report
from ti2v_bench.leaderboard.wording import with_limits
from ti2v_bench.leaderboard.write import FILES
from ti2v_bench.votes import check_votes

NASTY = "[2em]<script>alert(1)</script>|&_$x^{2}%\\input{x}`\"'*~#"


SCRIPT = """
import sys
from pathlib import Path
from ti2v_bench.files import StorageError
from ti2v_bench.leaderboard import Exclusions, ReportSettings, write_report
from ti2v_bench.votes import read_votes
write_report(read_votes(sys.argv[1]), Path(sys.argv[2]), ReportSettings(seed=7, exclusions={rules!r}))
"""


def test_another_process_with_other_hashes_and_row_order_writes_the_same_bytes(tmp_path: Path) -> None:
    main = random_votes("ABC", seed=1, star=False, choices=(0.4, 0.4, 0.1, 0.1))
    others = [main.iloc[at::5].assign(kind=kind) for at, kind in enumerate(("main", "gold", "repeat", "training"))]
    frame = pd.concat([main, *others], ignore_index=True).assign(vote_id=lambda f: f.index.astype(str))
    rules = Exclusions(min_seconds=7, min_gold=0.2, second_votes=True)
    write_report(check_votes(frame), tmp_path / "one", ReportSettings(seed=7, exclusions=rules))
    frame.sample(frac=1, random_state=2).to_csv(tmp_path / "v.csv", index=False)
    arguments = [sys.executable, "-c", SCRIPT.format(rules=rules), tmp_path / "v.csv", tmp_path / "two"]
    subprocess.run(arguments, env=os.environ | {"PYTHONHASHSEED": "77"}, check=True)
    for name in FILES:
        one, two = ((tmp_path / folder / name).read_bytes() for folder in ("one", "two"))
        if name == "report.json":
            one, two = (re.sub(rb'"created_at": "[^"]*"', b"", data) for data in (one, two))
        assert one == two, name


def test_every_reason_in_a_table_carries_its_interval_and_n(tmp_path: Path) -> None:
    report = write_report(check_votes(random_votes()), tmp_path)
    shares = report.comparisons[0].reasons["object_motion"]
    cells = [with_limits(shares[side]) for side in ("model", "none", "opponent")]
    assert f"| A | B | Object motion | 120 | {' | '.join(cells)} |" in (tmp_path / "leaderboard.md").read_text()
    page = re.sub(r"<[^>]+>|\n", "", (tmp_path / "leaderboard.html").read_text())
    assert "ABObject motion120" + "".join(cells) in page


def test_a_folder_that_cannot_be_made_is_named_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"Cannot write .*file/out"):
        write_report(check_votes(random_votes().iloc[:1]), tmp_path / "file" / "out")


def test_names_in_the_figure_are_cut_by_how_wide_they_are() -> None:
    assert figure._cut("a" * 22) == "a" * 22
    assert figure._cut("a" * 23) == "a" * 21 + "…"
    assert figure._cut("模" * 12) == "模" * 10 + "…"
    assert figure._cut("") == ""


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
    row = pd.read_csv(tmp_path / "leaderboard.csv").iloc[0]
    assert all(row[f"{name}_method"] for name in ("majority", "vote_share", "vote_share_fixed_bench"))
    assert json.loads((tmp_path / "report.json").read_text())["comparisons"][0]["model"] == NASTY


@pytest.mark.parametrize("rows", [0, 1])
def test_hardly_any_votes_still_make_a_report(tmp_path: Path, rows: int) -> None:
    frame = random_votes()[["pair_id", "left", "right", "choice", "annotator"]].iloc[:rows]
    report = write_report(check_votes(frame), tmp_path)
    assert report.protocol.n_votes == rows
    assert all((tmp_path / name).stat().st_size for name in FILES)
    assert "NaN" not in (tmp_path / "report.json").read_text()
