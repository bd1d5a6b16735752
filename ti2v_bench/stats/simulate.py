"""Simulated studies with known truth: effects of image, scenario and annotator on the logit of preferring the model."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from ti2v_bench.stats.table import MODEL, OPPONENT, VoteTable

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Effects:
    """Standard deviations of normal effects on the logit."""

    image: float = 1.0
    scenario: float = 0.4
    annotator: float = 0.5


@dataclass(frozen=True)
class Design:
    """Who judges what."""

    image: Ints
    """(pairs,) image of each pair."""
    scenario: Ints
    """(pairs,) scenario of each pair."""
    annotators: int
    votes: int
    """Per pair, by different annotators drawn at random."""


@dataclass(frozen=True)
class Simulated:
    """Simulated votes with what produced them."""

    table: VoteTable
    """One match per replicate."""
    scenario_effect: Floats
    """(replicates, scenarios) logit effect of each scenario."""


def even_design(pairs: int, images: int, scenarios: int, annotators: int, votes: int) -> Design:
    """Pairs spread evenly over images, images over scenarios.

    Raises:
        ValueError: fewer pairs than images, fewer images than scenarios, or more votes than annotators.
    """
    if not pairs >= images >= scenarios >= 1:
        raise ValueError(f"needs pairs >= images >= scenarios >= 1, not {pairs}, {images}, {scenarios}")
    if not annotators >= votes >= 1:
        raise ValueError(f"needs annotators >= votes >= 1, not {annotators}, {votes}")
    image = np.sort(np.arange(pairs) % images)
    return Design(image, image % scenarios, annotators, votes)


def offset(p: float, effects: Effects) -> float:
    """Logit at which the vote share over all images, scenarios and annotators is `p`.

    Raises:
        ValueError: p outside (0, 1).
    """
    if not 0 < p < 1:
        raise ValueError(f"p {p} is outside (0, 1)")
    spread = float(np.hypot(np.hypot(effects.image, effects.scenario), effects.annotator))
    reach = max(40.0, 10 * spread)
    return float(optimize.brentq(lambda mu: _mean_share(mu, spread) - p, -reach, reach, xtol=1e-12))


def share_given_scenarios(p: float, effects: Effects, design: Design, scenario_effect: Floats) -> Floats:
    """Share of votes over all images and annotators, for the scenarios as they are drawn: (replicates,).

    Args:
        scenario_effect: (replicates, scenarios).
    """
    grid = np.linspace(-8 * max(effects.scenario, 1e-9), 8 * max(effects.scenario, 1e-9), 401)
    spread = float(np.hypot(effects.image, effects.annotator))
    mu = offset(p, effects)
    share = np.array([_mean_share(mu + at, spread) for at in grid])
    weight = np.bincount(design.scenario) / len(design.scenario)
    mean: Floats = np.interp(scenario_effect, grid, share) @ weight
    return mean


def population_majority(p: float, effects: Effects, votes: int) -> float:
    """Share of pairs that a majority of `votes` random annotators prefers, over all images and scenarios."""
    mu = offset(p, effects)
    nodes, weights = _normal_nodes()
    item = mu + float(np.hypot(effects.image, effects.scenario)) * nodes
    share = special.expit(item[:, None] + effects.annotator * nodes) @ weights
    half = votes // 2
    wins = special.betainc(half + 1, votes - half, share)  # P(Binomial > votes / 2)
    ties = special.comb(votes, half) * (share * (1 - share)) ** half if votes % 2 == 0 else 0.0
    return float((wins + ties / 2) @ weights)


def simulate(design: Design, effects: Effects, p: float, replicates: int, rng: np.random.Generator) -> Simulated:
    """Independent studies of one comparison each, as the matches of one table.

    Every replicate draws its images, scenarios and annotators anew, so that the truth is `p` and not a finite bench.
    """
    pairs, r = len(design.image), replicates
    images, scenarios = int(design.image.max()) + 1, int(design.scenario.max()) + 1
    scenario = rng.normal(0, effects.scenario, (r, scenarios))
    image = rng.normal(0, effects.image, (r, images))
    item = offset(p, effects) + image[:, design.image] + scenario[:, design.scenario]
    who = _draw(r * pairs, design.annotators, design.votes, rng).reshape(r, pairs, design.votes)
    person = rng.normal(0, effects.annotator, (r, design.annotators))
    logit = item[:, :, None] + np.take_along_axis(person, who.reshape(r, -1), 1).reshape(who.shape)
    won = rng.random(logit.shape) < special.expit(logit)

    def per_vote(codes: Ints) -> Ints:
        return np.broadcast_to(codes[None, :, None], who.shape).ravel()

    n = who.size
    table = VoteTable(
        models=("model", "opponent"),
        pairs=tuple(map(str, range(pairs))),
        images=tuple(map(str, range(images))),
        scenarios=tuple(map(str, range(scenarios))),
        annotators=tuple(map(str, range(design.annotators))),
        matches=((0, 1),) * r,
        match=np.repeat(np.arange(r), pairs * design.votes),
        pair=per_vote(np.arange(pairs)),
        image=per_vote(design.image),
        scenario=per_vote(design.scenario),
        annotator=who.ravel(),
        outcome=np.where(won.ravel(), MODEL, OPPONENT),
        left=np.full(n, -1),
        reasons=None,
        star=0,
    )
    return Simulated(table, scenario)


def _draw(rows: int, people: int, votes: int, rng: np.random.Generator) -> Ints:
    """`votes` different people per row, each set equally likely: Floyd's sampling, all rows at once."""
    found = np.empty((rows, votes), dtype=np.int64)
    for at, last in enumerate(range(people - votes, people)):
        pick = rng.integers(0, last + 1, rows)
        taken = (found[:, :at] == pick[:, None]).any(1)
        found[:, at] = np.where(taken, last, pick)
    return found


@cache
def _normal_nodes() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    return nodes, weights / weights.sum()


def _mean_share(mu: float, spread: float) -> float:
    nodes, weights = _normal_nodes()
    return float(special.expit(mu + spread * nodes) @ weights)
