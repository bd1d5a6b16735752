"""Intervals and tests for plain proportions, and what several tests at once need."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ti2v_bench.records import Estimate

Floats = NDArray[np.float64]


def wilson_interval(successes: ArrayLike, n: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson score limits of a proportion, elementwise; [0, 1] where n is 0.

    Args:
        successes: Wins, in [0, n]; half-wins are allowed.
        n: Number of independent trials.
        level: Two-sided coverage, in (0, 1).

    Source: Wilson (1927), JASA 22, 209-212; no continuity correction.
    """
    x, trials = np.asarray(successes, dtype=float), np.asarray(n, dtype=float)
    z = special.ndtri((1 + level) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = x / trials
        centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
        half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    low = np.where(x <= 0, 0.0, np.maximum(centre - half, 0.0))
    high = np.where(x >= trials, 1.0, np.minimum(centre + half, 1.0))
    return np.where(trials > 0, low, 0.0), np.where(trials > 0, high, 1.0)


def wilson(successes: float, n: int, level: float = 0.95) -> Estimate:
    """Proportion with its Wilson score interval, as an Estimate; see `wilson_interval`.

    Raises:
        ValueError: successes outside [0, n] or level outside (0, 1).
    """
    _check(successes, n, level)
    if n == 0:
        return Estimate(None, None, None, level, 0, "Wilson", why="nothing was counted")
    low, high = wilson_interval(successes, n, level)
    return Estimate(successes / n, float(low), float(high), level, n, "Wilson")


def mirrored(share: Estimate) -> Estimate:
    """The same share told from the other side."""
    value, low, high = (None if x is None else 1 - x for x in (share.value, share.high, share.low))
    return replace(share, value=value, low=low, high=high)


def clopper_pearson_interval(successes: ArrayLike, n: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Exact limits of a proportion, elementwise; [0, 1] where n is 0. Never covers less than `level`.

    Source: Clopper and Pearson (1934), Biometrika 26, 404-413, in its beta-quantile form (so half-wins are allowed).
    """
    x, trials = np.asarray(successes, dtype=float), np.asarray(n, dtype=float)
    tail = (1 - level) / 2
    low = special.betaincinv(np.maximum(x, 1e-300), trials - x + 1, tail)
    high = special.betaincinv(x + 1, np.maximum(trials - x, 1e-300), 1 - tail)
    return np.where(x <= 0, 0.0, low), np.where(x >= trials, 1.0, high)


def binomial_p(successes: ArrayLike, n: ArrayLike) -> Floats:
    """Exact two-sided p-value of a share of one half: twice the smaller tail, at most 1 (1 where n is 0).

    For p = 1/2 the binomial is symmetric, so this equals the sum over outcomes as unlikely as the one seen.
    """
    x, trials = np.asarray(successes, dtype=float), np.asarray(n, dtype=float)
    most = np.maximum(x, trials - x)
    tail = special.betainc(np.maximum(most, 1e-300), trials - most + 1, 0.5)  # P(X >= most)
    return np.where(trials > 0, np.minimum(1.0, 2 * tail), 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values: family-wise error kept under any dependence.

    Source: Holm (1979), Scandinavian Journal of Statistics 6, 65-70.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Benjamini-Hochberg adjusted p-values: the expected share of false discoveries is kept.

    Source: Benjamini and Hochberg (1995), JRSS B 57, 289-300.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(-p, kind="stable")
    stepped = np.minimum.accumulate(p[order] * len(p) / (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def _check(successes: float, n: int, level: float) -> None:
    if not 0 <= successes <= n:
        raise ValueError(f"successes {successes} is outside [0, n={n}]")
    if not 0 < level < 1:
        raise ValueError(f"level {level} is outside (0, 1)")
