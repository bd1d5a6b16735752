"""The study's tables against numbers worked out by hand or by statsmodels."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from motif.mini.report import ablation, accuracy, against_plain, draw, markdown, pair, paired, ratio, steps_to
from motif.mini.study import read_runs
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


def test_the_published_tables_follow_from_the_published_runs(tmp_path: Path) -> None:
    folder = results_folder() / "mini_motif"
    rows, both = read_runs(folder / "runs.jsonl"), read_runs(folder / "pair.jsonl")
    import json

    about = json.loads((folder / "about.json").read_text())
    kept = json.loads((folder / "study.json").read_text())
    assert (folder / "study.md").read_text() == markdown(pair(both), ablation(rows), about)
    assert json.loads(json.dumps(ablation(rows))) == kept["ablation"]
    draw(rows[:8], both, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
