"""Whether a metric puts the models in the order in which people put them: Kendall's tau with a two-way interval."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ti2v_bench.records import Estimate
from ti2v_bench.stats.table import VoteTable

Floats = NDArray[np.float64]

_PRIOR = 0.5
"""Wins added to both sides of every match, so that no strength is infinite."""
_STEPS = 200


@dataclass(frozen=True)
class RankAgreement:
    """How tau's interval is made."""

    level: float = 0.95
    seed: int = 0
    resamples: int = 999


def rank_agreement(table: VoteTable, values: Floats, settings: RankAgreement) -> Estimate:
    """Kendall's tau-b between models by mean value and models by votes.

    Args:
        table: The votes.
        values: (models, pairs), higher is better; NaN where unknown.
        settings: Level, seed, resamples.

    The interval resamples scenarios and annotators, each with replacement, and weighs a vote by the product of the two
    counts (the pigeonhole bootstrap: Owen 2007, Ann. Appl. Stat. 1, 386-411); a metric's means follow the scenarios.
    """
    method = (
        "Kendall tau-b of means and Bradley-Terry strengths (ties half), pigeonhole bootstrap over scenarios x "
        f"annotators, {settings.resamples} resamples, percentiles"
    )
    kept = np.flatnonzero(~np.isnan(values).all(axis=1))
    n = len(kept)
    if n < 3:
        return Estimate(None, None, None, settings.level, n, method, why="fewer than three models")
    wins, sums, counts = _counted(table, values)
    scenarios, annotators = wins.shape[2], wins.shape[3]
    rng = np.random.default_rng(settings.seed)
    drawn_scenarios = rng.multinomial(scenarios, np.full(scenarios, 1 / scenarios), settings.resamples)
    drawn_annotators = rng.multinomial(annotators, np.full(annotators, 1 / annotators), settings.resamples)
    by_scenario = np.vstack([np.ones((1, scenarios)), drawn_scenarios])
    by_annotator = np.vstack([np.ones((1, annotators)), drawn_annotators])
    won = np.einsum("ijsa,rs,ra->rij", wins, by_scenario, by_annotator, optimize=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (by_scenario @ sums.T) / (by_scenario @ counts.T)
    taus = tau_b(means[:, kept], strengths(won, _met(table))[:, kept])
    value, rest = float(taus[0]), taus[1:][~np.isnan(taus[1:])]
    if np.isnan(value):
        return Estimate(None, None, None, settings.level, n, method, why="the metric is the same for all models")
    if min(scenarios, annotators) < 2 or len(rest) < settings.resamples / 2:
        why = "no interval: one scenario or annotator, or too few resamples with an order"
        return Estimate(value, None, None, settings.level, n, method, why=why)
    low, high = np.quantile(rest, [(1 - settings.level) / 2, (1 + settings.level) / 2])
    return Estimate(value, float(low), float(high), settings.level, n, method)


def strengths(won: Floats, met: NDArray[np.bool_]) -> Floats:
    """Bradley-Terry strengths by Hunter's MM steps, half a win added to both sides of every match.

    Args:
        won: (R, models, models) weighted wins of the first over the second.
        met: (models, models) which models were compared.

    Returns:
        (R, models), positive, geometric mean 1; models that no chain of votes joins cannot be compared by them.

    Source: Hunter (2004), Annals of Statistics 32, 384-406.
    """
    won = won + _PRIOR * met
    games = won + won.swapaxes(1, 2)
    total = won.sum(axis=2)
    strength = np.ones(total.shape)
    for _ in range(_STEPS):
        shared = games / (strength[:, :, None] + strength[:, None, :])
        with np.errstate(invalid="ignore", divide="ignore"):
            new = np.where(total > 0, total / shared.sum(axis=2), 1.0)
        new /= np.exp(np.log(new).mean(axis=1, keepdims=True))
        if np.abs(new - strength).max() < 1e-10:
            return new
        strength = new
    return strength


def tau_b(first: Floats, second: Floats) -> Floats:
    """Kendall's tau-b along the last axis, (R, n) and (R, n) to (R,); NaN where one side is constant."""
    above = np.triu_indices(first.shape[1], 1)
    a, b = (np.sign(_rounded(x)[:, above[0]] - _rounded(x)[:, above[1]]) for x in (first, second))
    with np.errstate(invalid="ignore", divide="ignore"):
        tau: Floats = (a * b).sum(axis=1) / np.sqrt(np.square(a).sum(axis=1) * np.square(b).sum(axis=1))
    return tau


def _rounded(x: Floats) -> Floats:
    """Without the last digits, in which equal means differ by the order of summing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        size = 10.0 ** (11 - np.ceil(np.log10(np.abs(x).max(axis=1, keepdims=True))))
        return np.where(np.isfinite(size), np.round(x * size) / size, x)


def _counted(table: VoteTable, values: Floats) -> tuple[Floats, Floats, Floats]:
    """Wins (models, models, scenarios, annotators); sums and counts of values (models, scenarios)."""
    models, scenarios = len(table.models), int(table.scenario.max()) + 1
    wins = np.zeros((models, models, scenarios, int(table.annotator.max()) + 1))
    ends = np.array(table.matches)[table.match]
    np.add.at(wins, (ends[:, 0], ends[:, 1], table.scenario, table.annotator), table.score)
    np.add.at(wins, (ends[:, 1], ends[:, 0], table.scenario, table.annotator), 1 - table.score)
    scenario_of = np.full(len(table.pairs), -1)
    scenario_of[table.pair] = table.scenario
    sums, counts = np.zeros((models, scenarios)), np.zeros((models, scenarios))
    known = ~np.isnan(values)
    model, pair = np.nonzero(known)
    np.add.at(sums, (model, scenario_of[pair]), values[model, pair])
    np.add.at(counts, (model, scenario_of[pair]), 1)
    return wins, sums, counts


def _met(table: VoteTable) -> NDArray[np.bool_]:
    met = np.zeros((len(table.models),) * 2, bool)
    for first, second in table.matches:
        met[first, second] = met[second, first] = True
    return met
