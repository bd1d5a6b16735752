"""Counting by integer codes: the work that every estimate begins with, done once and fast."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Collapsed:
    """Votes added up by key; keys ascend, so that sums do not depend on the order of the votes."""

    key: Ints
    n: Floats
    total: Floats


def add_up(codes: Ints, weights: Floats, size: int) -> Floats:
    """Sum of `weights` per code, (size,)."""
    return np.bincount(codes, weights, size).astype(np.float64, copy=False)


def relabel(key: Ints) -> tuple[Ints, Ints]:
    """Keys that occur, ascending, and each entry's index into them; by a table where keys are few, else by sorting."""
    top = size_of(key)
    if top > 4 * len(key) + 100_000:
        found, codes = np.unique(key, return_inverse=True)
        return found, codes
    seen = np.zeros(top, dtype=bool)
    seen[key] = True
    return np.flatnonzero(seen), (np.cumsum(seen) - 1)[key]


def collapse(key: Ints, score: Floats) -> Collapsed:
    """Count and add up `score` by `key`."""
    found, codes = relabel(key)
    return Collapsed(found, np.bincount(codes, minlength=len(found)).astype(float), add_up(codes, score, len(found)))


def size_of(codes: Ints) -> int:
    """One more than the largest code; 1 where there is none."""
    return int(codes.max()) + 1 if len(codes) else 1
