"""The published numbers are whole, as printed, and their page is generated from them."""

import math

import pytest
from scipy.stats import binomtest

from ti2v_bench.leaderboard.published import published, published_comparisons, published_markdown
from ti2v_bench.results import results_folder


def test_each_printed_score_has_exactly_one_count_and_it_is_the_recorded_one() -> None:
    counts = published()["majority_counts"]["won_by_model"]
    for row in published()["figure_4"]["rows"]:
        printed = row["ti2v_score"]["model"]
        fitting = [k for k in range(321) if math.floor(1000 * k / 320 + 0.5) / 10 == printed]
        assert fitting == [counts[row["baseline"]]]
        assert row["ti2v_score"]["baseline"] == pytest.approx(100 - printed)
    assert list(counts.values()) == [193, 277, 213, 247, 232, 200, 271, 218, 220]


def test_labels_sum_to_one_hundred_unless_flagged() -> None:
    for row in published()["figure_4"]["rows"]:
        sums = {flag["reason"] for flag in row["flags"] if flag["kind"] == "sum"}
        for reason, shares in row["reasons"].items():
            assert (sum(shares.values()) == pytest.approx(100, abs=0.01)) != (reason in sums), (row["baseline"], reason)
    for row in published()["ablations"]:
        whole = sum(row["ti2v_score"].values()) == pytest.approx(100, abs=0.01)
        assert whole != bool(row["flags"])


def test_mean_is_that_of_the_nine_printed_scores() -> None:
    rows = published()["figure_4"]["rows"]
    assert sum(row["ti2v_score"]["model"] for row in rows) / 9 == pytest.approx(71.92, abs=0.005)


def test_intervals_and_p_agree_with_scipy() -> None:
    for each in published_comparisons():
        test = binomtest(each.won, 320)
        assert each.p == pytest.approx(test.pvalue, rel=1e-9)
        wilson = test.proportion_ci(method="wilson")
        assert (each.score.low, each.score.high) == pytest.approx((wilson.low, wilson.high))
        assert each.exact == pytest.approx(tuple(test.proportion_ci(method="exact")))


def test_the_page_of_published_numbers_is_the_generated_one() -> None:
    assert (results_folder() / "published.md").read_text(encoding="utf-8") == published_markdown()
