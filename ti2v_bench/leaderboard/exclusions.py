"""Which votes do not enter the estimates, by rules that are fixed before the numbers are seen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ti2v_bench.errors import TI2VError
from ti2v_bench.leaderboard.records import Exclusions

Mask = NDArray[np.bool_]


class UnknownAnnotator(TI2VError):  # noqa: N818 - reads as what it is
    """An annotator to be excluded is in no vote."""


@dataclass(frozen=True)
class Checks:
    """What gold and repeat rows and times say of each annotator; indexed by annotator, NaN where nothing is known."""

    gold: "pd.Series[float]"
    """Share of gold rows answered as most other annotators did (the key where no other is known)."""
    repeats: "pd.Series[float]"
    """Share of repeated comparisons answered like the first time."""
    seconds: "pd.Series[float]"
    """Median time from shown to answered."""
    left: "pd.Series[float]"
    """Share of left choices among main votes for a side."""


def checks(votes: pd.DataFrame) -> Checks:
    """Per annotator, from all rows of a checked vote table."""
    people = pd.Index(sorted(map(str, votes["annotator"].unique())))
    rows = votes.assign(annotator=votes["annotator"].astype(object))
    nothing = pd.Series(np.nan, index=people)
    main = main_rows(rows)
    sided = main[main["choice"].isin(["left", "right"])]
    left = (sided["choice"] == "left").groupby(sided["annotator"]).mean()
    gold = repeats = seconds = nothing
    if "kind" in rows:
        rows["answer"], rows["comparison"] = answers(rows), _comparison(rows)
        gold = _gold(rows[rows["kind"] == "gold"])
        repeats = _repeats(rows)
    if {"shown_at", "answered_at"} <= set(rows):
        time = seconds_taken(main)
        seconds = time.groupby(main["annotator"]).median()
    return Checks(*(each.reindex(people).astype(float) for each in (gold, repeats, seconds, left)))


def main_rows(votes: pd.DataFrame) -> pd.DataFrame:
    """The rows that may enter estimates."""
    return votes[votes["kind"] == "main"] if "kind" in votes else votes


def seconds_taken(votes: pd.DataFrame) -> "pd.Series[float]":
    """Seconds from shown to answered; NaN where either time is missing."""
    return (votes["answered_at"] - votes["shown_at"]).dt.total_seconds()


def answers(votes: pd.DataFrame) -> "pd.Series[str]":
    """The model that was chosen, or `tie`, `both_bad` behind a mark that no name can begin with."""
    left, right, choice = (votes[name].astype(object) for name in ("left", "right", "choice"))
    return left.where(choice == "left", right.where(choice == "right", " " + choice))


def _comparison(votes: pd.DataFrame) -> "pd.Series[int]":
    """A code per row: equal where pair and the two models are."""
    left, right = votes["left"].astype(str), votes["right"].astype(str)
    first, second = left.where(left < right, right), right.where(left < right, left)
    return votes.groupby([votes["pair_id"].astype(str), first, second], sort=False).ngroup()


def _gold(gold: pd.DataFrame) -> "pd.Series[float]":
    """A gold comparison's key is the answer that most annotators gave; on a tie of answers it counts for nobody."""
    if gold.empty:
        return pd.Series(dtype=float)
    counts = pd.crosstab(gold["comparison"], gold["answer"])
    clear = (counts.eq(counts.max(axis=1), axis=0).sum(axis=1) == 1) & (counts.sum(axis=1) >= 2)
    key = counts.idxmax(axis=1)[clear]
    right = gold["answer"] == gold["comparison"].map(key)
    known = gold["comparison"].isin(key.index)
    return right[known].astype(float).groupby(gold["annotator"][known]).mean()


def _repeats(rows: pd.DataFrame) -> "pd.Series[float]":
    """A repeat row is compared with the annotator's first main vote on the same pair and models."""
    main, repeat = _in_time(main_rows(rows)), rows[rows["kind"] == "repeat"]
    if repeat.empty:
        return pd.Series(dtype=float)
    main = main.drop_duplicates(["annotator", "comparison"])
    first = dict(zip(zip(main["annotator"], main["comparison"], strict=True), main["answer"], strict=True))
    before = [first.get(key) for key in zip(repeat["annotator"], repeat["comparison"], strict=True)]
    known = np.array([answer is not None for answer in before])
    same = pd.Series(before, index=repeat.index, dtype=object) == repeat["answer"]
    return same[known].astype(float).groupby(repeat["annotator"][known]).mean()


