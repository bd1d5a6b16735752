"""Before money is spent: what a study of a given size can detect, by formula and by simulation."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from ti2v_bench.records import Estimate
from ti2v_bench.stats.clusters import p_values
from ti2v_bench.stats.proportions import wilson
from ti2v_bench.stats.shares import vote_shares
from ti2v_bench.stats.simulate import Design, Effects, even_design, offset, simulate

Floats = NDArray[np.float64]
BATCH = 200


@dataclass(frozen=True)
class Plan:
    """A study as it is planned, and how much images, scenarios and annotators are thought to differ."""

    pairs: int = 320
    images: int = 88
    scenarios: int = 22
    annotators: int = 40
    votes: int = 5
    """Per pair, by different annotators."""
    comparisons: int = 1
    """Tests that share the error rate (Bonferroni, the first step of Holm)."""
    alpha: float = 0.05
    effects: Effects = field(default_factory=Effects)

    @property
    def design(self) -> Design:
        """Pairs spread evenly.

        Raises:
            ValueError: counts that do not fit together.
        """
        return even_design(self.pairs, self.images, self.scenarios, self.annotators, self.votes)

    @property
    def df(self) -> int:
        """Degrees of freedom of the two-way t."""
        return max(min(self.scenarios, self.annotators) - 1, 1)


def standard_error(plan: Plan, p: float) -> float:
    """Standard deviation of the vote share over studies like this one, whose population vote share is `p`.

    The variance is that of the mean's parts: each normal effect moves the share by its projection
    E[share | effect], found by quadrature; what is left is the noise of single votes.
    """
    parts = _parts(plan.effects, p)
    design = plan.design
    per_scenario = np.bincount(design.scenario) / plan.pairs
    per_image = np.bincount(design.image) / plan.pairs
    noise = p * (1 - p) - sum(parts.values())
    return float(
        np.sqrt(
            parts["scenario"] * (per_scenario**2).sum()
            + parts["image"] * (per_image**2).sum()
            + parts["annotator"] * _annotator_factor(plan)
            + max(noise, 0.0) / (plan.pairs * plan.votes)
        )
    )


def power(plan: Plan, p: float) -> float:
    """Chance that the two-sided two-way test finds a vote share of `p` different from one half, by formula.

    Noncentral t on the logit scale with the smaller number of clusters minus one degrees of freedom, at
    alpha / comparisons.
    """
    centre = float(special.logit(p) * p * (1 - p) / standard_error(plan, p))
    critical = special.stdtrit(plan.df, 1 - plan.alpha / plan.comparisons / 2)
    return noncentral_t_beyond(float(critical), plan.df, centre)


def noncentral_t_beyond(critical: float, df: int, centre: float) -> float:
    """P(|T| > critical) of a noncentral t, by quadrature over its chi-square: also where centre is large."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    scale = np.sqrt(2 * special.gammaincinv(df / 2, (nodes + 1) / 2) / df)
    beyond = special.ndtr(centre - critical * scale) + special.ndtr(-centre - critical * scale)
    return float(weights @ beyond / 2)


def detectable_share(plan: Plan, wanted: float = 0.8) -> float | None:
    """Smallest vote share above one half that is found with chance `wanted`; None where even 0.99 is not."""
    if power(plan, 0.99) < wanted:
        return None
    return float(optimize.brentq(lambda p: power(plan, p) - wanted, 0.5 + 1e-6, 0.99, xtol=1e-6))


def simulated_power(plan: Plan, p: float, studies: int, seed: int, level: float = 0.95) -> Estimate:
    """The same chance from simulated studies that go through the report's own test; Wilson over studies."""
    rng = np.random.default_rng(seed)
    found = 0
    for done in range(0, studies, BATCH):
        table = simulate(plan.design, plan.effects, p, min(BATCH, studies - done), rng).table
        found += int((p_values(vote_shares(table)) < plan.alpha / plan.comparisons).sum())
    e = wilson(found, studies, level)
    return Estimate(e.value, e.low, e.high, level, studies, "share of simulated studies; Wilson")


def _annotator_factor(plan: Plan) -> float:
    """Sum of squared shares of the votes by annotator, when each pair draws its annotators at random."""
    n, k, a = plan.pairs, plan.votes, plan.annotators
    same = 1 / (n * k)  # an annotator's vote with itself; another pair shares an annotator with chance k / a per vote
    return float(same + (n - 1) / n / a)


def _parts(effects: Effects, p: float) -> dict[str, float]:
    """Variance of E[share | effect] for each effect, the others averaged out."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    mu = offset(p, effects)
    found = {}
    for name in ("image", "scenario", "annotator"):
        own = getattr(effects, name)
        rest = np.sqrt(effects.image**2 + effects.scenario**2 + effects.annotator**2 - own**2)
        share = special.expit(mu + own * nodes[:, None] + rest * nodes) @ weights
        found[name] = float(weights @ (share - weights @ share) ** 2)
    return found
