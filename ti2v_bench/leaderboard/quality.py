"""Agreement and annotators: can these votes be trusted?"""

import math

import numpy as np
from numpy.typing import NDArray

from ti2v_bench.leaderboard.exclusions import Checks
from ti2v_bench.leaderboard.records import AgreementReport, AnnotatorRow, ReportSettings
from ti2v_bench.stats.agreement import agreement
from ti2v_bench.stats.annotators import FALSE_FLAGS, FEWEST, Behaviour, behaviour, dawid_skene
from ti2v_bench.stats.table import VoteTable

FAST_SECONDS = 3.0
"""A median below this is flagged: two clips of two seconds cannot be seen in it."""
LOW_GOLD = 0.7
LOW_REPEAT = 0.6
LOW_SKILL = 0.1
"""Dawid-Skene skill (sensitivity + specificity - 1) at or below which votes hardly tell the models apart."""


def agreement_report(table: VoteTable, settings: ReportSettings) -> AgreementReport:
    """Krippendorff's alpha beside raw agreement and splits; votes coded within their comparison."""
    counts = table.outcomes if table.n else np.zeros((0, 4), dtype=np.int64)
    found = agreement(counts, settings.level, settings.resamples, settings.seed)
    return AgreementReport(found.alpha, found.why, found.raw, found.splits)


def annotator_rows(table: VoteTable, seen: Checks) -> tuple[AnnotatorRow, ...]:
    """One row per annotator of the votes that enter, by name."""
    if not table.n:
        return ()
    seen_so = behaviour(table)
    fitted = dawid_skene(table)
    skill = fitted.skill if fitted else np.full(len(table.annotators), np.nan)
    found = []
    for index, name in enumerate(table.annotators):
        outside = {key: _number(getattr(seen, key).get(name)) for key in ("gold", "repeats", "seconds")}
        found.append(
            AnnotatorRow(
                annotator=name,
                n=int(seen_so.n[index]),
                agreement_with_majority=_number(seen_so.agreement_with_majority[index]),
                agreement_with_others=_number(seen_so.agreement_with_others[index]),
                left_share=_number(seen_so.left_share[index]),
                median_seconds=outside["seconds"],
                gold=outside["gold"],
                repeats=outside["repeats"],
                dawid_skene_skill=_number(skill[index]),
                flags=_flags(index, seen_so, skill, outside),
            )
        )
    return tuple(found)


def _flags(
    index: int, seen: Behaviour, skill: NDArray[np.float64], outside: dict[str, float | None]
) -> tuple[str, ...]:
    enough = seen.n[index] >= FEWEST
    left = seen.left_share[index]
    found = {
        "left-pull": enough and seen.left_p[index] < FALSE_FLAGS and left > 0.5,
        "right-pull": enough and seen.left_p[index] < FALSE_FLAGS and left < 0.5,
        "fast": _below(outside["seconds"], FAST_SECONDS),
        "gold": _below(outside["gold"], LOW_GOLD),
        "repeats": _below(outside["repeats"], LOW_REPEAT),
        "dawid-skene": enough and skill[index] <= LOW_SKILL,
    }
    return tuple(name for name, raised in found.items() if raised)


def _below(value: float | None, least: float) -> bool:
    return value is not None and value < least


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
