"""Agreement of metrics and votes counted by hand, tau against scipy, means against statsmodels."""

import itertools

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import kendalltau

from ti2v_bench.metrics.agree import agreement, as_markdown
from ti2v_bench.metrics.catalogue import MetricError
from ti2v_bench.metrics.ranks import strengths, tau_b
from ti2v_bench.metrics.table import clustered_mean, model_means
from ti2v_bench.votes import check_votes


def metric_table(values: dict[tuple[str, str], float], name: str = "psnr") -> pd.DataFrame:
    rows = [
        {"model": m, "pair_id": p, "scenario": p[0], "image_id": p, "seed": 0, name: v} for (m, p), v in values.items()
    ]
    return pd.DataFrame(rows)


def vote_rows(rows: list[tuple[str, str, str, str, str, str]]) -> pd.DataFrame:
    columns = ["pair_id", "left", "right", "choice", "annotator", "reasons"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["scenario"] = frame["pair_id"].str[0]
    return check_votes(frame)


def test_shares_by_hand() -> None:
    values = {
        ("a", "p1"): 3.0,
        ("b", "p1"): 1.0,
        ("a", "q1"): 1.0,
        ("b", "q1"): 2.0,
        ("a", "r1"): 5.0,
        ("b", "r1"): 5.0,
    }
    votes = vote_rows(
        [
            ("p1", "a", "b", "left", "x", "text_alignment"),  # predicted
            ("p1", "b", "a", "right", "y", "object_motion;text_alignment"),  # predicted
            ("q1", "a", "b", "left", "x", "object_motion"),  # not predicted
            ("r1", "a", "b", "right", "y", "none"),  # equal values: half
            ("r1", "a", "b", "tie", "z", "none"),  # names no model
            ("s1", "a", "b", "left", "z", "none"),  # no values
        ]
    )
    report = agreement(votes, metric_table(values))
    (row,) = report.metrics
    assert row.predicted["overall"].value == pytest.approx(2.5 / 4)
    assert row.predicted["overall"].n == 4
    assert row.predicted["text_alignment"].value == 1.0
    assert row.predicted["object_motion"].value == 0.5
    assert row.predicted["overall_quality"].value is None
    assert (report.votes, report.without_choice, report.without_values["psnr"]) == (5, 1, 1)
    assert row.static_preferred.value is None
    assert "62.5%" in as_markdown(report)


def test_the_still_control_counts_how_often_a_metric_prefers_it() -> None:
    values = {("a", "p1"): 3.0, ("b", "p1"): 1.0, ("a", "q1"): 4.0, ("b", "q1"): 2.0}
    still = {("static", "p1"): 2.0, ("static", "q1"): 4.0}
    votes = vote_rows([("p1", "a", "b", "left", "x", "none"), ("q1", "a", "b", "left", "y", "none")])
    (row,) = agreement(votes, metric_table(values | still)).metrics
    assert row.static_preferred.value == pytest.approx((0 + 1 + 0.5 + 1) / 4)


def test_a_metric_that_made_the_votes_predicts_them_and_its_opposite_does_not() -> None:
    rng = np.random.default_rng(0)
    models, pairs = list("abcde"), [f"{s}{i}" for s in "klmnopqr" for i in range(3)]
    values = {(m, p): 2.0 * at + rng.normal(0, 0.8) for at, m in enumerate(models) for p in pairs}
    rows = []
    for pair in pairs:
        for left, right in itertools.combinations(models, 2):
            best = "left" if values[left, pair] > values[right, pair] else "right"
            rows.append((pair, left, right, best, f"w{rng.integers(9)}", "none"))
    frame = metric_table(values)
    frame["ssim"] = -frame["psnr"]
    good, bad = agreement(vote_rows(rows), frame).metrics
    assert good.predicted["overall"].value == 1.0
    assert bad.predicted["overall"].value == 0.0
    assert (good.kendall.value, bad.kendall.value) == (1.0, -1.0)
    assert good.kendall.low is not None
    assert good.kendall.low > 0.7
    assert agreement(vote_rows(rows), frame).metrics == (good, bad), "same seed, same numbers"


def test_tau_interval_of_an_unrelated_metric_holds_zero() -> None:
    rng = np.random.default_rng(1)
    models, pairs = list("abcdef"), [f"{s}{i}" for s in "klmnopqrst" for i in range(2)]
    rows = [
        (pair, left, right, str(rng.choice(["left", "right"])), f"w{rng.integers(12)}", "none")
        for pair in pairs
        for left, right in itertools.combinations(models, 2)
    ]
    frame = metric_table({(m, p): rng.normal() for m in models for p in pairs})
    (row,) = agreement(vote_rows(rows), frame).metrics
    assert row.kendall.low is not None
    assert row.kendall.high is not None
    assert row.kendall.low < 0 < row.kendall.high
    overall = row.predicted["overall"]
    assert overall.low is not None
    assert overall.high is not None
    assert overall.low < 0.5 < overall.high


def test_tau_equals_scipy() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.integers(0, 5, (50, 6)).astype(float), rng.integers(0, 5, (50, 6)).astype(float)
    expected = [kendalltau(a, b).statistic for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(tau_b(first, second), expected)


def test_strengths_satisfy_the_bradley_terry_equations() -> None:
    rng = np.random.default_rng(3)
    won = rng.integers(0, 9, (4, 5, 5)).astype(float) * ~np.eye(5, dtype=bool)
    found = strengths(won, ~np.eye(5, dtype=bool))
    with_prior = won + 0.5 * ~np.eye(5, dtype=bool)
    expected = found[:, :, None] / (found[:, :, None] + found[:, None, :])
    games = with_prior + with_prior.swapaxes(1, 2)
    np.testing.assert_allclose(with_prior.sum(2), (games * expected).sum(2), rtol=1e-6)


def test_model_means_have_the_cluster_robust_interval_of_statsmodels() -> None:
    rng = np.random.default_rng(4)
    clusters = rng.integers(0, 7, 60)
    values = rng.normal(size=60) + clusters
    fitted = sm.OLS(values, np.ones(60)).fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
    found = clustered_mean(values, clusters, "scenario", 0.9)
    assert found.value == pytest.approx(fitted.params[0])
    assert (found.low, found.high) == pytest.approx(tuple(fitted.conf_int(0.1)[0]))


def test_a_share_of_nought_has_an_interval_that_is_not_nought() -> None:
    frame = metric_table({("a", f"{s}{i}"): 0.0 for s in "klmn" for i in range(3)}, "dynamic_degree")
    (cell,) = model_means(frame)
    assert (cell.mean.value, cell.mean.low) == (0.0, 0.0)
    assert cell.mean.high is not None
    assert 0.3 < cell.mean.high < 0.8


def test_tables_without_anything_in_common_are_one_clear_error() -> None:
    votes = vote_rows([("p1", "a", "b", "left", "x", "none")])
    with pytest.raises(MetricError, match="no comparison in common"):
        agreement(votes, metric_table({("c", "p1"): 1.0}))
