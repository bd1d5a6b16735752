"""Two-way cluster-robust means against statsmodels, a plain loop, and hand-made tables."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from scipy.stats import t as student

from tests.votes_by_hand import random_votes
from ti2v_bench.stats.clusters import ClusteredMeans, clustered_means, estimates, intervals, p_values
from ti2v_bench.stats.shares import fixed_bench_shares, vote_shares
from ti2v_bench.stats.table import tabulate
from ti2v_bench.votes import check_votes


def one(score: list[float], first: list[int], second: list[int]) -> ClusteredMeans:
    zeros = np.zeros(len(score), dtype=np.int64)
    codes = (np.array(kind, dtype=np.int64) for kind in (first, second))
    return clustered_means(np.array(score), zeros, 1, *codes)


def effects(seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 12, n), rng.integers(0, 9, n)
    logit = 0.4 + rng.normal(0, 0.8, 12)[first] + rng.normal(0, 0.8, 9)[second]
    return (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float), first, second


@pytest.mark.parametrize("seed", range(4))
def test_variance_agrees_with_statsmodels_two_way_clusters(seed: int) -> None:
    score, first, second = effects(seed)
    fit = sm.OLS(score, np.ones(len(score))).fit(
        cov_type="cluster", cov_kwds={"groups": np.column_stack([first, second]), "use_correction": True}
    )
    assert one(list(score), list(first), list(second)).variance[0] == pytest.approx(fit.bse[0] ** 2, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_variance_agrees_with_the_formula_in_plain_loops(seed: int) -> None:
    score, first, second = effects(seed, 60)
    rest = score - score.mean()

    def by(codes: list[object]) -> float:
        groups = set(codes)
        sums = [sum(r for r, c in zip(rest, codes, strict=True) if c == g) for g in groups]
        return sum(s * s for s in sums) / len(score) ** 2 * len(groups) / (len(groups) - 1)

    cells = list(zip(first, second, strict=True))
    expected = max(by(list(first)) + by(list(second)) - by(cells), by(list(first)), by(list(second)))
    assert one(list(score), list(first), list(second)).variance[0] == pytest.approx(expected, rel=1e-12)


def test_interval_is_t_on_the_logit_scale() -> None:
    score, first, second = effects(0)
    means = one(list(score), list(first), list(second))
    p, se = means.value[0], np.sqrt(means.variance[0])
    reach = student.ppf(0.975, 8) * se / (p * (1 - p))
    expected = [1 / (1 + np.exp(-(np.log(p / (1 - p)) + sign * reach))) for sign in (-1, 1)]
    low, high = intervals(means, 0.95)
    assert [low[0], high[0]] == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 10_000), st.floats(0.5, 0.999))
@settings(derandomize=True, max_examples=50, deadline=None)
def test_p_is_below_alpha_exactly_where_the_interval_excludes_one_half(seed: int, level: float) -> None:
    score, first, second = effects(seed, 30)
    means = one(list(score), list(first), list(second))
    low, high = intervals(means, level)
    p = p_values(means)[0]
    assert 0 <= low[0] <= means.value[0] <= high[0] <= 1
    assert (p < 1 - level) == (not low[0] <= 0.5 <= high[0]) or abs(p - (1 - level)) < 1e-9


def test_unanimous_votes_count_each_cluster_once() -> None:
    means = one([1.0] * 12, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3], [0, 1, 2, 3, 4, 5] * 2)
    estimate = estimates(means, 0.95)[0]
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(binomtest(4, 4).proportion_ci(method="exact").low)
    assert "Clopper-Pearson, each of 4 scenarios counted once" in estimate.method
    assert p_values(means)[0] == pytest.approx(binomtest(4, 4).pvalue)


def test_all_ties_are_one_half_with_a_wide_interval() -> None:
    estimate = estimates(one([0.5] * 8, [0, 1] * 4, [0, 0, 1, 1] * 2), 0.95)[0]
    assert estimate.value == 0.5
    assert estimate.low is not None
    assert estimate.low < 0.1
    assert p_values(one([0.5] * 8, [0, 1] * 4, [0, 0, 1, 1] * 2))[0] == 1


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [([0, 1, 2, 3], [0] * 4, "4 scenarios"), ([0] * 4, [0, 1, 2, 3], "4 annotators"), ([0] * 4, [0] * 4, "pairs")],
)
def test_with_one_cluster_of_a_kind_the_method_names_what_is_left(
    first: list[int], second: list[int], words: str
) -> None:
    estimate = estimates(one([1, 0, 1, 1], first, second), 0.95)[0]
    assert words in estimate.method
    assert estimate.low is not None
    assert 0 < estimate.low < 0.75


def test_one_vote_and_no_vote_have_named_results() -> None:
    single = estimates(one([1.0], [0], [0]), 0.95)[0]
    assert (single.value, single.n, single.low) == (1.0, 1, pytest.approx(0.025))
    nothing = estimates(one([], [], []), 0.95)[0]
    assert (nothing.value, nothing.low, nothing.why) == (None, None, "no vote")


def test_fixed_bench_interval_agrees_with_a_plain_loop() -> None:
    frame = check_votes(random_votes(pairs=30, scenarios=5, seed=3))
    table = tabulate(frame)
    means = fixed_bench_shares(table)
    assert means is not None
    chosen = frame["left"].astype(str).where(frame["choice"] == "left", frame["right"].astype(str))
    rows = frame.assign(y=(chosen == "A").astype(float))
    rows["e"] = rows["y"] - rows.groupby("scenario", observed=True)["y"].transform("mean")
    images, annotators = (rows.groupby(by, observed=True)["e"].sum() for by in ("image_id", "annotator"))
    cells = rows.groupby(["image_id", "annotator"], observed=True)["e"].sum()
    strata = rows["scenario"].nunique()
    terms = [
        (images**2).sum() * len(images) / (len(images) - strata),
        (annotators**2).sum() * len(annotators) / (len(annotators) - 1),
        (cells**2).sum() * len(cells) / (len(cells) - strata),
    ]
    expected = max(terms[0] + terms[1] - terms[2], terms[0], terms[1]) / len(rows) ** 2
    assert means.variance[0] == pytest.approx(expected, rel=1e-12)


def test_row_order_leaves_no_trace() -> None:
    frame = random_votes(models=("A", "B", "C"), seed=5)
    shuffled = frame.sample(frac=1, random_state=1)
    first, second = (vote_shares(tabulate(check_votes(each))) for each in (frame, shuffled))
    assert np.array_equal(first.value, second.value)
    assert np.array_equal(first.variance, second.variance)
