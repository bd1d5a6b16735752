"""Bradley-Terry strengths, with Davidson's ties, from counted outcomes; refused where the votes cannot rank."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ti2v_bench.stats.counting import add_up, relabel, size_of
from ti2v_bench.stats.table import MODEL, OPPONENT, VoteTable

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

RIDGE = 1.0
"""Precision of the normal prior on log strengths where a penalised answer is asked for (prior sd 1)."""
STEPS = 100
LEAST_INFORMATION = 1e-6
"""In votes. A direction with less is flat: the maximum lies at infinity there, though the slope is zero already."""


class NotConverged(RuntimeError):  # noqa: N818 - reads as what it is
    """The likelihood has no finite maximum (with Davidson's ties `refusal` cannot foresee every such case)."""


@dataclass(frozen=True)
class Outcomes:
    """How often each match ended how; arrays are (matches,)."""

    first: Ints
    second: Ints
    won: Floats
    lost: Floats
    tied: Floats
    models: int


@dataclass(frozen=True)
class Strengths:
    """Fitted log strengths (models,), sum zero, and what the fit looked like at the maximum."""

    theta: Floats
    tie: float | None
    """Log of Davidson's tie parameter nu; None without it."""
    hessian: Floats
    """Negative second derivative, (models [+ 1], same), penalty included."""
    expected: Floats
    """(matches,) expected sign of a vote: P(first wins) - P(second wins)."""
    expected_tie: Floats
    """(matches,) expected share of ties; 0 without a tie parameter."""


def outcomes(table: VoteTable) -> Outcomes:
    """Count the votes of each match; `tie` and `both_bad` are ties."""
    m = len(table.matches)
    counts = np.bincount(table.match * 4 + table.outcome, minlength=4 * m).reshape(m, 4).astype(float)
    ends = np.array(table.matches, dtype=np.int64).reshape(m, 2)
    tied = counts[:, 2] + counts[:, 3]
    return Outcomes(ends[:, 0], ends[:, 1], counts[:, MODEL], counts[:, OPPONENT], tied, len(table.models))


def refusal(counted: Outcomes, names: Sequence[str], penalised: bool = False) -> str | None:
    """Why these outcomes cannot be ranked; None where they can.

    A penalty helps where a group always wins; it cannot compare models that no chain of votes joins, and a design
    without a cycle holds nothing besides its pairwise rates.
    """
    k = counted.models
    if k < 2:
        return "fewer than two models"
    edges = coo_array((np.ones(len(counted.first)), (counted.first, counted.second)), shape=(k, k))
    parts, part = connected_components(edges, directed=False)
    if parts > 1:
        apart = ", ".join(np.array(names)[part == part[k - 1]])
        return f"disconnected: no vote joins {apart} with the other models"
    if len(counted.first) == k - 1:
        degree = np.bincount(np.concatenate([counted.first, counted.second]), minlength=k)
        if degree.max() == k - 1:
            centre = f" around {names[int(degree.argmax())]}" if k > 2 else ""
            return f"star design{centre}: a ranking would only repeat the pairwise shares"
        return "no cycle among the comparisons: a ranking would only repeat the pairwise shares"
    if not (counted.won + counted.lost).any():
        return "every vote is a tie"
    return None if penalised else _separation(counted, names)


def _separation(counted: Outcomes, names: Sequence[str]) -> str | None:
    """Ford's condition: the maximum is finite only if no group of models wins every vote against the rest."""
    beaten = np.concatenate([counted.second, counted.first])
    winner = np.concatenate([counted.first, counted.second])
    some = np.concatenate([counted.won + counted.tied, counted.lost + counted.tied]) > 0
    edges = coo_array((np.ones(int(some.sum())), (beaten[some], winner[some])), shape=(counted.models,) * 2)
    parts, part = connected_components(edges, directed=True, connection="strong")
    if parts == 1:
        return None
    leaving = set(part[beaten[some]][part[beaten[some]] != part[winner[some]]])
    top = next(group for group in range(parts) if group not in leaving)
    group = ", ".join(np.array(names)[part == top])
    return f"separated: {group} won every vote against the other models, so the strengths have no finite maximum"


def fit(counted: Outcomes, ties: str = "davidson", ridge: float = 0.0) -> Strengths:
    """Maximise the likelihood by Newton's method with step halving.

    Args:
        ties: `davidson` fits a tie parameter (if there is any tie); `half` counts a tie as half a win for each.
        ridge: Precision of a normal prior on the strengths; 0 for the maximum-likelihood fit.

    Raises:
        ValueError: another value of `ties`.
        NotConverged: no finite maximum, such as wins and ties but no upset anywhere.

    Source: Bradley and Terry (1952), Biometrika 39, 324-345; Davidson (1970), JASA 65, 317-328.
    """
    if ties not in ("davidson", "half"):
        raise ValueError(f"ties {ties!r} is neither 'davidson' nor 'half'")
    with_tie = ties == "davidson" and bool(counted.tied.any())
    x = np.zeros(counted.models + with_tie)
    value = _likelihood(counted, x, with_tie, ridge)
    for _ in range(STEPS):
        state = _state(counted, x, with_tie, ridge)
        gradient = _gradient(counted, state, ridge)
        if np.abs(gradient).max() <= 1e-11 * max(1.0, float((counted.won + counted.lost + counted.tied).sum())):
            break
        step = np.linalg.solve(_bordered(state.hessian, counted.models), gradient)
        size = 1.0
        while (new := _likelihood(counted, x + size * step, with_tie, ridge)) < value - 1e-12 * abs(value):
            size /= 2
            if size < 1e-10:
                raise NotConverged(f"no ascent after {STEPS} steps at {x}")
        x, value = x + size * step, new
    else:
        raise NotConverged(f"no maximum within {STEPS} steps")
    if np.linalg.eigvalsh(_bordered(state.hessian, counted.models))[0] < LEAST_INFORMATION:
        raise NotConverged("the strengths have no finite maximum")
    return state


@dataclass(frozen=True)
class Covariances:
    """Sandwich covariance of the strengths by each kind of cluster, (models, models), and the clusters seen."""

    first: Floats
    second: Floats
    cell: Floats
    clusters: tuple[int, int]

    def of(self, contrast: Floats) -> Floats:
        """Two-way variance of contrasts (rows), floored at the larger one-way one."""
        first, second, cell = (
            np.einsum("ij,jk,ik->i", contrast, each, contrast) for each in (self.first, self.second, self.cell)
        )
        larger = np.maximum(first, second)
        floored: Floats = np.maximum(first + second - cell, larger) if min(self.clusters) >= 2 else larger
        return floored

    @property
    def whole(self) -> Floats:
        """One positive semidefinite matrix: negative eigenvalues of the two-way sum are set to zero."""
        total = self.first + self.second - (self.cell if min(self.clusters) >= 2 else 0)
        values, vectors = np.linalg.eigh((total + total.T) / 2)
        whole: Floats = (vectors * np.maximum(values, 0)) @ vectors.T
        return whole


def covariances(table: VoteTable, counted: Outcomes, state: Strengths) -> Covariances:
    """Sandwich covariances: votes' scores are added up by scenario, by annotator and by both."""
    s, a = size_of(table.scenario), size_of(table.annotator)
    key = (table.match * s + table.scenario) * a + table.annotator
    sign = np.array([1.0, -1.0, 0.0, 0.0])[table.outcome]
    cells, of = relabel(key)
    match, cell, size = cells // (s * a), cells % (s * a), len(cells)
    n = np.bincount(of, minlength=size)
    rest = (add_up(of, sign, size) - n * state.expected[match]) / 2
    rest_tie = add_up(of, (table.outcome >= 2).astype(float), size) - n * state.expected_tie[match]
    bread = np.linalg.inv(_bordered(state.hessian, counted.models))
    found = []
    for code in (cell // a, cell % a, cell):
        labels, place = relabel(code)
        clusters = len(labels)
        rows, columns = [place, place], [counted.first[match], counted.second[match]]
        values = [rest, -rest]
        if state.tie is not None:
            rows, columns, values = [*rows, place], [*columns, np.full(len(place), counted.models)], [*values, rest_tie]
        scores = coo_array(
            (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
            shape=(clusters, len(state.hessian)),
        ).tocsr()
        meat = (scores.T @ scores).toarray() * clusters / max(clusters - 1, 1) * (clusters >= 2)
        found.append(((bread @ meat @ bread.T)[: counted.models, : counted.models], clusters))
    return Covariances(found[0][0], found[1][0], found[2][0], (found[0][1], found[1][1]))


def rank_ranges(
    theta: Floats, covariance: Covariances, level: float, seed: int, draws: int = 20_000
) -> list[tuple[int, int]]:
    """Ranks each model may have, for all models together: from simultaneous intervals on all differences.

    The critical value is the `level` quantile of the largest |difference| / standard error over draws of a
    multivariate t with the strengths' covariance.

    Source: the construction of Mogstad, Romano, Shaikh and Wilhelm (2024), Review of Economic Studies 91, 476-518.
    """
    k = len(theta)
    higher, lower = np.triu_indices(k, 1)
    contrast = np.zeros((len(higher), k))
    contrast[np.arange(len(higher)), higher], contrast[np.arange(len(higher)), lower] = 1.0, -1.0
    deviation = np.sqrt(covariance.of(contrast))
    if not (deviation > 0).all():
        return [(1, k)] * k
    critical = _largest_t(covariance, contrast, level, seed, draws)
    sure = np.abs(contrast @ theta) > critical * deviation
    above = (contrast @ theta) > 0
    better, worse = np.where(above, higher, lower)[sure], np.where(above, lower, higher)[sure]
    beaten_by, beats = np.bincount(worse, minlength=k), np.bincount(better, minlength=k)
    return [(1 + int(n), k - int(m)) for n, m in zip(beaten_by, beats, strict=True)]


def _largest_t(covariance: Covariances, contrast: Floats, level: float, seed: int, draws: int) -> float:
    whole = covariance.whole
    values, vectors = np.linalg.eigh(whole)
    root = vectors * np.sqrt(np.maximum(values, 0))
    rng = np.random.default_rng(seed)
    deviation = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", contrast, whole, contrast), 1e-300))
    normal = (rng.standard_normal((draws, len(root))) @ root.T) @ contrast.T / deviation
    df = degrees_of_freedom(covariance)
    largest = np.abs(normal).max(1) / np.sqrt(rng.chisquare(df, draws) / df)
    return float(np.quantile(largest, level))


def degrees_of_freedom(covariance: Covariances) -> int:
    """The smaller number of clusters (of a kind that has two) minus one."""
    usable = [count for count in covariance.clusters if count >= 2]
    return min(usable) - 1 if usable else 1


def _shares(counted: Outcomes, x: Floats, with_tie: bool) -> tuple[Floats, Floats, Floats, Floats]:
    """P(first), P(second), P(tie) and the log of the sum they are shares of."""
    half = (x[counted.first] - x[counted.second]) / 2
    tie = np.full_like(half, x[-1] if with_tie else -np.inf)
    total = np.logaddexp(np.logaddexp(half, -half), tie)
    return np.exp(half - total), np.exp(-half - total), np.exp(tie - total), total


def _likelihood(counted: Outcomes, x: Floats, with_tie: bool, ridge: float) -> float:
    half = (x[counted.first] - x[counted.second]) / 2
    total = _shares(counted, x, with_tie)[3]
    n = counted.won + counted.lost + counted.tied
    tie = (counted.tied * x[-1]).sum() if with_tie else 0.0
    strengths = x[: counted.models]
    return float(((counted.won - counted.lost) * half - n * total).sum() + tie - ridge / 2 * (strengths**2).sum())


def _state(counted: Outcomes, x: Floats, with_tie: bool, ridge: float) -> Strengths:
    k = counted.models
    won, lost, tied, _ = _shares(counted, x, with_tie)
    n = counted.won + counted.lost + counted.tied
    sign = won - lost
    spread = n * (won + lost - sign**2) / 4
    hessian = np.zeros((len(x), len(x)))
    np.add.at(hessian, (counted.first, counted.first), spread)
    np.add.at(hessian, (counted.second, counted.second), spread)
    np.add.at(hessian, (counted.first, counted.second), -spread)
    np.add.at(hessian, (counted.second, counted.first), -spread)
    hessian[np.arange(k), np.arange(k)] += ridge
    if with_tie:
        cross = -n * sign * tied / 2
        hessian[:k, k] = add_up(counted.first, cross, k) - add_up(counted.second, cross, k)
        hessian[k, :k] = hessian[:k, k]
        hessian[k, k] = (n * tied * (1 - tied)).sum()
    centred = x[:k] - x[:k].mean()
    return Strengths(centred, float(x[-1]) if with_tie else None, hessian, sign, tied)


def _gradient(counted: Outcomes, state: Strengths, ridge: float) -> Floats:
    n = counted.won + counted.lost + counted.tied
    rest = (counted.won - counted.lost - n * state.expected) / 2
    found = add_up(counted.first, rest, counted.models) - add_up(counted.second, rest, counted.models)
    found -= ridge * state.theta
    if state.tie is None:
        return found
    return np.append(found, (counted.tied - n * state.expected_tie).sum())


def _bordered(hessian: Floats, models: int) -> Floats:
    """The Hessian made invertible: strengths are free only up to a common shift, which is held at zero."""
    found = hessian.copy()
    found[:models, :models] += max(float(np.trace(hessian[:models, :models])) / models, 1e-300) / models
    return found
