"""Bradley-Terry and Davidson against choix, evalica, statsmodels and a general optimiser."""

from dataclasses import replace

import choix
import evalica
import numpy as np
import pytest
import statsmodels.api as sm
from scipy.optimize import minimize

from tests.votes_by_hand import random_votes
from ti2v_bench.stats.ranking import (
    NotConverged,
    Outcomes,
    covariances,
    fit,
    outcomes,
    rank_ranges,
    refusal,
)
from ti2v_bench.stats.table import tabulate
from ti2v_bench.votes import check_votes

NAMES = tuple("ABCDEFG")


def counted(models: int = 6, seed: int = 0, ties: bool = False, votes: int = 40) -> Outcomes:
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(models, 1)
    strength = rng.normal(0, 1, models)
    p = 1 / (1 + np.exp(strength[second] - strength[first]))
    tied = rng.binomial(votes, 0.2 if ties else 0.0, len(first))
    won = rng.binomial(votes - tied, p)
    return Outcomes(first, second, won.astype(float), (votes - tied - won).astype(float), tied.astype(float), models)


def as_list(c: Outcomes) -> list[tuple[int, int]]:
    data: list[tuple[int, int]] = []
    for first, second, won, lost in zip(c.first, c.second, c.won, c.lost, strict=True):
        data += [(int(first), int(second))] * int(won) + [(int(second), int(first))] * int(lost)
    return data


@pytest.mark.parametrize("seed", range(3))
def test_strengths_agree_with_choix_and_statsmodels(seed: int) -> None:
    c = counted(seed=seed)
    theta = fit(c).theta
    assert theta == pytest.approx(choix.opt_pairwise(6, as_list(c), tol=1e-12), abs=1e-6)
    design = np.zeros((len(c.first), 6))
    design[np.arange(len(c.first)), c.first], design[np.arange(len(c.first)), c.second] = 1, -1
    model = sm.GLM(np.column_stack([c.won, c.lost]), design[:, 1:], family=sm.families.Binomial()).fit(tol=1e-12)
    expected = np.append(0.0, model.params)
    assert theta == pytest.approx(expected - expected.mean(), abs=1e-6)


def test_half_ties_agree_with_evalica() -> None:
    c = counted(seed=1, ties=True)
    xs, ys, winners = [], [], []
    kinds = ((c.won, evalica.Winner.X), (c.lost, evalica.Winner.Y), (c.tied, evalica.Winner.Draw))
    for at, (first, second) in enumerate(zip(c.first, c.second, strict=True)):
        for count, winner in kinds:
            xs += [NAMES[first]] * int(count[at])
            ys += [NAMES[second]] * int(count[at])
            winners += [winner] * int(count[at])
    scores = evalica.bradley_terry(xs, ys, winners, tolerance=1e-12, limit=10_000).scores
    expected = np.log([scores[name] for name in NAMES[:6]])
    assert fit(c, ties="half").theta == pytest.approx(expected - expected.mean(), abs=1e-6)


def davidson_by_optimiser(c: Outcomes) -> np.ndarray:
    def loss(x: np.ndarray) -> float:
        pi, nu = np.exp(x[:-1] - x[:-1].mean()), np.exp(x[-1])
        a, b = pi[c.first], pi[c.second]
        total = a + b + nu * np.sqrt(a * b)
        logs = c.won * np.log(a / total) + c.lost * np.log(b / total) + c.tied * np.log(nu * np.sqrt(a * b) / total)
        return -float(logs.sum())

    x = minimize(loss, np.zeros(c.models + 1), method="BFGS", options={"gtol": 1e-7}).x
    x[:-1] -= x[:-1].mean()
    return x


def test_davidson_agrees_with_a_general_optimiser() -> None:
    c = counted(seed=2, ties=True)
    state = fit(c)
    assert [*state.theta, state.tie] == pytest.approx(davidson_by_optimiser(c), abs=1e-5)


def test_davidson_of_two_balanced_models_has_the_closed_form() -> None:
    """With equal strengths P(tie) = nu / (2 + nu): 20 ties in 60 votes give nu = 1."""
    c = Outcomes(np.array([0]), np.array([1]), np.array([20.0]), np.array([20.0]), np.array([20.0]), 2)
    state = fit(c)
    assert state.theta == pytest.approx([0, 0], abs=1e-9)
    assert state.tie == pytest.approx(0.0, abs=1e-9)


