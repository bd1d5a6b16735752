"""How alike annotators judge the same comparison: raw agreement, Krippendorff's alpha, splits of the vote."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ti2v_bench.records import Estimate

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """All three views of one table."""

    alpha: Estimate | None
    why: str | None
    """Reason where alpha is None."""
    raw: Estimate
    splits: Mapping[str, int]
    """`5-0`, `4-1`, … -> number of units; votes that no one else joined are `1-0`."""


def agreement(counts: Ints, level: float, resamples: int, seed: int) -> Agreement:
    """Agreement within units, each judged by any number of annotators.

    Args:
        counts: (units, categories) how many votes each unit has in each category.

    Alpha is Krippendorff's, nominal, missing votes allowed: 1 - observed / expected disagreement, where units with
    one vote do not count. Raw agreement is the mean over units of the share of vote pairs that agree. Both intervals
    resample units (percentile bootstrap); units of one pattern are interchangeable, so patterns are drawn.

    Source: Krippendorff (2004), Content Analysis, chapter 11; Hayes and Krippendorff (2007).
    """
    patterns, often = np.unique(counts, axis=0, return_counts=True)
    splits = _splits(patterns, often)
    paired = patterns.sum(1) >= 2
    patterns, often = patterns[paired].astype(float), often[paired]
    units = int(often.sum())
    if units == 0:
        why = "no comparison has two votes"
        return Agreement(None, why, Estimate(None, None, None, level, 0, "raw agreement", why), splits)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(units, often / units, resamples).astype(float)
    words = f"percentile bootstrap over {units} comparisons, {resamples} resamples"
    raw = _raw(patterns, often[None].astype(float))[0]
    low, high = np.quantile(_raw(patterns, drawn), [(1 - level) / 2, (1 + level) / 2])
    raw_estimate = Estimate(float(raw), float(low), float(high), level, units, f"agreeing pairs of votes; {words}")
    alpha = _alpha(patterns, often[None].astype(float))[0]
    if np.isnan(alpha):
        return Agreement(None, "undefined: all votes are of one kind", raw_estimate, splits)
    found = _alpha(patterns, drawn)
    defined = found[~np.isnan(found)]
    if not len(defined):
        why = "no resample holds votes of two kinds"
        return Agreement(
            Estimate(float(alpha), None, None, level, units, "Krippendorff, nominal", why), None, raw_estimate, splits
        )
    if len(defined) < resamples:
        words += f", {resamples - len(defined)} of them left out (all votes of one kind: alpha undefined)"
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    estimate = Estimate(float(alpha), float(low), float(high), level, units, f"Krippendorff, nominal; {words}")
    return Agreement(estimate, None, raw_estimate, splits)


def _raw(patterns: Floats, weights: Floats) -> Floats:
    n = patterns.sum(1)
    share = (patterns * (patterns - 1)).sum(1) / (n * (n - 1))
    mean: Floats = weights @ share / weights.sum(1)
    return mean


def _alpha(patterns: Floats, weights: Floats) -> Floats:
    """(resamples,) alpha; NaN where all votes of a resample are of one kind."""
    n = patterns.sum(1)
    agreeing = weights @ ((patterns * (patterns - 1)).sum(1) / (n - 1))
    votes, by_kind = weights @ n, weights @ patterns
    chance = (by_kind * (by_kind - 1)).sum(1) / (votes - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        alpha: Floats = 1 - (votes - agreeing) / (votes - chance)
    alpha[(by_kind > 0).sum(1) < 2] = np.nan
    return alpha


def _splits(patterns: Ints, often: Ints) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    for pattern, count in zip(-np.sort(-patterns, axis=1), often, strict=True):
        parts = [int(part) for part in pattern if part]
        found["-".join(map(str, [*parts, 0] if len(parts) == 1 else parts))] += int(count)
    return {name: found[name] for name in sorted(found, key=lambda s: [-int(part) for part in s.split("-")])}
