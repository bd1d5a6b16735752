"""What a study shows: pairs, clips in presentation form, comparisons, and items whose answer is known."""

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, insert, select

from annotation_app.design import Meeting
from annotation_app.presentation import Clip, show_clips, show_picture, still_clip
from annotation_app.schema import ComparisonRow, ModelRow, PairRow, VideoRow
from annotation_app.settings import StudySettings
from ti2v_bench.bench import Bench
from ti2v_bench.records import Job, Pair

GOLD_ITEMS = 20
"""Most gold items made for one study."""

ClipKey = tuple[str, str]
"""(pair_id, model)."""


@dataclass(frozen=True)
class KnownItem:
    """An item every attentive person answers alike: `winner` fits picture and prompt of `pair_id`, `loser` does not."""

    kind: str
    pair_id: str
    winner: ClipKey
    loser: ClipKey
    note: str


@dataclass(frozen=True)
class Contents:
    """Everything a study is filled with."""

    pairs: Mapping[str, Pair]
    pictures: Mapping[str, str]
    """pair_id to file name; only pairs that are new to the study."""
    clips: Mapping[ClipKey, Clip]
    """Only clips that are new to the study."""
    meetings: Sequence[Meeting]
    known: Sequence[KnownItem]
    seed: int
    notes: Sequence[str] = field(default_factory=tuple)


Planner = Callable[[Mapping[str, Sequence[str]]], list[Meeting]]


def found_videos(bench: Bench, videos: Path, models: Sequence[str], seed: int) -> dict[str, list[str]]:
    """pair_id to the models that have a video of it, for all pairs of the bench."""
    return {
        pair.id: [model for model in models if Job(model, pair, seed).path(videos).is_file()] for pair in bench.pairs
    }


def collect(
    bench: Bench,
    videos: Path,
    models: Sequence[str],
    settings: StudySettings,
    folder: Path,
    planner: Planner,
    progress: Callable[[int, int], None],
    have_already: frozenset[ClipKey] = frozenset(),
) -> Contents:
    """Plan the meetings and make the files for them in `folder`; an unreadable video is noted and left out."""
    seed = settings.seed
    pairs = {pair.id: pair for pair in bench.pairs}
    found = found_videos(bench, videos, models, seed)
    meetings = planner(found)
    known = [] if have_already else _known_items(bench, videos, meetings, settings)
    folder.mkdir(parents=True)
    needed = _needed(meetings, known) - have_already
    clips, broken = _make_clips(sorted(needed), pairs, videos, settings, folder, progress)
    if broken:
        bad = {key for key, _ in broken}
        found = {pair: [m for m in present if (pair, m) not in bad] for pair, present in found.items()}
        meetings = planner(found)
        known = [item for item in known if not {item.winner, item.loser} & bad]
    new_pairs = sorted({m.pair_id for m in meetings} | {k.pair_id for k in known} | {pair for pair, _ in clips})
    old_pairs = {pair for pair, _ in have_already}
    pictures = {
        pair: show_picture(pairs[pair], folder, settings.presentation) for pair in new_pairs if pair not in old_pairs
    }
    notes = [*_missing_notes(found, models), *(f"left out: {error}" for _, error in broken)]
    return Contents(pairs, pictures, clips, meetings, known, seed, notes)


def _needed(meetings: Sequence[Meeting], known: Sequence[KnownItem]) -> set[ClipKey]:
    of_meetings = {(m.pair_id, model) for m in meetings for model in (m.first, m.second)}
    return of_meetings | {key for item in known for key in (item.winner, item.loser)}


def _make_clips(
    keys: Sequence[ClipKey],
    pairs: Mapping[str, Pair],
    videos: Path,
    settings: StudySettings,
    folder: Path,
    progress: Callable[[int, int], None],
) -> tuple[dict[ClipKey, Clip], list[tuple[ClipKey, str]]]:
    """All clips; a `static` one that nobody made is made here from the pair's picture."""
    clips: dict[ClipKey, Clip] = {}
    broken: list[tuple[ClipKey, str]] = []
    paths = {key: Job(key[1], pairs[key[0]], settings.seed).path(videos) for key in keys}
    on_disk = [key for key in keys if paths[key].is_file()]
    made = show_clips((paths[key] for key in on_disk), folder, settings.presentation, os.cpu_count() or 1)
    for number, (key, (_, clip)) in enumerate(zip(on_disk, made, strict=True), start=1):
        if isinstance(clip, Clip):
            clips[key] = clip
        else:
            broken.append((key, str(clip)))
        progress(number, len(keys))
    for key in keys:
        if key not in clips and not paths[key].is_file():
            clips[key] = still_clip(pairs[key[0]], folder, settings.presentation)
    progress(len(keys), len(keys))
    return clips, broken


def _missing_notes(found: Mapping[str, Sequence[str]], models: Sequence[str]) -> Iterator[str]:
    for model in models:
        missing = [pair_id for pair_id, present in found.items() if model not in present]
        if missing:
            yield f"{model}: no video for {len(missing)} of {len(found)} pairs (first: {missing[0]})"


