"""Votes as integer codes: counted once here, so that every estimate works on counts and not on rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ti2v_bench.errors import TI2VError
from ti2v_bench.stats.counting import relabel
from ti2v_bench.votes import REASONS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
MODEL, OPPONENT, TIE, BOTH_BAD = range(4)
OUTCOMES = ("model", "opponent", "tie", "both_bad")


class UnknownStar(TI2VError):  # noqa: N818 - reads as what it is
    """The model named as the star is in no vote."""


@dataclass(frozen=True)
class VoteTable:
    """Votes that enter estimates (`kind` = `main`), as codes into sorted names, so that row order leaves no trace.

    All arrays have one entry per vote unless said otherwise; votes are sorted by match, pair, annotator and answer.
    """

    models: tuple[str, ...]
    pairs: tuple[str, ...]
    images: tuple[str, ...] | None
    """None where the table has no `image_id`; the codes are then those of the pairs."""
    scenarios: tuple[str, ...] | None
    """None where the table has no `scenario`; the codes are then those of the pairs."""
    annotators: tuple[str, ...]
    matches: tuple[tuple[int, int], ...]
    """(model, opponent) of each comparison of two models: who is compared, from whose side it is told."""
    match: Ints
    """Index into `matches`."""
    pair: Ints
    image: Ints
    scenario: Ints
    annotator: Ints
    outcome: Ints
    """MODEL, OPPONENT, TIE or BOTH_BAD, seen from the match's model."""
    left: Ints
    """1 where the left video was chosen, 0 where the right one was, -1 where neither."""
    reasons: Ints | None
    """Bit i set where REASONS[i] was given; None where the table has no `reasons`."""
    star: int | None
    """The model that is in every match, where there is exactly one such (or it was named)."""

    @property
    def n(self) -> int:
        """Number of votes."""
        return len(self.match)

    @cached_property
    def score(self) -> Floats:
        """1 where the match's model was preferred, 0 where the opponent was, 1/2 for `tie` and `both_bad`."""
        return np.array([1.0, 0.0, 0.5, 0.5])[self.outcome]

    @cached_property
    def unit(self) -> Ints:
        """Codes of (match, pair): the thing that several annotators judge. Dense, ordered by match, then pair."""
        return relabel(self.match * max(len(self.pairs), 1) + self.pair)[1]

    @cached_property
    def unit_match(self) -> Ints:
        """Match of each unit, (units,)."""
        return self._of_unit(self.match)

    @cached_property
    def unit_scenario(self) -> Ints:
        """Scenario of each unit, (units,)."""
        return self._of_unit(self.scenario)

    @cached_property
    def outcomes(self) -> Ints:
        """How often each unit got each outcome, (units, 4)."""
        counts = np.bincount(self.unit * 4 + self.outcome, minlength=4 * self.n_units)
        return counts.reshape(-1, 4)

    @property
    def n_units(self) -> int:
        """Number of (match, pair) that have a vote."""
        return int(self.unit.max()) + 1 if self.n else 0

    @cached_property
    def cell(self) -> Ints:
        """Codes of scenario x annotator."""
        return self.scenario * max(len(self.annotators), 1) + self.annotator

    def match_names(self, match: int) -> tuple[str, str]:
        """Names of (model, opponent)."""
        model, opponent = self.matches[match]
        return self.models[model], self.models[opponent]

    def _of_unit(self, codes: Ints) -> Ints:
        found = np.zeros(self.n_units, dtype=np.int64)
        found[self.unit] = codes
        return found


def tabulate(votes: pd.DataFrame, star: str | None = None) -> VoteTable:
    """Code a checked vote table (`ti2v_bench.votes`); only rows of `kind` = `main` are taken.

    Args:
        votes: As `check_votes` returns it.
        star: Model from whose side its comparisons are told. By default the one that meets all others and is met
            by none else; where there is none, each comparison is told from the model that comes first by name.

    Raises:
        UnknownStar: `star` is in no vote.
    """
    main = votes[votes["kind"] == "main"] if "kind" in votes else votes
    annotators, annotator = _codes(main["annotator"])
    pairs, pair = _codes(main["pair_id"])
    images, image = _codes(main["image_id"]) if "image_id" in main else (None, pair)
    scenarios, scenario = _codes(main["scenario"]) if "scenario" in main else (None, pair)
    models, left, right = _sides(main)
    if star is not None and star not in models:
        raise UnknownStar(f"The star {star!r} is in no vote. Models: {', '.join(models) or 'none'}.")
    first, second = np.minimum(left, right), np.maximum(left, right)
    found, match = relabel(first * max(len(models), 1) + second)
    met = [divmod(int(code), len(models)) for code in found]
    centre = models.index(star) if star is not None else _centre(met)
    matches = tuple((b, a) if b == centre else (a, b) for a, b in met)
    choice = _choice(main)
    model = np.array([m for m, _ in matches], dtype=np.int64)[match] if matches else first
    chosen = np.where(choice == 0, left, right)
    outcome = np.where(choice >= 2, choice, np.where(chosen == model, MODEL, OPPONENT))
    side = np.array([1, 0, -1, -1], dtype=np.int64)[choice]
    reasons = _reasons(main) if "reasons" in main else None
    key = ((match * max(len(pairs), 1) + pair) * max(len(annotators), 1) + annotator) * 192 + outcome * 48
    order = np.argsort(key + (side + 1) * 16 + (0 if reasons is None else reasons), kind="stable")
    match, pair, image, scenario, annotator, outcome, side = (
        codes[order] for codes in (match, pair, image, scenario, annotator, outcome, side)
    )
    reasons = None if reasons is None else reasons[order]
    return VoteTable(
        models, pairs, images, scenarios, annotators, matches, match, pair, image, scenario, annotator,
        outcome, side, reasons, centre,
    )  # fmt: skip


def _codes(column: "pd.Series[str]") -> tuple[tuple[str, ...], Ints]:
    """Names that occur, sorted, and each row's index into them."""
    codes, names = pd.factorize(column.astype("category"), sort=False)
    text = np.array([str(name) for name in names], dtype=object)
    order = np.argsort(text, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return tuple(text[order]), place[codes] if len(codes) else np.zeros(0, dtype=np.int64)


def _sides(main: pd.DataFrame) -> tuple[tuple[str, ...], Ints, Ints]:
    left_names, left = _codes(main["left"])
    right_names, right = _codes(main["right"])
    models = tuple(sorted({*left_names, *right_names}))
    place = {name: index for index, name in enumerate(models)}
    return models, _recode(left, left_names, place), _recode(right, right_names, place)


def _recode(codes: Ints, names: Sequence[str], place: dict[str, int]) -> Ints:
    return np.array([place[name] for name in names], dtype=np.int64)[codes]


def _choice(main: pd.DataFrame) -> Ints:
    """0 left, 1 right, 2 tie, 3 both_bad."""
    names, codes = _codes(main["choice"])
    return _recode(codes, names, {"left": 0, "right": 1, "tie": TIE, "both_bad": BOTH_BAD})


def _reasons(main: pd.DataFrame) -> Ints:
    names, codes = _codes(main["reasons"])
    bits = [sum(1 << REASONS.index(part) for part in name.split(";") if part in REASONS) for name in names]
    return np.array(bits, dtype=np.int64)[codes]


def _centre(met: Sequence[tuple[int, int]]) -> int | None:
    """The one model that is in every match; None where two or none are."""
    shared = set.intersection(*(set(match) for match in met)) if met else set()
    return shared.pop() if len(shared) == 1 else None
