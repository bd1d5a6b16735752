"""Means with two-way cluster-robust intervals: the same scenarios and the same annotators occur again and again."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ti2v_bench.records import Estimate
from ti2v_bench.stats.counting import add_up, relabel, size_of
from ti2v_bench.stats.proportions import clopper_pearson_interval

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClusteredMeans:
    """One mean in [0, 1] per group with what its uncertainty is made of; every array is (groups,)."""

    value: Floats
    """NaN where the group has no vote."""
    n: Ints
    """Votes."""
    variance: Floats
    """Of the mean; 0 where the data show no spread between clusters."""
    clusters: tuple[Ints, Ints]
    """How many clusters of the first and of the second kind were seen."""
    units: Ints
    """How many separate things were judged, for the exact interval where both kinds have fewer than two clusters."""
    names: tuple[str, str]
    """What the two kinds are, in the plural, e.g. `scenarios`, `annotators`."""
    strata: Ints | int = 1
    """Means taken off the first kind of cluster: more than 1 where scores are centred within strata."""

    @property
    def left(self) -> tuple[Ints, Ints]:
        """Clusters left to vary: each stratum mean beyond the first uses up one cluster of the first kind."""
        first, second = self.clusters
        return np.maximum(first - self.strata + 1, np.minimum(first, 1)), second

    @property
    def fewest(self) -> Ints:
        """Clusters of the kind that has fewer left to vary, among the kinds with at least two; else `units`."""
        first, second = self.left
        both = np.minimum(first, second)
        return np.where(
            both >= 2, both, np.where(np.maximum(first, second) >= 2, np.maximum(first, second), self.units)
        )

    @property
    def df(self) -> Ints:
        """Degrees of freedom of t: the smaller number of clusters minus one."""
        return np.maximum(self.fewest - 1, 1)

    @property
    def exact(self) -> NDArray[np.bool_]:
        """Where no variance can be had (unanimous, or fewer than two clusters) and the exact interval stands in."""
        return ~(self.variance > 0) | (self.value <= 0) | (self.value >= 1)


@dataclass(frozen=True)
class Clusters:
    """Votes sorted into groups, two kinds of clusters and their cells, once; any score can then be averaged."""

    groups: int
    cell: Ints
    """(votes,) index of the vote's cell: group x first x second."""
    group: Ints
    """(cells,) group of each cell."""
    first: Ints
    """(cells,) index of the cell's (group, first cluster)."""
    second: Ints
    """(cells,) index of the cell's (group, second cluster)."""
    first_group: Ints
    """(clusters of the first kind,) group of each."""
    second_group: Ints
    n: Floats
    """(cells,) votes."""
    units: Ints
    """(groups,) things judged."""
    names: tuple[str, str]

    def means(self, score: Floats) -> ClusteredMeans:
        """Mean of a (votes,) score in [0, 1] per group, with the two-way variance."""
        total = add_up(self.cell, score, len(self.n))
        n, whole = add_up(self.group, self.n, self.groups), add_up(self.group, total, self.groups)
        with np.errstate(invalid="ignore"):
            value = whole / n
        rest = total - value[self.group] * self.n
        by_first = _one_way(self.first_group, add_up(self.first, rest, len(self.first_group)), n)
        by_second = _one_way(self.second_group, add_up(self.second, rest, len(self.second_group)), n)
        by_cell = _one_way(self.group, rest, n)
        larger = np.maximum(by_first[0], by_second[0])
        one_kind = np.minimum(by_first[1], by_second[1]) < 2
        variance = np.where(one_kind, larger, np.maximum(by_first[0] + by_second[0] - by_cell[0], larger))
        return ClusteredMeans(value, n.astype(np.int64), variance, (by_first[1], by_second[1]), self.units, self.names)


