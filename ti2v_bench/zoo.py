"""The models side by side: what each is, and what the paper's annotators thought of it. Reads cards only, no torch."""

import json
import re
from dataclasses import dataclass
from typing import Any

from ti2v_bench.model import ModelCard
from ti2v_bench.registry import MODELS, load_card
from ti2v_bench.results import results_folder

NONE = "–"
"""Stands where nothing was published or measured."""


@dataclass(frozen=True)
class Score:
    """A published TI2V score: share of the 320 pairs, in percent, whose majority preferred the model."""

    percent: float
    against: str
    """The other model of the comparison, or in words which comparisons were averaged."""

    def __str__(self) -> str:
        return f"{self.percent:.1f} % against {self.against}"


def cards() -> list[ModelCard]:
    """All registered models' cards, in the registry's order."""
    return [load_card(name) for name in MODELS]


def published_scores() -> dict[str, Score]:
    """Registered name -> published score. A baseline's is against MotiF; MotiF's is its mean over the baselines.

    Source: `results/published.json`, Figure 4. Empty where that file is absent.
    """
    path = results_folder() / "published.json"
    if not path.is_file():
        return {}
    rows: list[dict[str, Any]] = json.loads(path.read_text())["figure_4"]["rows"]
    by_title = {_plain(row["baseline"]): Score(row["ti2v_score"]["baseline"], "MotiF") for row in rows}
    found = {name: by_title[_plain(name)] for name in MODELS if _plain(name) in by_title}
    mean = sum(row["ti2v_score"]["model"] for row in rows) / len(rows)
    return {**found, "motif": Score(round(mean, 1), f"{len(rows)} baselines (our mean of the printed scores)")}


def table() -> list[tuple[str, ...]]:
    """Header and one row per model, as text."""
    scores = published_scores()
    header = ("name", "title", "size", "frames", "fps", "precision", "weights", "licence", "published")
    return [header, *(_row(card, scores.get(card.name)) for card in cards())]


def describe(name: str) -> list[tuple[str, str]]:
    """Everything known of one model, as labelled lines; a label may repeat.

    Raises:
        UnknownModel: no model of that name.
    """
    card = load_card(name)
    score = published_scores().get(name)
    gib = card.gpu_memory_gib
    lines = [
        ("name", card.name),
        ("title", card.title),
        ("source", card.source),
        ("code licence", card.licence),
        ("makes", f"{_or_none(card.frames)} frames, {_or_none(card.fps)} fps, {card.size or NONE}"),
        ("precision", card.precision or NONE),
        ("parameters", f"{card.parameters:.0f} million" if card.parameters else NONE),
        ("fast form", "yes (generate --fast)" if card.fast else NONE),
        ("GPU memory", f"{gib:.1f} GiB in a sampling step, measured" if gib else "not measured"),
        ("published TI2V score", str(score) if score else NONE),
    ]
    for weight in card.weights:
        revision = f" @ {weight.revision}" if weight.revision else " (no revision is pinned: none is published)"
        lines.append(("fetches", f"{weight.repo}/{weight.file}{revision}, {_size(weight.bytes)}, {weight.licence}"))
    if not card.weights:
        lines.append(("fetches", "nothing"))
    return lines + [("note", note) for note in card.notes]


def _row(card: ModelCard, score: Score | None) -> tuple[str, ...]:
    sizes = [weight.bytes for weight in card.weights]
    known = sum(size for size in sizes if size)
    weights = "none" if not sizes else NONE if not known else _size(known) + ("" if all(sizes) else "+")
    return (
        card.name,
        card.title,
        card.size or NONE,
        _or_none(card.frames),
        _or_none(card.fps),
        card.precision or NONE,
        weights,
        card.licence,
        f"{score.percent:.1f} %" if score else NONE,
    )


def _size(count: int | None) -> str:
    if count is None:
        return "size unknown"
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _or_none(value: int | None) -> str:
    return NONE if value is None else str(value)


def _plain(title: str) -> str:
    """`Cond-leak` and `cond_leak` are one model."""
    return re.sub(r"[^a-z0-9]", "", title.lower())