def _known_items(bench: Bench, videos: Path, meetings: Sequence[Meeting], settings: StudySettings) -> list[KnownItem]:
    """Training items and gold items, on different pairs.

    The winner is the `reference` video where there is one, else a model's own clip. The loser is a still picture where
    the reference shows that something must move; otherwise the same model's clip of another picture, since a model's
    clip is not always better than a still one.
    """
    protocol = settings.protocol
    wanted = protocol.training + (GOLD_ITEMS if protocol.gold_every else 0)
    met = {meeting.pair_id: meeting for meeting in reversed(meetings)}
    pairs = [pair for pair in bench.pairs if pair.id in met]
    random.Random(0).shuffle(pairs)
    items: list[KnownItem] = []
    for pair in pairs[:wanted]:
        kind = "training" if len(items) < protocol.training else "gold"
        item = _known_item(kind, pair, pairs, videos, met, settings.seed, swap=len(items) % 2 == 1)
        if item is not None:
            items.append(item)
    return items


def _known_item(
    kind: str, pair: Pair, pairs: Sequence[Pair], videos: Path, met: Mapping[str, Meeting], seed: int, swap: bool
) -> KnownItem | None:
    reference = Job("reference", pair, seed).path(videos).is_file()
    if reference and not swap:
        note = "The weaker video stands still, but the prompt asks for motion."
        return KnownItem(kind, pair.id, (pair.id, "reference"), (pair.id, "static"), note)
    model = "reference" if reference else met[pair.id].first
    for other in pairs:
        if other.scenario != pair.scenario and Job(model, other, seed).path(videos).is_file():
            note = "The weaker video was made from another picture: it shows neither this picture nor this prompt."
            return KnownItem(kind, pair.id, (pair.id, model), (other.id, model), note)
    return None


def add_contents(
    connection: Connection, contents: Contents, models: Sequence[str], votes: int, draw: random.Random
) -> dict[str, int]:
    """Insert everything in one transaction; return how many gold and training items there are."""
    model_ids = _add_models(connection, [*models, *sorted({model for _, model in contents.clips} - set(models))])
    pair_ids = _add_pairs(connection, contents)
    video_ids = _add_videos(connection, contents, model_ids, pair_ids)
    rows = [
        _comparison("main", pair_ids[m.pair_id], video_ids[m.pair_id, m.first], video_ids[m.pair_id, m.second], draw)
        | {"wanted": votes}
        for m in contents.meetings
    ]
    rows += [
        _comparison(item.kind, pair_ids[item.pair_id], video_ids[item.winner], video_ids[item.loser], draw)
        | {"expected": "first", "note": item.note}
        for item in contents.known
    ]
    present = {
        tuple(row) for row in connection.execute(select(ComparisonRow.kind, ComparisonRow.first, ComparisonRow.second))
    }
    fresh = [row for row in rows if (row["kind"], row["first"], row["second"]) not in present]
    if fresh:
        connection.execute(insert(ComparisonRow), fresh)
    return {kind: sum(item.kind == kind for item in contents.known) for kind in ("gold", "training")}


def _comparison(kind: str, pair: int, first: int, second: int, draw: random.Random) -> dict[str, object]:
    return {
        "kind": kind,
        "pair": pair,
        "first": first,
        "second": second,
        "expected": None,
        "note": None,
        "wanted": None,
        "done": 0,
        "taken": 0,
        "first_left": 0,
        "shuffle": draw.getrandbits(31),
    }


def _add_models(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    present = set(connection.scalars(select(ModelRow.name)))
    for name in names:
        if name not in present:
            connection.execute(insert(ModelRow).values(name=name))
    return dict(connection.execute(select(ModelRow.name, ModelRow.id)).all())


def _add_pairs(connection: Connection, contents: Contents) -> dict[str, int]:
    rows = [
        {
            "pair_id": pair_id,
            "image_id": contents.pairs[pair_id].image_id,
            "scenario": contents.pairs[pair_id].scenario,
            "prompt": contents.pairs[pair_id].prompt,
            "image_file": file,
        }
        for pair_id, file in contents.pictures.items()
    ]
    if rows:
        connection.execute(insert(PairRow), rows)
    return dict(connection.execute(select(PairRow.pair_id, PairRow.id)).all())


def _add_videos(
    connection: Connection, contents: Contents, models: Mapping[str, int], pairs: Mapping[str, int]
) -> dict[ClipKey, int]:
    rows = [
        {
            "pair": pairs[pair],
            "model": models[model],
            "seed": contents.seed,
            "file": clip.file,
            "millis": clip.millis,
            "source_sha256": clip.source_sha256,
        }
        for (pair, model), clip in contents.clips.items()
    ]
    if rows:
        connection.execute(insert(VideoRow), rows)
    names = (
        select(PairRow.pair_id, ModelRow.name, VideoRow.id)
        .join(PairRow, PairRow.id == VideoRow.pair)
        .join(ModelRow, ModelRow.id == VideoRow.model)
    )
    return {(pair, model): video for pair, model, video in connection.execute(names)}
