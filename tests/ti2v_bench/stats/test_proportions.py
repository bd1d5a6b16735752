"""Plain proportions against scipy, statsmodels and printed values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from ti2v_bench.stats.proportions import (
    benjamini_hochberg,
    binomial_p,
    clopper_pearson_interval,
    holm,
    wilson,
    wilson_interval,
)

CASES = [(0, 1), (1, 1), (7, 50), (160, 320), (193, 320), (320, 320)]


@pytest.mark.parametrize(("wins", "n"), CASES)
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_wilson_agrees_with_scipy_and_statsmodels(wins: int, n: int, level: float) -> None:
    expected = binomtest(wins, n).proportion_ci(level, method="wilson")
    estimate = wilson(wins, n, level)
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert (estimate.low, estimate.high) == pytest.approx(proportion_confint(wins, n, 1 - level, "wilson"), abs=1e-12)


def test_wilson_gives_the_printed_example() -> None:
    """Newcombe (1998), Statistics in Medicine 17, 857-872, table I: 81 of 263 by method 3."""
    estimate = wilson(81, 263)
    assert estimate.low == pytest.approx(0.2553, abs=5e-5)
    assert estimate.high == pytest.approx(0.3662, abs=5e-5)


def test_wilson_of_nothing_says_so() -> None:
    estimate = wilson(0, 0)
    assert estimate.value is None
    assert estimate.why == "nothing was counted"


@pytest.mark.parametrize(("wins", "n"), [(-1, 3), (4, 3)])
def test_wilson_refuses_impossible_counts(wins: int, n: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        wilson(wins, n)


@pytest.mark.parametrize(("wins", "n"), CASES)
def test_clopper_pearson_agrees_with_scipy_and_statsmodels(wins: int, n: int) -> None:
    low, high = clopper_pearson_interval(wins, n)
    expected = binomtest(wins, n).proportion_ci(method="exact")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert (low, high) == pytest.approx(proportion_confint(wins, n, method="beta"), abs=1e-12)


@given(st.integers(0, 60), st.integers(1, 60))
@settings(derandomize=True, max_examples=60, deadline=None)
def test_exact_p_agrees_with_scipy(wins: int, n: int) -> None:
    wins = min(wins, n)
    assert binomial_p(wins, n) == pytest.approx(binomtest(wins, n).pvalue, rel=1e-9)


def test_no_trials_leave_everything_open() -> None:
    assert binomial_p(0, 0) == 1
    assert wilson_interval(0, 0) == (0, 1)
    assert clopper_pearson_interval(0, 0) == (0, 1)


@pytest.mark.parametrize("seed", range(5))
def test_adjusted_p_values_agree_with_statsmodels(seed: int) -> None:
    p = list(np.random.default_rng(seed).beta(0.3, 1, 4 + seed).round(3))  # rounded: ties occur
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1], abs=1e-12)


def test_holm_gives_the_textbook_steps() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])


def test_nothing_to_adjust_stays_nothing() -> None:
    assert holm([]) == []
    assert benjamini_hochberg(list(np.array([]))) == []