def cluster(
    group: Ints,
    n_groups: int,
    first: Ints,
    second: Ints,
    names: tuple[str, str] = ("scenarios", "annotators"),
    units: Ints | None = None,
) -> Clusters:
    """Sort votes into clusters.

    Args:
        group: (votes,) which mean the vote belongs to, in [0, n_groups).
        first: (votes,) cluster code of the first kind, e.g. scenario.
        second: (votes,) cluster code of the second kind, e.g. annotator.
        units: (votes,) code of the thing judged, for the last fallback; by default each vote is its own.
    """
    wide, deep = size_of(first), size_of(second)
    key, cell = relabel((group * wide + first) * deep + second)
    of = key // (wide * deep)
    firsts, first_of = relabel(key // deep)
    seconds, second_of = relabel(of * deep + key % deep)
    judged = group if units is None else relabel(group * size_of(units) + units)[0] // size_of(units)
    return Clusters(
        groups=n_groups,
        cell=cell,
        group=of,
        first=first_of,
        second=second_of,
        first_group=firsts // wide,
        second_group=seconds // deep,
        n=np.bincount(cell, minlength=len(key)).astype(float),
        units=np.bincount(judged, minlength=n_groups),
        names=names,
    )


def clustered_means(
    score: Floats,
    group: Ints,
    n_groups: int,
    first: Ints,
    second: Ints,
    names: tuple[str, str] = ("scenarios", "annotators"),
    units: Ints | None = None,
) -> ClusteredMeans:
    """Mean score per group with the two-way cluster-robust variance V_first + V_second - V_cell.

    Args:
        score: (votes,) in [0, 1].
        group, n_groups, first, second, names, units: as in `cluster`.

    Each term carries G / (G - 1); the sum is floored at the larger one-way term. With fewer than two clusters of one
    kind the other kind's one-way variance is used.

    Source: Cameron, Gelbach and Miller (2011), JBES 29, 238-249.
    """
    return cluster(group, n_groups, first, second, names, units).means(score)


def intervals(means: ClusteredMeans, level: float) -> tuple[Floats, Floats]:
    """Limits by t on the logit scale, which cannot leave [0, 1]; exact (Clopper-Pearson) where `means.exact`.

    The exact interval counts each cluster of the scarcer kind as one trial: votes of one cluster may be one opinion.
    """
    exact = means.exact
    share = np.where(exact, 0.5, means.value)
    spread = np.where(exact, 0.0, np.sqrt(means.variance)) / (share * (1 - share))
    reach = special.stdtrit(means.df, (1 + level) / 2) * spread
    centre = special.logit(share)
    low, high = special.expit(centre - reach), special.expit(centre + reach)
    trials = means.fewest.astype(float)
    wins = np.where(np.isnan(means.value), 0.0, means.value) * trials
    exact_low, exact_high = clopper_pearson_interval(wins, trials, level)
    return np.where(exact, exact_low, low), np.where(exact, exact_high, high)


def p_values(means: ClusteredMeans) -> Floats:
    """Two-sided p of a mean of one half; below 1 - level exactly where the interval of that level excludes one half."""
    exact = means.exact
    share = np.where(exact, 0.5, means.value)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(special.logit(share)) * share * (1 - share) / np.sqrt(means.variance)
    by_t = 2 * special.stdtr(means.df, -np.where(exact, 0.0, t))
    trials = means.fewest.astype(float)
    most = np.where(np.isnan(means.value), 0.5, np.maximum(means.value, 1 - means.value)) * trials
    by_count = np.minimum(1.0, 2 * special.betainc(np.maximum(most, 1e-300), trials - most + 1, 0.5))
    return np.where(exact, np.where(trials > 0, by_count, 1.0), by_t)


def method(means: ClusteredMeans, group: int) -> str:
    """In words, how the interval of one group was made."""
    first, second = (int(count[group]) for count in means.left)
    seen = [int(count[group]) for count in means.clusters]
    fewest = int(means.fewest[group])
    if means.exact[group]:
        kind = _scarcer(means, first, second)
        spent = f" ({seen[0]} less one per stratum, plus one)" if kind == means.names[0] and first < seen[0] else ""
        return f"no spread between clusters: Clopper-Pearson, each of {fewest} {kind}{spent} counted once"
    if min(first, second) >= 2:
        return (
            f"two-way cluster-robust ({seen[0]} {means.names[0]} x {seen[1]} {means.names[1]}), "
            f"t with {fewest - 1} df on the logit scale"
        )
    kept, lost, n = (means.names[1], means.names[0], seen[1]) if second >= 2 else (*means.names, seen[0])
    return (
        f"one-way cluster-robust ({n} {kept}), t with {fewest - 1} df on the logit scale; holds for these {lost} only"
    )


def estimates(means: ClusteredMeans, level: float, note: str = "") -> list[Estimate]:
    """One Estimate per group; `note` is put before the method."""
    low, high = intervals(means, level)
    found = []
    for group, value in enumerate(means.value):
        n = int(means.n[group])
        words = note + method(means, group) if n else note + "nothing to estimate"
        if n == 0:
            found.append(Estimate(None, None, None, level, 0, words, why="no vote"))
        else:
            found.append(Estimate(float(value), float(low[group]), float(high[group]), level, n, words))
    return found


def _scarcer(means: ClusteredMeans, first: int, second: int) -> str:
    if max(first, second) < 2:
        return "pairs"
    if min(first, second) >= 2:
        return means.names[0] if first <= second else means.names[1]
    return means.names[0] if first >= 2 else means.names[1]


def _one_way(group: Ints, rest: Floats, n: Floats) -> tuple[Floats, Ints]:
    """Cluster-robust variance of each group's mean from its clusters' residual sums, and its number of clusters."""
    clusters = np.bincount(group, minlength=len(n))
    squares = add_up(group, rest**2, len(n))
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = squares / n**2 * clusters / (clusters - 1)
    usable = clusters >= 2
    noise = 1e-12 / np.maximum(n, 1)  # what rounding leaves of sums that are zero
    return np.where(usable & (variance > noise), variance, 0.0), clusters
