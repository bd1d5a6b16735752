"""Looking at a study before it ends: critical values that keep the error rate, by alpha spending."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Floats = NDArray[np.float64]
Spending = Literal["obrien-fleming", "pocock"]
REACH = 8.0
"""Standard deviations beyond which densities are taken as zero."""
POINTS = 801


def spent(fraction: Floats, alpha: float, spending: Spending) -> Floats:
    """Two-sided error that may be used up once `fraction` of the information is in.

    Source: Lan and DeMets (1983), Biometrika 70, 659-663.
    """
    z = special.ndtri(1 - alpha / 4)  # each side spends half of alpha by the one-sided function
    used: Floats = 4 * special.ndtr(-z / np.sqrt(fraction))
    return alpha * np.log1p((np.e - 1) * fraction) if spending == "pocock" else used


def boundaries(fractions: Sequence[float], alpha: float = 0.05, spending: Spending = "obrien-fleming") -> list[float]:
    """Critical |z| at each look, two-sided.

    Args:
        fractions: Share of the final information at each look, rising, the last one 1.

    Raises:
        ValueError: fractions that do not rise within (0, 1].

    Source: recursive numerical integration, Armitage, McPherson and Rowe (1969), JRSS A 132, 235-244.
    """
    t = np.asarray(fractions, dtype=float)
    if not len(t) or t[0] <= 0 or abs(t[-1] - 1) > 1e-9 or (np.diff(t) <= 0).any():
        raise ValueError(f"looks {list(fractions)} must rise within (0, 1] and end at 1")
    step = np.diff(spent(t, alpha, spending), prepend=0.0)
    found: list[float] = []
    grid, density = np.zeros(1), np.ones(1)  # of the score z * sqrt(t) among studies that went on
    before = 0.0
    for now, use in zip(t, step, strict=True):
        spread = np.sqrt(now - before)

        excess = partial(_excess, grid, density, spread, np.sqrt(now), use)
        critical = float(optimize.brentq(excess, 0.0, REACH + 4, xtol=1e-9))
        found.append(critical)
        edge = min(critical * np.sqrt(now), REACH * np.sqrt(now))
        nodes = np.linspace(-edge, edge, POINTS)
        weights = _simpson(nodes)
        move = (nodes[:, None] - grid) / spread
        density = weights * ((np.exp(-(move**2) / 2) / np.sqrt(2 * np.pi) / spread) @ density)
        grid, before = nodes, float(now)
    return found


def _excess(grid: Floats, density: Floats, spread: float, root: float, use: float, z: float) -> float:
    """Chance to cross +-z at this look among studies that went on, minus what may be used up."""
    edge = z * root
    return float(density @ (special.ndtr((grid - edge) / spread) + special.ndtr((-edge - grid) / spread)) - use)


def _simpson(nodes: Floats) -> Floats:
    weights = np.full(len(nodes), 2.0)
    weights[1::2], weights[0], weights[-1] = 4.0, 1.0, 1.0
    scaled: Floats = weights * (nodes[1] - nodes[0]) / 3
    return scaled