def _in_time(votes: pd.DataFrame) -> pd.DataFrame:
    """The rows by answered_at, then vote_id; without either as they stand."""
    known = [name for name in ("answered_at", "vote_id") if name in votes]
    return votes.sort_values(known, kind="stable") if known else votes


def switched_off(votes: pd.DataFrame, rules: Exclusions) -> list[str]:
    """The rules that were asked for and that this table cannot follow, each with what it lacks."""
    kinds = set(votes["kind"].astype(str)) if "kind" in votes else set()
    lacks = {
        "min_seconds": [f"the column {name}" for name in ("shown_at", "answered_at") if name not in votes],
        "min_gold": [] if "gold" in kinds else ["gold rows"],
        "min_repeat": [] if "repeat" in kinds else ["repeat rows"],
    }
    return [
        f"the rule {name} was not applied: the table lacks {' and '.join(missing)}"
        for name, missing in lacks.items()
        if missing and getattr(rules, name) is not None
    ]


def apply(votes: pd.DataFrame, rules: Exclusions, seen: Checks) -> tuple[pd.DataFrame, Mapping[str, int]]:
    """The rows that stay, and how many main rows each rule took (in the order of the rules; a row counts once).

    Raises:
        UnknownAnnotator: a named annotator is in no row.
    """
    unknown = set(rules.annotators) - set(map(str, votes["annotator"].unique()))
    if unknown:
        raise UnknownAnnotator(f"No vote is by the annotator {sorted(unknown)[0]!r}, who was to be excluded.")
    main = votes["kind"].eq("main").to_numpy() if "kind" in votes else np.ones(len(votes), dtype=bool)
    stay, taken = np.ones(len(votes), dtype=bool), {}
    for words, rule in _rules(votes, rules, seen):
        out = rule() & main & stay
        taken[words] = int(out.sum())
        stay &= ~out
    return votes[stay], taken


def _rules(votes: pd.DataFrame, rules: Exclusions, seen: Checks) -> list[tuple[str, Callable[[], Mask]]]:
    who = votes["annotator"].astype(object)

    def people(bad: "pd.Series[bool]") -> Callable[[], Mask]:
        return lambda: who.isin(bad.index[bad]).to_numpy()

    counts = main_rows(votes)["annotator"].astype(object).value_counts()
    found: list[tuple[str, Callable[[], Mask]]] = []
    if rules.annotators:
        found.append(("annotator named", lambda: who.isin(rules.annotators).to_numpy()))
    if rules.min_votes is not None:
        found.append((f"annotator with fewer than {rules.min_votes} votes", people(counts < rules.min_votes)))
    if rules.min_gold is not None:
        found.append((f"annotator below {rules.min_gold:g} on gold", people(seen.gold < rules.min_gold)))
    if rules.min_repeat is not None:
        found.append((f"annotator below {rules.min_repeat:g} on repeats", people(seen.repeats < rules.min_repeat)))
    if rules.max_one_side is not None:
        pull = (seen.left - 0.5).abs() + 0.5
        found.append((f"annotator above {rules.max_one_side:g} on one side", people(pull > rules.max_one_side)))
    if rules.min_seconds is not None and {"shown_at", "answered_at"} <= set(votes):
        least = rules.min_seconds
        found.append((f"answered in under {least:g} s", lambda: (seconds_taken(votes) < least).to_numpy()))
    if rules.second_votes:
        found.append(("second vote on one comparison", lambda: _second(votes)))
    return found


def _second(votes: pd.DataFrame) -> Mask:
    """Later main votes of one annotator on one comparison."""
    main = _in_time(main_rows(votes))
    again = pd.DataFrame({"annotator": main["annotator"].astype(str), "comparison": _comparison(main)}).duplicated()
    return again.reindex(votes.index, fill_value=False).to_numpy().astype(bool)
