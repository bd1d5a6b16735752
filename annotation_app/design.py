"""Who meets whom: a star around one model, all against all, or a balanced part of all against all."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from annotation_app.settings import StudyError

DESIGNS = ("star", "round-robin", "balanced")


@dataclass(frozen=True)
class Meeting:
    """Two models meet on one pair; `first` is the star where there is one."""

    pair_id: str
    first: str
    second: str


def plan_meetings(
    design: str,
    have: Mapping[str, Sequence[str]],
    models: Sequence[str],
    star: str | None = None,
    per_pair: int | None = None,
    seed: int = 0,
    existing: Sequence[Meeting] = (),
) -> list[Meeting]:
    """All meetings of a design for which both videos exist.

    Args:
        design: one of DESIGNS.
        have: pair_id to the models that have a video of it.
        models: all models of the study, in order.
        star: the model that all others meet (star design).
        per_pair: meetings per pair (balanced design); default: as many as half the models, rounded up.
        seed: for the balanced design's draw.
        existing: meetings of a study that grows; the balanced design keeps them and adds what is missing.

    Raises:
        StudyError: an unknown design, or one that these models do not allow.
    """
    _check(design, models, star, per_pair)
    if design == "balanced":
        return _balanced(have, models, per_pair or (len(models) + 1) // 2, seed, existing)
    if design == "star":
        assert star is not None
        couples = [(star, other) for other in models if other != star]
    else:
        couples = list(combinations(models, 2))
    return [
        Meeting(pair_id, first, second)
        for pair_id, present in have.items()
        for first, second in couples
        if first in present and second in present
    ]


def _check(design: str, models: Sequence[str], star: str | None, per_pair: int | None) -> None:
    if design not in DESIGNS:
        raise StudyError(f"There is no design {design!r}. Known: {', '.join(DESIGNS)}.")
    doubles = [name for name, count in Counter(models).items() if count > 1]
    if doubles:
        raise StudyError(f"The model {doubles[0]!r} is named twice. Name each once.")
    if len(models) < 2:
        raise StudyError(f"A study compares at least two models, but --models names {len(models)}.")
    if design == "star" and star not in models:
        raise StudyError(f"The star {star!r} is not among the models {', '.join(models)}. Add it to --models.")
    couples = len(models) * (len(models) - 1) // 2
    if per_pair is not None and not 1 <= per_pair <= couples:
        raise StudyError(f"{per_pair} comparisons per pair cannot be drawn from {couples} pairs of models.")


def _balanced(
    have: Mapping[str, Sequence[str]], models: Sequence[str], per_pair: int, seed: int, existing: Sequence[Meeting]
) -> list[Meeting]:
    """Give every pair `per_pair` meetings, so that couples of models, and models, meet equally often.

    Greedy over the pairs in random order: take the couple met least so far, then the models shown least; where all
    videos exist the counts of couples differ by at most one.
    """
    draw = random.Random(seed)
    met = Counter((meeting.first, meeting.second) for meeting in existing)
    shown = Counter(model for meeting in existing for model in (meeting.first, meeting.second))
    chosen: dict[str, list[Meeting]] = {}
    for meeting in existing:
        chosen.setdefault(meeting.pair_id, []).append(meeting)
    order = list(have)
    draw.shuffle(order)
    for pair_id in order:
        taken = {(meeting.first, meeting.second) for meeting in chosen.get(pair_id, [])}
        couples = [
            couple for couple in combinations(models, 2) if set(couple) <= set(have[pair_id]) and couple not in taken
        ]
        draw.shuffle(couples)
        for _ in range(min(per_pair - len(taken), len(couples))):
            best = min(couples, key=lambda couple: (met[couple], shown[couple[0]] + shown[couple[1]]))
            couples.remove(best)
            met[best] += 1
            shown.update(best)
            chosen.setdefault(pair_id, []).append(Meeting(pair_id, *best))
    return [meeting for pair_id in have for meeting in chosen.get(pair_id, [])]
