"""What each annotator's votes look like; flags that invite a second look. They replace no vote and exclude no one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ti2v_bench.stats.counting import add_up, relabel
from ti2v_bench.stats.proportions import benjamini_hochberg, binomial_p
from ti2v_bench.stats.table import MODEL, OPPONENT, VoteTable

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FEWEST = 20
"""Votes below which no flag is raised: too little to tell."""
FALSE_FLAGS = 0.05
"""Expected share of false ones among the left-pull flags (Benjamini-Hochberg)."""


@dataclass(frozen=True)
class Behaviour:
    """Per annotator, (annotators,); NaN where an annotator has nothing to count."""

    n: Ints
    agreement_with_majority: Floats
    """Own vote included."""
    agreement_with_others: Floats
    """Against the majority of the other annotators of the same comparison."""
    left_share: Floats
    left_p: Floats
    """Benjamini-Hochberg adjusted exact p of a left share of one half."""


def behaviour(table: VoteTable) -> Behaviour:
    """Count each annotator's votes against the rest; votes that name no model count only in `n`."""
    size = len(table.annotators)
    n = np.bincount(table.annotator, minlength=size)
    names = table.outcome <= OPPONENT
    sign = np.where(table.outcome == MODEL, 1, -1)
    lead = (table.outcomes[:, MODEL] - table.outcomes[:, OPPONENT])[table.unit]
    keys, place = relabel(table.unit * max(size, 1) + table.annotator)
    own = add_up(place, np.where(names, sign, 0).astype(float), len(keys))
    others = lead - own[place]
    left, sided = add_up(table.annotator[table.left == 1], np.ones(int((table.left == 1).sum())), size), table.left >= 0
    votes = np.bincount(table.annotator[sided], minlength=size)
    p = np.array(benjamini_hochberg(list(binomial_p(left, votes))))
    return Behaviour(
        n,
        _share(table, names & (lead != 0), sign * lead > 0),
        _share(table, names & (others != 0), sign * others > 0),
        np.where(votes > 0, left / np.maximum(votes, 1), np.nan),
        p,
    )


def _share(table: VoteTable, counted: NDArray[np.bool_], hit: NDArray[np.bool_]) -> Floats:
    size = len(table.annotators)
    n = np.bincount(table.annotator[counted], minlength=size)
    hits = np.bincount(table.annotator[counted & hit], minlength=size)
    return np.where(n > 0, hits / np.maximum(n, 1), np.nan)


@dataclass(frozen=True)
class DawidSkene:
    """Maximum-likelihood confusion of each annotator, (annotators,), for two true answers: model or opponent better."""

    sensitivity: Floats
    """P(names the model | the model is better)."""
    specificity: Floats
    """P(names the opponent | the opponent is better)."""
    prevalence: float
    """Share of units in which the model is better."""
    log_likelihood: float
    converged: bool

    @property
    def skill(self) -> Floats:
        """Sensitivity plus specificity minus one: 1 always right, 0 guessing."""
        return self.sensitivity + self.specificity - 1


def dawid_skene(table: VoteTable, steps: int = 200, tolerance: float = 1e-7) -> DawidSkene | None:
    """Fit by expectation-maximisation from each unit's share of votes; None where no unit has two votes for a model.

    Source: Dawid and Skene (1979), Applied Statistics 28, 20-28, with two classes. Each estimate carries half a
    pseudo-vote per answer, so that an annotator with few votes is not called perfect.
    """
    named = table.outcome <= OPPONENT
    unit, annotator, says = table.unit[named], table.annotator[named], table.outcome[named] == MODEL
    units, size = table.n_units, len(table.annotators)
    n = np.bincount(unit, minlength=units)
    if not (n >= 2).any():
        return None
    yes = np.bincount(unit[says], minlength=units)
    true = np.where(n > 0, yes / np.maximum(n, 1), 0.5)
    before, value = -np.inf, -np.inf
    for step in range(steps):
        weight = true[unit]
        right = add_up(annotator, weight, size), add_up(annotator, 1 - weight, size)
        sensitivity = (add_up(annotator, weight * says, size) + 0.5) / (right[0] + 1)
        specificity = (add_up(annotator, (1 - weight) * ~says, size) + 0.5) / (right[1] + 1)
        prevalence = float(np.clip(true[n > 0].mean(), 1e-9, 1 - 1e-9))
        yes_log = np.log(np.where(says, sensitivity[annotator], 1 - sensitivity[annotator]))
        no_log = np.log(np.where(says, 1 - specificity[annotator], specificity[annotator]))
        model = np.log(prevalence) + add_up(unit, yes_log, units)
        opponent = np.log1p(-prevalence) + add_up(unit, no_log, units)
        total = np.logaddexp(model, opponent)
        true = np.exp(model - total)
        prior = 0.5 * np.log(sensitivity * (1 - sensitivity) * specificity * (1 - specificity)).sum()
        value = float(total[n > 0].sum() + prior)
        if step and value - before < tolerance * abs(before):
            return DawidSkene(sensitivity, specificity, prevalence, value, True)
        before = value
    return DawidSkene(sensitivity, specificity, prevalence, value, False)
