"""Agreement against the krippendorff and statsmodels packages and printed values."""

import krippendorff
import numpy as np
import pytest
from statsmodels.stats.inter_rater import fleiss_kappa

from ti2v_bench.stats.agreement import agreement


def random_counts(seed: int, units: int = 60, votes: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.array([rng.multinomial(rng.integers(1, votes + 1), rng.dirichlet(np.ones(4))) for _ in range(units)])


@pytest.mark.parametrize("seed", range(4))
def test_alpha_agrees_with_the_krippendorff_package(seed: int) -> None:
    counts = random_counts(seed)
    found = agreement(counts, 0.95, 200, 0).alpha
    expected = krippendorff.alpha(value_counts=counts[counts.sum(1) >= 2], level_of_measurement="nominal")
    assert found is not None
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.low <= found.value <= found.high  # type: ignore[operator]


def test_alpha_gives_the_printed_example() -> None:
    """Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, example C: nominal alpha = 0.743."""
    a = [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None]
    b = [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3]
    c = [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None]
    d = [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None]
    counts = np.array([[sum(rater[unit] == k for rater in (a, b, c, d)) for k in range(1, 6)] for unit in range(12)])
    found = agreement(counts, 0.95, 200, 0).alpha
    assert found is not None
    assert found.value == pytest.approx(0.743, abs=5e-4)


def test_raw_agreement_agrees_with_the_observed_part_of_fleiss_kappa() -> None:
    counts = np.random.default_rng(0).multinomial(5, [0.5, 0.3, 0.1, 0.1], 80)
    raw = agreement(counts, 0.95, 200, 0).raw.value
    shares = counts.sum(0) / counts.sum()
    chance = (shares**2).sum()
    kappa = fleiss_kappa(counts)
    assert raw == pytest.approx(kappa * (1 - chance) + chance, abs=1e-12)


def test_bootstrap_over_patterns_equals_one_over_units() -> None:
    counts = random_counts(1, units=80)
    found = agreement(counts, 0.9, 4000, 0).alpha
    rng = np.random.default_rng(1)
    paired = counts[counts.sum(1) >= 2]
    drawn = (paired[rng.integers(0, len(paired), len(paired))] for _ in range(300))
    draws = [krippendorff.alpha(value_counts=each, level_of_measurement="nominal") for each in drawn]
    assert found is not None
    assert [found.low, found.high] == pytest.approx(np.quantile(draws, [0.05, 0.95]), abs=0.02)


def test_unanimous_votes_leave_alpha_undefined_with_the_reason() -> None:
    found = agreement(np.array([[5, 0, 0, 0]] * 8), 0.95, 100, 0)
    assert found.alpha is None
    assert found.why == "undefined: all votes are of one kind"
    assert found.raw.value == 1
    assert found.splits == {"5-0": 8}


@pytest.mark.parametrize("counts", [np.zeros((0, 4), int), np.array([[1, 0, 0, 0], [0, 1, 0, 0]])])
def test_without_two_votes_on_anything_both_say_so(counts: np.ndarray) -> None:
    found = agreement(counts, 0.95, 100, 0)
    assert (found.alpha, found.why) == (None, "no comparison has two votes")
    assert found.raw.value is None


def test_splits_are_counted_from_unanimous_to_even() -> None:
    counts = np.array([[3, 2, 0, 0], [0, 5, 0, 0], [4, 1, 0, 0], [2, 2, 1, 0], [2, 3, 0, 0]])
    assert agreement(counts, 0.95, 100, 0).splits == {"5-0": 1, "4-1": 1, "3-2": 2, "2-2-1": 1}
    assert list(agreement(counts, 0.95, 100, 0).splits) == ["5-0", "4-1", "3-2", "2-2-1"]
