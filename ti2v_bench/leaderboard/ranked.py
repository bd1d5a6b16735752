"""The ranking of a report, or the reason why there is none."""

import numpy as np
from scipy import special

from ti2v_bench.leaderboard.records import RankedModel, Ranking, ReportSettings
from ti2v_bench.records import Estimate
from ti2v_bench.stats.ranking import (
    RIDGE,
    Covariances,
    NotConverged,
    Strengths,
    covariances,
    degrees_of_freedom,
    fit,
    outcomes,
    rank_ranges,
    refusal,
)
from ti2v_bench.stats.shares import cluster_names
from ti2v_bench.stats.table import VoteTable


def ranking(table: VoteTable, settings: ReportSettings) -> Ranking:
    """Bradley-Terry with two-way sandwich intervals and simultaneous rank ranges."""
    if not table.n:
        return Ranking(False, "no vote", None, None, ())
    counted = outcomes(table)
    why = refusal(counted, table.models, settings.penalised)
    if why:
        if why.startswith("separated"):
            why += "; a penalised answer can be asked for"
        return Ranking(False, why, None, None, ())
    try:
        state = fit(counted, settings.ties, RIDGE if settings.penalised else 0.0)
    except NotConverged as error:
        return Ranking(False, f"separated: {error}; a penalised answer can be asked for", None, None, ())
    spread = covariances(table, counted, state)
    ranges = rank_ranges(state.theta, spread, settings.level, settings.seed)
    strengths = _strengths(table, state, spread, settings)
    order = sorted(range(len(table.models)), key=lambda index: (-state.theta[index], table.models[index]))
    models = tuple(RankedModel(table.models[i], strengths[i], *ranges[i]) for i in order)
    return Ranking(
        True, None, _method(settings, state), None if state.tie is None else float(np.exp(state.tie)), models
    )


def _method(settings: ReportSettings, state: Strengths) -> str:
    ties = "ties count half a win each" if settings.ties == "half" else "no ties"
    if state.tie is not None:
        ties = "Davidson's tie parameter"
    head = f"penalised (normal prior, sd {RIDGE**-0.5:g}) " if settings.penalised else ""
    return f"{head}Bradley-Terry, {ties}; log strengths with sum zero"


def _strengths(table: VoteTable, state: Strengths, spread: Covariances, settings: ReportSettings) -> list[Estimate]:
    deviation = np.sqrt(spread.of(np.eye(len(state.theta))))
    df = degrees_of_freedom(spread)
    reach = special.stdtrit(df, (1 + settings.level) / 2) * deviation
    names = cluster_names(table)
    kinds = " x ".join(f"{count} {name}" for count, name in zip(spread.clusters, names, strict=True))
    words = f"two-way cluster sandwich ({kinds}), t with {df} df"
    found = []
    for value, half, known in zip(state.theta, reach, deviation > 0, strict=True):
        if known:
            estimate = Estimate(float(value), float(value - half), float(value + half), settings.level, table.n, words)
        else:
            why = "no spread between clusters"
            estimate = Estimate(float(value), None, None, settings.level, table.n, "no interval", why)
        found.append(estimate)
    return found
