"""Means over a model's comparisons, taken jointly: the same scenarios and annotators occur in all of them.

Every function takes a `mix` (groups, matches): group g's value is 1/2 + sum_m mix[g, m] (share_m - 1/2).
"""

import numpy as np
from numpy.typing import NDArray

from ti2v_bench.stats.clusters import ClusteredMeans
from ti2v_bench.stats.counting import add_up, collapse, size_of
from ti2v_bench.stats.shares import cluster_names, unit_majorities
from ti2v_bench.stats.table import MODEL, OPPONENT, VoteTable

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CHUNK = 250
"""Resamples whose weights are held at once, so that memory does not grow with their number."""


def model_mix(table: VoteTable) -> Floats:
    """(models, matches): each model's mean over its matches, told from its own side."""
    mix = np.zeros((len(table.models), len(table.matches)))
    for match, (model, opponent) in enumerate(table.matches):
        mix[model, match], mix[opponent, match] = 1.0, -1.0
    met = np.abs(mix).sum(1, keepdims=True)
    mix /= np.maximum(met, 1)
    return mix


def resample(n: Floats, total: Floats, mix: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Bootstrap shares over clusters, the same draw for every match: counted once, then only weighted.

    Args:
        n: (clusters, matches) votes.
        total: (clusters, matches) score sums.
        mix: (groups, matches).

    Returns:
        (resamples, groups) values; a match that a draw leaves without votes keeps its full share.
    """
    clusters = len(n)
    whole = total.sum(0) / np.maximum(n.sum(0), 1)
    found = np.empty((resamples, len(mix)))
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        weights = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size).astype(float)
        votes = weights @ n
        share = np.where(votes > 0, (weights @ total) / np.maximum(votes, 1), whole)
        found[start : start + size] = 0.5 + (share - 0.5) @ mix.T
    return found


def joint_vote_shares(table: VoteTable, mix: Floats, resamples: int, seed: int) -> ClusteredMeans:
    """Mixed vote shares; scenarios, then annotators are resampled jointly over all matches.

    The two bootstrap variances are added and the variance of the scenario x annotator cells, which both of them
    count, is taken off in closed form: as in the interval of one comparison.
    """
    m, s, a = len(table.matches), size_of(table.scenario), size_of(table.annotator)
    cells = collapse((table.match * s + table.scenario) * a + table.annotator, table.score)
    match, cell = cells.key // (s * a), cells.key % (s * a)
    n, total = add_up(match, cells.n, m), add_up(match, cells.total, m)
    rng = np.random.default_rng(seed)
    spread = []
    for code, size in ((cell // a, s), (cell % a, a)):
        votes = add_up(code * m + match, cells.n, size * m).reshape(size, m)
        wins = add_up(code * m + match, cells.total, size * m).reshape(size, m)
        drawn = resample(votes, wins, mix, resamples, rng)
        spread.append(drawn.var(0) * size / max(size - 1, 1))
    rest = (cells.total - (total / n)[match] * cells.n) / n[match]
    by_cell = _squares(cell, match, rest, mix)
    larger = np.maximum(spread[0], spread[1])
    variance = np.maximum(spread[0] + spread[1] - by_cell, larger)
    return _means(table, mix, total / n, n, variance, larger)


def joint_majorities(table: VoteTable, mix: Floats) -> ClusteredMeans:
    """Mixed majorities with a two-way delete-one-cluster jackknife, each cluster left out of all matches at once.

    Leaving out an annotator takes that vote out of each pair's majority (3-2 may become 2-2, which counts half). As
    for votes, V_scenario + V_annotator - V_cell; the last two hold the same noise of single votes, which cancels.
    """
    m, s, a = len(table.matches), size_of(table.scenario), size_of(table.annotator)
    units, majority = table.unit_match, unit_majorities(table)
    n, total = np.bincount(units, minlength=m).astype(float), add_up(units, majority, m)
    by_scenario = collapse(units * s + table.unit_scenario, majority - (total / n)[units])
    match = by_scenario.key // s
    scenario = _squares(by_scenario.key % s, match, by_scenario.total / n[match], mix)
    unit, annotator, change, lost = majority_changes(table)
    where, cell = units[unit], table.unit_scenario[unit] * a + annotator
    by_annotator, by_cell = (
        _squares(*left_out(code, where, change, lost, n, total), mix, centred=True) for code in (annotator, cell)
    )
    variance = scenario + np.maximum(by_annotator - by_cell, 0.0)
    one_kind = np.where(scenario > 0, scenario, by_annotator)
    return _means(table, mix, total / n, n, variance, one_kind)


def majority_changes(table: VoteTable) -> tuple[Ints, Ints, Floats, Floats]:
    """What leaving out one annotator does to each unit's majority.

    Returns:
        Per (unit, annotator) that has a vote: unit, annotator, change of the unit's majority, 1 where the unit is lost
        because nobody else judged it (its majority is then taken off whole).
    """
    a, majority = size_of(table.annotator), unit_majorities(table)
    signed = np.select([table.outcome == MODEL, table.outcome == OPPONENT], [1.0, -1.0], 0.0)
    judged = collapse(table.unit * a + table.annotator, signed)
    unit = judged.key // a
    lead = (table.outcomes[:, MODEL] - table.outcomes[:, OPPONENT]).astype(float)
    lost = judged.n >= table.outcomes.sum(1)[unit]
    after = np.where(lost, 0.0, (1 + np.sign(lead[unit] - judged.total)) / 2)
    return unit, judged.key % a, after - majority[unit], lost.astype(float)


def left_out(
    code: Ints, match: Ints, change: Floats, lost: Floats, n: Floats, total: Floats
) -> tuple[Ints, Ints, Floats]:
    """Per (cluster, match): cluster, match, and how the match's majority share moves without the cluster."""
    key = code * len(n) + match
    sums, gone = collapse(key, change), collapse(key, lost)
    where = sums.key % len(n)
    left = n[where] - gone.total
    share = np.where(left > 0, (total[where] + sums.total) / np.maximum(left, 1), (total / n)[where])
    return sums.key // len(n), where, share - (total / n)[where]


def _squares(code: Ints, match: Ints, move: Floats, mix: Floats, centred: bool = False) -> Floats:
    """Per group: variance from moves by cluster; G/(G-1) for sums of residuals, (G-1)/G and centred for a jackknife."""
    groups, size = len(mix), size_of(code)
    entry, group = _spread_over(match, mix)
    sums = collapse(group * size + code[entry], mix[group, match[entry]] * move[entry])
    of = sums.key // size
    clusters = np.bincount(of, minlength=groups)
    total = add_up(of, sums.total, groups)
    squares = add_up(of, sums.total**2, groups)
    few, many = np.maximum(clusters - 1, 1), np.maximum(clusters, 1)
    if centred:
        return np.where(clusters >= 2, (squares - total**2 / many) * few / many, 0.0)
    return np.where(clusters >= 2, squares * many / few, 0.0)


def _spread_over(match: Ints, mix: Floats) -> tuple[Ints, Ints]:
    """Each entry once per group that its match belongs to: indices of entries, and of groups."""
    of_match, groups = np.nonzero(mix.T)
    many = np.bincount(of_match, minlength=mix.shape[1])
    times = many[match]
    entry = np.repeat(np.arange(len(match)), times)
    nth = np.arange(len(entry)) - np.repeat(np.cumsum(times) - times, times)
    return entry, groups[(np.cumsum(many) - many)[match[entry]] + nth]


def _means(
    table: VoteTable, mix: Floats, share: Floats, n: Floats, variance: Floats, one_kind: Floats
) -> ClusteredMeans:
    """Put the pieces together; `one_kind` is the variance where one kind of cluster has fewer than two."""
    present = mix != 0
    kinds = []
    for codes in (table.scenario, table.annotator):
        size = size_of(codes)
        seen = np.zeros((size, len(table.matches)), dtype=bool)
        seen[codes, table.match] = True
        kinds.append(np.array([int(seen[:, row].any(1).sum()) for row in present]))
    pairs = np.zeros((size_of(table.pair), len(table.matches)), dtype=bool)
    pairs[table.pair, table.match] = True
    units = np.array([int(pairs[:, row].any(1).sum()) for row in present])
    variance = np.where(np.minimum(*kinds) >= 2, variance, one_kind)
    value = np.clip(0.5 + mix @ (share - 0.5), 0.0, 1.0)
    usable = variance > 1e-12 / np.maximum(present @ n, 1)
    return ClusteredMeans(
        value, np.rint(present @ n).astype(np.int64), np.where(usable, variance, 0.0), (kinds[0], kinds[1]), units,
        cluster_names(table),
    )  # fmt: skip
