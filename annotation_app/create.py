"""Makes a study: presentation files first, then a database that appears whole or not at all."""

import os
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import Connection, inspect
from sqlalchemy.engine import URL

from annotation_app import migrate
from annotation_app.contents import Planner, add_contents, collect, found_videos
from annotation_app.database import Database, parse_url, sqlite_file
from annotation_app.design import Meeting, plan_meetings
from annotation_app.events import Event, record
from annotation_app.keys import KEY_VARIABLE, Keyring, create_key, load_key
from annotation_app.schema import StudyRow
from annotation_app.settings import StudyError, StudySettings
from ti2v_bench.bench import Bench


@dataclass(frozen=True)
class StudyPlan:
    """What a new study is to be."""

    models: tuple[str, ...]
    design: str
    star: str | None = None
    votes: int = 5
    """Annotators per comparison."""
    name: str | None = None
    """Default: the database's name."""
    settings: StudySettings = field(default_factory=StudySettings)


@dataclass(frozen=True)
class Created:
    """What a study holds after it was made or grown."""

    comparisons: int
    pairs: int
    gold: int
    training: int
    notes: tuple[str, ...]
    """One line for each thing that is missing or was left out."""


@dataclass(frozen=True)
class StudyFiles:
    """What lies outside the database."""

    media: Path
    key: Path


def study_files(url: URL, media: Path | None = None) -> StudyFiles:
    """Where media and key of a study lie: beside an SQLite file, or in the current folder for a server."""
    file = sqlite_file(url)
    if media is None:
        stem = file.with_suffix("") if file else Path.cwd() / str(url.database)
        media = stem.with_name(stem.name + ".media")
    media = media.absolute()
    return StudyFiles(media, media.with_name(media.name.removesuffix(".media") + ".key"))


def create_study(
    database: str | Path,
    bench: Bench,
    videos: Path,
    plan: StudyPlan,
    media: Path | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Created:
    """Make a study in `database`, which must not hold one yet.

    Comparisons are made for the pairs of which both videos exist at `Job.path(videos)`.

    Raises:
        StudyError: something is in the way, or nothing can be compared. Nothing is left behind then.
    """
    if plan.votes < 1:
        raise StudyError(f"A comparison needs at least one vote, but --votes is {plan.votes}.")
    url = parse_url(database)
    files = study_files(url, media)
    _refuse_existing(url, files)
    building = files.media.with_name(f".{files.media.name}.{os.getpid()}.partial")
    made_key = False
    try:
        contents = collect(bench, videos, plan.models, plan.settings, building, planner_of(plan), progress)
        if not contents.meetings:
            raise StudyError(_nothing(bench, videos, plan))
        keys = load_key(files.key) if os.environ.get(KEY_VARIABLE) else create_key(files.key)
        made_key = not os.environ.get(KEY_VARIABLE)
        row = _study_row(url, files, plan, keys)

        def fill(connection: Connection) -> Created:
            migrate.upgrade(connection)
            connection.execute(StudyRow.__table__.insert().values(**row))  # type: ignore[attr-defined]
            counts = add_contents(connection, contents, plan.models, plan.votes, random.Random())
            record(
                connection, [Event("study.created", detail={"models": plan.models, "design": plan.design, **counts})]
            )
            pairs = {meeting.pair_id for meeting in contents.meetings}
            return Created(len(contents.meetings), len(pairs), notes=tuple(contents.notes), **counts)

        created = _publish(url, files, building, fill)
        made_key = False
        return created
    finally:
        shutil.rmtree(building, ignore_errors=True)
        if made_key:
            files.key.unlink(missing_ok=True)


def _publish(url: URL, files: StudyFiles, building: Path, fill: Callable[[Connection], Created]) -> Created:
    """Fill the database, then let media and database appear; the database last."""
    target = sqlite_file(url)
    if target is None:
        return _publish_on_server(url, files, building, fill)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        database = Database(URL.create("sqlite", database=str(partial)))
        created = database.transact(fill)
        with database.engine.connect() as connection:  # so that one file holds all
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
        database.dispose()
        building.rename(files.media)
        try:
            os.link(partial, target)  # unlike a rename, never replaces
        except FileExistsError as error:
            files.media.rename(building)
            raise StudyError(f"{target} was made by someone else meanwhile. Choose another name.") from error
        return created
    finally:
        for name in (partial.name, partial.name + "-wal", partial.name + "-shm"):
            partial.with_name(name).unlink(missing_ok=True)


def _publish_on_server(url: URL, files: StudyFiles, building: Path, fill: Callable[[Connection], Created]) -> Created:
    database = Database(url)

    def fill_and_move(connection: Connection) -> Created:
        created = fill(connection)
        building.rename(files.media)
        return created

    try:
        return database.transact(fill_and_move, attempts=1)
    except BaseException:
        if files.media.exists() and not building.exists():
            files.media.rename(building)
        raise
    finally:
        database.dispose()


def _study_row(url: URL, files: StudyFiles, plan: StudyPlan, keys: Keyring) -> dict[str, object]:
    file = sqlite_file(url)
    beside = file is not None and files.media.parent == file.parent
    name = plan.name or (file.stem if file else str(url.database))
    return {
        "id": 1,
        "name": name,
        "created_at": time.time_ns() // 1_000_000,
        "design": plan.design,
        "star": plan.star,
        "votes": plan.votes,
        "settings": plan.settings.dump(),
        "media": files.media.name if beside else str(files.media),
        "key_check": keys.check(),
        "paused": False,
    }


def _refuse_existing(url: URL, files: StudyFiles) -> None:
    file = sqlite_file(url)
    if file is not None and file.exists():
        raise StudyError(f"{file} exists and is not overwritten. Choose another name, or remove it first.")
    if file is None:
        database = Database(url)
        try:
            with database.read() as connection:
                if inspect(connection).has_table("study"):
                    raise StudyError(f"The database {url.database!r} holds a study already. Use another database.")
        finally:
            database.dispose()
    for path in (files.media, *([] if os.environ.get(KEY_VARIABLE) else [files.key])):
        if path.exists():
            raise StudyError(f"{path} exists and is not overwritten; it may belong to an older study. Move it away.")


def planner_of(plan: StudyPlan, existing: Sequence[Meeting] = ()) -> Planner:
    """The plan's design as a function of which videos exist."""
    settings = plan.settings
    return lambda have: plan_meetings(
        plan.design, have, plan.models, plan.star, settings.per_pair, settings.seed, existing
    )


def _nothing(bench: Bench, videos: Path, plan: StudyPlan) -> str:
    found = found_videos(bench, videos, plan.models, plan.settings.seed)
    counts = ", ".join(f"{model}: {sum(model in present for present in found.values())}" for model in plan.models)
    return (
        f"No pair has videos of two models that are to meet (found below {videos}: {counts}). "
        f"Make them with `ti2v-bench generate` or `import`, or check --seed {plan.settings.seed}."
    )


def with_sources(settings: StudySettings, bench: Path, videos: Path) -> StudySettings:
    """Settings that remember where bench and videos lay."""
    return replace(settings, sources={"bench": str(bench), "videos": str(videos)})
