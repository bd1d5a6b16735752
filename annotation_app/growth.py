"""Lets a study grow: more models, more pairs, more votes. What was voted on stays as it is."""

import os
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select, update
from sqlalchemy.orm import aliased

from annotation_app.contents import ClipKey, add_contents, collect, found_videos
from annotation_app.create import StudyPlan, planner_of
from annotation_app.design import Meeting
from annotation_app.events import Event, record
from annotation_app.schema import ComparisonRow, ModelRow, PairRow, StudyRow, VideoRow
from annotation_app.settings import StudyError
from annotation_app.study import OpenStudy, Study, open_study
from ti2v_bench.bench import Bench, load_bench


@dataclass(frozen=True)
class Grown:
    """What was added."""

    comparisons: int
    votes: int
    notes: tuple[str, ...]


def grow_study(
    database: str | Path,
    bench: Path | None,
    videos: Path | None,
    models: tuple[str, ...] = (),
    votes: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Grown:
    """Add models, the pairs whose videos have come since, and votes.

    Raises:
        StudyError: there is no study, fewer votes than before are asked for, or bench and videos are not found.
    """
    opened = open_study(database)
    try:
        study = opened.facts()
        wanted = votes or study.votes
        if wanted < study.votes:
            raise StudyError(f"The study asks for {study.votes} votes per comparison; {wanted} would be fewer.")
        folder = Path(study.settings.sources.get("bench", "") if bench is None else bench)
        source = Path(study.settings.sources.get("videos", "") if videos is None else videos)
        return _grow(opened, study, folder, source, tuple(dict.fromkeys((*study.models, *models))), wanted, progress)
    finally:
        opened.database.dispose()


def _grow(
    opened: OpenStudy,
    study: Study,
    bench: Path,
    videos: Path,
    models: tuple[str, ...],
    votes: int,
    progress: Callable[[int, int], None],
) -> Grown:
    plan = StudyPlan(models, study.design, study.star, votes, study.name, study.settings)
    loaded = load_bench(bench)
    _require_videos(loaded, videos, [model for model in models if model not in study.models], study.settings.seed)
    with opened.database.read() as connection:
        present = _present_clips(connection)
        existing = _present_meetings(connection)
    building = study.media.with_name(f".{study.media.name}.{os.getpid()}.partial")
    try:
        contents = collect(
            loaded, videos, models, study.settings, building, planner_of(plan, existing), progress, present
        )
        for file in building.iterdir():  # random names: nothing there can be in the way
            file.rename(study.media / file.name)

        def work(connection: Connection) -> int:
            count = select(func.count()).where(ComparisonRow.kind == "main")
            before = connection.execute(count).scalar_one()
            add_contents(connection, contents, models, votes, random.Random())
            more = update(ComparisonRow).where(ComparisonRow.kind == "main", ComparisonRow.wanted < votes)
            connection.execute(more.values(wanted=votes))
            connection.execute(update(StudyRow).values(votes=votes))
            added = connection.execute(count).scalar_one() - before
            detail = {"models": list(models), "votes": votes, "comparisons": added}
            record(connection, [Event("study.grown", detail=detail)])
            return added

        return Grown(opened.database.transact(work), votes, tuple(contents.notes))
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _require_videos(bench: Bench, videos: Path, models: Sequence[str], seed: int) -> None:
    """A new model without a single video is a slip of the pen; it must not enter the study."""
    found = {model for present in found_videos(bench, videos, models, seed).values() for model in present}
    for model in models:
        if model not in found:
            raise StudyError(
                f"The model {model!r} has no video of this bench in {videos}. Check its name and --videos."
            )


def _present_clips(connection: Connection) -> frozenset[ClipKey]:
    rows = connection.execute(
        select(PairRow.pair_id, ModelRow.name)
        .join(VideoRow, VideoRow.pair == PairRow.id)
        .join(ModelRow, ModelRow.id == VideoRow.model)
    )
    return frozenset((row[0], row[1]) for row in rows)


def _present_meetings(connection: Connection) -> list[Meeting]:
    first, second = aliased(VideoRow), aliased(VideoRow)
    first_model, second_model = aliased(ModelRow), aliased(ModelRow)
    rows = connection.execute(
        select(PairRow.pair_id, first_model.name, second_model.name)
        .select_from(ComparisonRow)
        .join(PairRow, PairRow.id == ComparisonRow.pair)
        .join(first, first.id == ComparisonRow.first)
        .join(second, second.id == ComparisonRow.second)
        .join(first_model, first_model.id == first.model)
        .join(second_model, second_model.id == second.model)
        .where(ComparisonRow.kind == "main")
        .order_by(ComparisonRow.id)
    )
    return [Meeting(*row) for row in rows]
