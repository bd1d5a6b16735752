"""Planning against scipy's noncentral t, brute-force simulation and printed boundaries."""

import numpy as np
import pytest
from scipy.stats import nct

from ti2v_bench.stats.planning import (
    Plan,
    detectable_share,
    noncentral_t_beyond,
    power,
    simulated_power,
    standard_error,
)
from ti2v_bench.stats.sequential import boundaries
from ti2v_bench.stats.shares import vote_shares
from ti2v_bench.stats.simulate import Effects, even_design, offset, population_majority, simulate

SMALL = Plan(pairs=60, images=20, scenarios=10, annotators=8, votes=3)


@pytest.mark.parametrize(("df", "centre"), [(5, 0.0), (9, 2.5), (21, 3.0)])
def test_noncentral_t_agrees_with_scipy(df: int, centre: float) -> None:
    critical = 2.1
    expected = nct.sf(critical, df, centre) + nct.cdf(-critical, df, centre)
    assert noncentral_t_beyond(critical, df, centre) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("p", [0.5, 0.8])
def test_standard_error_is_the_spread_of_simulated_studies(p: float) -> None:
    table = simulate(SMALL.design, SMALL.effects, p, 1500, np.random.default_rng(0)).table
    assert standard_error(SMALL, p) == pytest.approx(vote_shares(table).value.std(), rel=0.06)
    assert vote_shares(table).value.mean() == pytest.approx(p, abs=0.01)


def test_power_by_formula_agrees_with_simulation() -> None:
    found = simulated_power(SMALL, 0.7, 1000, 0)
    assert found.value == pytest.approx(power(SMALL, 0.7), abs=0.06)
    assert simulated_power(SMALL, 0.5, 1000, 0).value == pytest.approx(0.05, abs=0.025)


def test_detectable_share_has_the_wanted_power_and_shrinks_with_more_annotators() -> None:
    share = detectable_share(SMALL, 0.8)
    assert share is not None
    assert power(SMALL, share) == pytest.approx(0.8, abs=1e-4)
    more = detectable_share(Plan(60, 20, 10, 30, 3), 0.8)
    assert more is not None
    assert more < share
    assert detectable_share(Plan(2, 2, 2, 2, 1, comparisons=9), 0.9) is None


@pytest.mark.parametrize(
    ("spending", "expected"),
    [
        ("obrien-fleming", [4.8769, 3.3570, 2.6803, 2.2898, 2.0310]),
        ("pocock", [2.4380, 2.4268, 2.4102, 2.3966, 2.3860]),
    ],
)
def test_boundaries_are_the_printed_ones(spending: str, expected: list[float]) -> None:
    """Five equal looks, two-sided 0.05: the values that group-sequential software prints for Lan-DeMets spending."""
    found = boundaries([0.2, 0.4, 0.6, 0.8, 1.0], 0.05, spending)  # type: ignore[arg-type]
    assert found == pytest.approx(expected, abs=2e-4)


def test_boundaries_keep_the_error_rate_of_random_walks() -> None:
    looks = [0.3, 0.6, 1.0]
    walk = np.cumsum(np.random.default_rng(0).standard_normal((200_000, 3)) * np.sqrt(np.diff([0, *looks])), axis=1)
    crossed = (np.abs(walk / np.sqrt(looks)) > boundaries(looks, 0.05, "pocock")).any(1).mean()
    assert crossed == pytest.approx(0.05, abs=0.002)


@pytest.mark.parametrize("looks", [[], [0.5], [0.5, 0.4, 1.0], [0.0, 1.0]])
def test_looks_that_do_not_rise_to_one_are_refused(looks: list[float]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        boundaries(looks)


def test_truth_of_the_simulation_is_what_it_claims() -> None:
    effects = Effects(1.0, 0.4, 0.5)
    rng = np.random.default_rng(0)
    logit = offset(0.7, effects) + rng.normal(0, np.sqrt(1 + 0.16 + 0.25), 400_000)
    assert (1 / (1 + np.exp(-logit))).mean() == pytest.approx(0.7, abs=0.002)
    item = offset(0.7, effects) + rng.normal(0, np.sqrt(1.16), 100_000)
    people = item[:, None] + rng.normal(0, 0.5, (100_000, 5))
    wins = (rng.random(people.shape) < 1 / (1 + np.exp(-people))).sum(1)
    assert (wins >= 3).mean() == pytest.approx(population_majority(0.7, effects, 5), abs=0.005)
    four = ((wins - (rng.random(100_000) < wins / 5)) * 2 - 4) / 2  # one vote of the five left out at random
    assert ((1 + np.sign(four)) / 2).mean() == pytest.approx(population_majority(0.7, effects, 4), abs=0.005)


@pytest.mark.parametrize("sizes", [(10, 20, 5, 8, 3), (10, 5, 6, 8, 3), (10, 5, 5, 2, 3)])
def test_designs_that_do_not_fit_are_refused(sizes: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="needs"):
        even_design(*sizes)
