"""`report` and `study plan` from the command line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.votes_by_hand import random_votes
from ti2v_bench import cli
from ti2v_bench.cli.plan import plan
from ti2v_bench.cli.report import load, report
from ti2v_bench.errors import TI2VError
from ti2v_bench.leaderboard.write import FILES


def test_report_writes_all_files_and_marks_simulated_votes(tmp_path: Path) -> None:
    random_votes(("A", "B", "C")).to_csv(tmp_path / "v.csv", index=False)
    arguments = [
        str(tmp_path / "v.csv"),
        "--out",
        str(tmp_path / "out"),
        "--published",
        "--seed",
        "3",
        "--level",
        "0.9",
    ]
    result = CliRunner().invoke(report, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "SIMULATED" in result.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(FILES)
    for name in ("leaderboard.md", "leaderboard.tex", "leaderboard.html", "preferences.svg"):
        assert "SIMULATED" in (tmp_path / "out" / name).read_text()
    body = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (body["protocol"]["seed"], body["protocol"]["level"]) == (3, 0.9)
    assert body["created_at"]


def test_a_dirty_table_ends_with_the_rows_and_status_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    random_votes().assign(choice="middle").to_csv(tmp_path / "v.csv", index=False)
    monkeypatch.setattr("sys.argv", ["ti2v-bench", "report", str(tmp_path / "v.csv"), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert "row 1 (spreadsheet row 2), column 'choice': 'middle'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_source_that_is_neither_votes_nor_a_study_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "votes.tsv").write_text("pair_id\tleft\n")
    with pytest.raises(TI2VError, match="neither a study database nor a vote table"):
        load(str(tmp_path / "votes.tsv"))
    with pytest.raises(TI2VError, match="is a folder"):
        load(str(tmp_path))


def test_plan_says_what_can_be_found_and_when_to_stop() -> None:
    result = CliRunner().invoke(
        plan, ["--pairs", "60", "--images", "20", "--scenarios", "10", "--looks", "2", "--simulate", "50"],
        catch_exceptions=False,
    )  # fmt: skip
    assert result.exit_code == 0
    for words in ("as planned", "twice the annotators", "by formula", "by simulation", "look 2 (100% of the votes)"):
        assert words in result.output


def test_a_plan_at_the_edge_of_its_options_still_says_something() -> None:
    edge = ["--image-sd", "10", "--scenario-sd", "10", "--annotator-sd", "10", "--share", "0.001"]
    result = CliRunner().invoke(plan, edge, catch_exceptions=False)
    assert "A vote share of 0.1%" in result.output


def test_an_impossible_plan_is_refused_in_one_line() -> None:
    result = CliRunner().invoke(plan, ["--annotators", "3"])
    assert "needs annotators >= votes >= 1, not 3, 5" in str(result.exception)