def test_covariance_agrees_with_statsmodels_two_way_clusters() -> None:
    frame = check_votes(random_votes(models="ABCD", star=False, scenarios=7, annotators=9, seed=4))
    table = tabulate(frame)
    c = outcomes(table)
    state = fit(c)
    design = np.zeros((table.n, 4))
    design[np.arange(table.n), c.first[table.match]], design[np.arange(table.n), c.second[table.match]] = 1, -1
    fitted = sm.GLM(table.score, design[:, 1:], family=sm.families.Binomial()).fit(tol=1e-12)
    pieces = [table.scenario, table.annotator, np.unique(table.cell, return_inverse=True)[1]]
    expected = []
    for codes in pieces:
        robust = sm.stats.sandwich_covariance.cov_cluster(fitted, codes, use_correction=False)
        groups = len(np.unique(codes))
        expected.append(robust * groups / (groups - 1))
    found = covariances(table, c, state)
    contrast = np.zeros((3, 4))
    contrast[:, 0] = -1
    contrast[np.arange(3), np.arange(1, 4)] = 1  # theta_i - theta_0, as in the design without its first column
    for ours, theirs in zip((found.first, found.second, found.cell), expected, strict=True):
        assert contrast @ ours @ contrast.T == pytest.approx(theirs, rel=1e-6)


def test_clear_order_gives_single_ranks_and_equal_models_share_all() -> None:
    clear = tabulate(check_votes(_ordered("ABCD", 0.93)))
    c = outcomes(clear)
    state = fit(c)
    assert rank_ranges(state.theta, covariances(clear, c, state), 0.95, 0) == [(1, 1), (2, 2), (3, 3), (4, 4)]
    equal = tabulate(check_votes(random_votes(models="ABCD", star=False, seed=1)))
    c = outcomes(equal)
    state = fit(c)
    assert rank_ranges(state.theta, covariances(equal, c, state), 0.95, 0) == [(1, 4)] * 4


def _ordered(models: str, share: float):  # type: ignore[no-untyped-def]
    frame = random_votes(models=models, star=False, pairs=60, scenarios=12, annotators=20, seed=3)
    better = frame[["left", "right"]].min(axis=1)
    wins = np.random.default_rng(0).random(len(frame)) < share
    frame["choice"] = np.where((frame["left"] == better) == wins, "left", "right")
    return frame


@pytest.mark.parametrize(
    ("first", "second", "won", "lost", "words"),
    [
        ([0, 0, 0], [1, 2, 3], [5, 5, 5], [5, 5, 5], "star design around A"),
        ([0], [1], [5], [5], "star design"),
        ([0, 1, 2], [1, 2, 3], [5, 5, 5], [5, 5, 5], "no cycle"),
        ([0, 2], [1, 3], [5, 5], [5, 5], "disconnected: no vote joins C, D"),
        ([0, 0, 1], [1, 2, 2], [5, 5, 3], [0, 0, 3], "separated: A won every vote"),
        ([0, 0, 1], [1, 2, 2], [0, 0, 3], [5, 5, 3], "separated: B, C won every vote"),
    ],
)
def test_what_cannot_be_ranked_is_refused_with_the_reason(
    first: list[int], second: list[int], won: list[float], lost: list[float], words: str
) -> None:
    models = max(*first, *second) + 1
    ties = np.zeros(len(first))
    c = Outcomes(np.array(first), np.array(second), np.array(won, float), np.array(lost, float), ties, models)
    assert words in (refusal(c, NAMES[:models]) or "")


def test_wins_and_ties_without_an_upset_have_no_maximum_and_say_so() -> None:
    """A and B meet only C and D and never lose: strengths and the tie parameter grow together without end."""
    ends = np.array([0, 0, 1, 1]), np.array([2, 3, 2, 3])
    c = Outcomes(*ends, np.array([5.0, 6.0, 5.0, 5.0]), np.zeros(4), np.full(4, 4.0), 4)
    assert refusal(c, NAMES[:4]) is None
    with pytest.raises(NotConverged, match="no finite maximum"):
        fit(c)
    assert np.isfinite(fit(c, ties="half").theta).all()


def test_all_ties_and_one_model_are_refused() -> None:
    c = counted(3)
    zero = np.zeros(3)
    assert refusal(replace(c, won=zero, lost=zero, tied=zero + 5), NAMES[:3]) == "every vote is a tie"
    nothing = Outcomes(np.zeros(0, int), np.zeros(0, int), np.zeros(0), np.zeros(0), np.zeros(0), 1)
    assert refusal(nothing, NAMES[:1]) == "fewer than two models"


def test_separated_votes_have_a_penalised_answer_on_request() -> None:
    c = replace(counted(3), won=np.array([5.0, 5.0, 5.0]), lost=np.zeros(3), tied=np.zeros(3))
    assert refusal(c, NAMES[:3]) is not None
    assert refusal(c, NAMES[:3], penalised=True) is None

    def loss(x: np.ndarray) -> float:
        return float((c.won * np.log1p(np.exp(x[c.second] - x[c.first]))).sum() + (x**2).sum() / 2)

    assert fit(c, ridge=1.0).theta == pytest.approx(minimize(loss, np.zeros(3), tol=1e-10).x, abs=1e-5)
