"""Dawid-Skene against direct maximisation and known truth; simple counts by hand."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from tests.votes_by_hand import random_votes, votes
from ti2v_bench.stats.annotators import behaviour, dawid_skene
from ti2v_bench.stats.table import MODEL, VoteTable, tabulate
from ti2v_bench.votes import check_votes


def skilled(skills: list[float], pairs: int = 150, seed: int = 0) -> VoteTable:
    """Annotator i names the better model with chance `skills[i]`; everyone judges every pair."""
    rng = np.random.default_rng(seed)
    rows = []
    for pair in range(pairs):
        truth = rng.random() < 0.6
        for name, skill in enumerate(skills):
            model = truth == (rng.random() < skill)
            rows.append((f"p{pair}", "A", "B", "left" if model else "right", f"a{name}"))
    return tabulate(votes(*rows))


def test_dawid_skene_reaches_the_maximum_that_an_optimiser_finds() -> None:
    table = skilled([0.9, 0.8, 0.7, 0.55], pairs=60)
    found = dawid_skene(table, steps=2000, tolerance=1e-13)
    assert found is not None
    says = np.zeros((60, 4))
    says[table.unit, table.annotator] = table.outcome == MODEL

    def loss(x: np.ndarray) -> float:
        sens, spec, prev = expit(x[:4]), expit(x[4:8]), expit(x[8])
        model = np.log(prev) + says @ np.log(sens) + (1 - says) @ np.log(1 - sens)
        other = np.log(1 - prev) + says @ np.log(1 - spec) + (1 - says) @ np.log(spec)
        prior = 0.5 * np.log(sens * (1 - sens) * spec * (1 - spec)).sum()
        return -float(logsumexp([model, other], axis=0).sum() + prior)

    best = minimize(loss, np.array([1.0] * 8 + [0.3]), method="BFGS", options={"gtol": 1e-6})
    assert found.log_likelihood == pytest.approx(-best.fun, abs=1e-4)
    assert found.sensitivity == pytest.approx(expit(best.x[:4]), abs=2e-3)
    assert found.specificity == pytest.approx(expit(best.x[4:8]), abs=2e-3)


def test_dawid_skene_recovers_known_skills() -> None:
    skills = [0.95, 0.85, 0.75, 0.65, 0.5]
    found = dawid_skene(skilled(skills, pairs=1500))
    assert found is not None
    assert found.converged
    assert found.skill == pytest.approx([2 * s - 1 for s in skills], abs=0.08)


def test_dawid_skene_needs_two_votes_on_something() -> None:
    assert dawid_skene(tabulate(votes(("p", "A", "B", "left", "x"), ("q", "A", "B", "tie", "x")))) is None


def test_counts_by_hand() -> None:
    table = tabulate(
        votes(
            ("p", "A", "B", "left", "x"), ("p", "B", "A", "right", "y"), ("p", "A", "B", "right", "z"),
            ("q", "A", "B", "left", "x"), ("q", "A", "B", "right", "y"), ("q", "A", "B", "tie", "z"),
        )
    )  # fmt: skip
    found = behaviour(table)
    assert list(found.n) == [2, 2, 2]
    assert list(found.left_share) == [1.0, 0.0, 0.0]
    # p goes to A (2-1); q is tied and counts for nobody
    assert list(found.agreement_with_majority) == [1.0, 1.0, 0.0]
    # without x: p is tied, q goes to B, so x is 0 of 1; without y: p tied, q to A; without z: p to A
    assert list(found.agreement_with_others) == [0.0, 0.0, 0.0]


def test_shares_of_random_votes_are_counts() -> None:
    frame = check_votes(random_votes(pairs=10))
    found = behaviour(tabulate(frame))
    left = frame.groupby("annotator", observed=True)["choice"].apply(lambda each: (each == "left").mean())
    assert found.left_share == pytest.approx(left.to_numpy())
