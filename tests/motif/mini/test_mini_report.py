"""The study's tables against numbers worked out by hand or by statsmodels."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from motif.mini.report import (
    ablation,
    accuracy,
    against_plain,
    draw,
    markdown,
    pace,
    pair,
    paired,
    ratio,
    records,
    steps_to,
)
from ti2v_bench.results import results_folder


def _row(cell: str, seed: int, step: int, outcomes: str, error: float = 2.0) -> dict[str, object]:
    return {
        "cell": cell, "seed": seed, "step": step, "outcomes": outcomes, "error_ratio": {"100": error, "900": 4 * error},
        "still_psnr": [20.0 + seed], "first_psnr": [30.0], "hot": 0.02, "mean_heat": 0.03,
    }  # fmt: skip


def test_ratio_is_the_geometric_mean() -> None:
    assert ratio(_row("plain", 0, 1, "0")) == pytest.approx(4.0)


def test_accuracy_counts_zeros_of_each_half_with_wilsons_interval() -> None:
    rows = [_row("plain", 0, 1, "0010" + "3300"), _row("plain", 1, 1, "0000" + "1111")]
    seen = accuracy(rows, "seen")
    low, high = proportion_confint(7, 8, method="wilson")
    assert (seen.value, seen.n) == (7 / 8, 8)
    assert (seen.low, seen.high) == pytest.approx((low, high))
    assert accuracy(rows, "held out").value == 2 / 8
    assert accuracy(rows, "all").value == 9 / 16


def test_pairs_are_compared_scene_by_scene() -> None:
    found = paired(_row("lambda-1", 0, 1, "0011"), _row("plain", 0, 1, "0111"))
    half = stats.norm.ppf(0.975) * np.std([0, 1, 0, 0], ddof=1) / 2
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25 - half, 0.25 + half))


def test_seeds_are_paired_with_plain() -> None:
    rows = [_row("plain", s, 9, "0", e) for s, e in enumerate((2.0, 3.0, 4.0))]
    rows += [_row("mask", s, 9, "0", e) for s, e in enumerate((1.0, 2.5, 2.0))]
    found = against_plain(rows, "mask", ratio)
    expected = stats.ttest_1samp([-2.0, -1.0, -4.0], 0).confidence_interval(0.95)
    assert found.value == pytest.approx(-7 / 3)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert against_plain(rows[:4], "mask", ratio).low is None
    assert against_plain(rows, "absent", ratio).value is None


def test_steps_to_a_level_are_read_between_checkpoints() -> None:
    rows = [_row("plain", 0, 100, "0111"), _row("plain", 0, 200, "0001"), _row("plain", 1, 200, "1111")]
    assert steps_to(rows, "plain", 0, 0.5) == pytest.approx(150)
    assert steps_to(rows, "plain", 0, 0.125) == pytest.approx(50)
    assert steps_to(rows, "plain", 1, 0.5) is None


def test_steps_are_compared_only_where_every_pair_gets_there() -> None:
    rows = [_row(cell, seed, step, found)
            for cell, seed, early, late in (("plain", 0, "1111", "0011"), ("plain", 1, "1111", "0001"),
                                            ("mask", 0, "0011", "0011"), ("mask", 1, "0111", "0011"))
            for step, found in ((100, early), (200, late))]  # fmt: skip
    half = ablation(rows)["mask"]["steps_to_half"]
    assert half["runs"] == pytest.approx([100, 200])  # type: ignore[index]
    assert half["against_plain"]["value"] == pytest.approx((100 - 200 + 200 - 166.667) / 2, abs=0.01)  # type: ignore[index]
    rows[3] = _row("plain", 1, 200, "1111")
    unreached = ablation(rows)["mask"]["steps_to_half"]["against_plain"]  # type: ignore[index]
    assert unreached["value"] is None
    assert unreached["why"] == "not reached in 1 of 2 pairs"
    assert ablation(rows)["mask"]["accuracy_by_step"]["100"]["against_plain"]["value"] == pytest.approx(0.375)  # type: ignore[index]


def test_a_run_in_several_folders_counts_once(tmp_path: Path) -> None:
    for study, cells in (("a", ("plain", "mask")), ("b", ("mask", "lambda-1"))):
        for cell in cells:
            path = tmp_path / study / "runs" / f"{cell}-0.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(_row(cell, 0, step, "0")) + "\n" for step in (1, 2)))
    found = records([tmp_path / "a", tmp_path / "b"], "runs")
    assert [(r["cell"], r["step"]) for r in found] == [
        (cell, step) for cell in ("plain", "lambda-1", "mask") for step in (1, 2)
    ]
    assert records([tmp_path / "a"], "pair") == []


def test_the_published_tables_follow_from_the_published_runs(tmp_path: Path) -> None:
    folder = results_folder() / "mini_motif"
    rows, both = records([folder], "runs"), records([folder], "pair")
    kept = json.loads((folder / "study.json").read_text())
    tables = pair(both), ablation(rows)
    assert (folder / "study.md").read_text() == markdown(*tables, kept["about"], pace(rows))
    assert json.loads(json.dumps(tables)) == [kept["pair"], kept["ablation"]]
    draw(rows[:8], both, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
