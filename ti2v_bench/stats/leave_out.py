"""Does one annotator, or one scenario, decide who wins? Shares without each cluster in turn."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ti2v_bench.stats.averages import left_out, majority_changes
from ti2v_bench.stats.counting import add_up, collapse
from ti2v_bench.stats.shares import unit_majorities
from ti2v_bench.stats.table import VoteTable

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LeaveOneOut:
    """What happens to one comparison when one cluster at a time is left out."""

    vote_share_low: float
    vote_share_high: float
    majority_low: float
    majority_high: float
    changes_vote_share: tuple[str, ...]
    """Clusters without which another side (or neither) has more votes."""
    changes_majority: tuple[str, ...]
    """Clusters without which another side (or neither) has more pairs."""


def leave_one_out(table: VoteTable, kind: Literal["annotator", "scenario"]) -> list[LeaveOneOut | None]:
    """Per match; None where fewer than two clusters are there to leave out, or the table has no scenarios."""
    names = table.annotators if kind == "annotator" else table.scenarios
    if names is None:
        return [None] * len(table.matches)
    votes = _votes_without(table, table.annotator if kind == "annotator" else table.scenario, len(names))
    pairs = _pairs_without(table, kind)
    share = add_up(table.match, table.score, len(table.matches)) / np.maximum(np.bincount(table.match), 1)
    majority = add_up(table.unit_match, unit_majorities(table), len(table.matches)) / np.bincount(table.unit_match)
    found: list[LeaveOneOut | None] = []
    for match in range(len(table.matches)):
        without_votes, without_pairs = (_of_match(each, match) for each in (votes, pairs))
        if len(without_votes[0]) < 2:
            found.append(None)
            continue
        share_after, majority_after = share[match] + without_votes[1], majority[match] + without_pairs[1]
        found.append(
            LeaveOneOut(
                float(share_after.min()),
                float(share_after.max()),
                float(majority_after.min()),
                float(majority_after.max()),
                _changing(names, without_votes[0], share[match], share_after),
                _changing(names, without_pairs[0], majority[match], majority_after),
            )
        )
    return found


def _of_match(moves: tuple[Ints, Ints, Floats], match: int) -> tuple[Ints, Floats]:
    cluster, of, move = moves
    return cluster[of == match], move[of == match]


def _changing(names: tuple[str, ...], clusters: Ints, before: float, after: Floats) -> tuple[str, ...]:
    side = np.sign(np.round(after - 0.5, 12))  # rounded: an exact tie is a tie
    changed = side != np.sign(round(before - 0.5, 12))
    return tuple(names[cluster] for cluster in np.sort(clusters[changed]))


def _votes_without(table: VoteTable, codes: Ints, size: int) -> tuple[Ints, Ints, Floats]:
    sums = collapse(table.match * size + codes, table.score)
    match = sums.key // size
    n, total = add_up(match, sums.n, len(table.matches)), add_up(match, sums.total, len(table.matches))
    left = n[match] - sums.n
    share = np.where(left > 0, (total[match] - sums.total) / np.maximum(left, 1), (total / n)[match])
    return sums.key % size, match, share - (total / n)[match]


def _pairs_without(table: VoteTable, kind: str) -> tuple[Ints, Ints, Floats]:
    majority = unit_majorities(table)
    n = add_up(table.unit_match, np.ones(len(majority)), len(table.matches))
    total = add_up(table.unit_match, majority, len(table.matches))
    if kind == "scenario":
        return left_out(table.unit_scenario, table.unit_match, -majority, np.ones(len(majority)), n, total)
    unit, annotator, change, lost = majority_changes(table)
    return left_out(annotator, table.unit_match[unit], change, lost, n, total)
