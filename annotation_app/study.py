"""A study opened for use: its database, its key, and the facts that every request needs."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, inspect, select, text

from annotation_app.database import Database, parse_url, sqlite_file
from annotation_app.keys import Keyring, load_key
from annotation_app.schema import VERSION, ComparisonRow, ModelRow, StudyRow, VideoRow
from annotation_app.settings import Protocol, StudyError, StudySettings


@dataclass(frozen=True)
class Study:
    """What does not change while a study is served, except by growth and by pausing."""

    name: str
    design: str
    star: str | None
    votes: int
    settings: StudySettings
    media: Path
    paused: bool
    gold_items: int
    training_items: int
    models: tuple[str, ...]
    """Names of the models that are compared."""

    @property
    def protocol(self) -> Protocol:
        """What an annotator goes through."""
        return self.settings.protocol


@dataclass(frozen=True)
class OpenStudy:
    """A database with a study in it, ready to be used."""

    database: Database
    keys: Keyring
    title: str
    """The database's name as the user gave it, without a password."""

    def facts(self) -> Study:
        """Read the study's row and counts."""
        with self.database.read() as connection:
            return read_study(connection, self.database)


def open_database(database: str | Path) -> tuple[Database, str]:
    """Open a database that holds a study of this program's schema.

    Raises:
        StudyError: no such file, no study in it, or another schema.
    """
    url = parse_url(database)
    file = sqlite_file(url)
    title = str(file) if file else url.render_as_string(hide_password=True)
    if file is not None and not file.is_file():
        raise StudyError(f"There is no study {file}. Make one: ti2v-bench study create {file} --bench … --videos …")
    opened = Database(url)
    try:
        with opened.engine.connect() as connection:
            _require_version(connection, title)
    except StudyError:
        opened.dispose()
        raise
    except Exception as error:  # the driver's own kinds: no database file, no server, wrong password
        opened.dispose()
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        raise StudyError(f"{title} cannot be opened: {reason}. Check the name and that it is a study.") from error
    return opened, title


def _require_version(connection: Connection, title: str) -> None:
    """Alembic is imported only where it has something to say: a server that starts again does not wait for it."""
    if inspect(connection).has_table("alembic_version"):
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        if found == VERSION:
            return
    from annotation_app import migrate

    migrate.require_head(connection, title)


def open_study(database: str | Path, key: Path | None = None) -> OpenStudy:
    """Open a study with its key, which lies beside its media folder unless `key` names it.

    Raises:
        StudyError: as in `open_database`, or the key is missing or another study's.
    """
    opened, title = open_database(database)
    try:
        with opened.read() as connection:
            row = connection.execute(select(StudyRow.media, StudyRow.key_check)).one()
        media = media_folder(opened, row.media)
        keys = load_key(key or media.with_name(media.name.removesuffix(".media") + ".key"))
        if keys.check() != row.key_check:
            raise StudyError(f"The key found for {title} is another study's. Restore the study's own key.")
    except StudyError:
        opened.dispose()
        raise
    return OpenStudy(opened, keys, title)


def media_folder(database: Database, recorded: str) -> Path:
    """Where the presentation files lie: as recorded, relative to an SQLite file."""
    file = sqlite_file(database.url)
    return (file.parent / recorded) if file else Path(recorded)


def read_study(connection: Connection, database: Database) -> Study:
    """The study's facts within a transaction."""
    row = connection.execute(
        select(
            StudyRow.name,
            StudyRow.design,
            StudyRow.star,
            StudyRow.votes,
            StudyRow.settings,
            StudyRow.media,
            StudyRow.paused,
        )
    ).one()
    kinds = dict(connection.execute(select(ComparisonRow.kind, func.count()).group_by(ComparisonRow.kind)).all())
    compared = (
        select(ModelRow.id, ModelRow.name)
        .join(VideoRow, VideoRow.model == ModelRow.id)
        .join(ComparisonRow, (ComparisonRow.first == VideoRow.id) | (ComparisonRow.second == VideoRow.id))
        .where(ComparisonRow.kind == "main")
        .distinct()
        .order_by(ModelRow.id)
    )
    return Study(
        name=row.name,
        design=row.design,
        star=row.star,
        votes=row.votes,
        settings=StudySettings.load(row.settings),
        media=media_folder(database, row.media),
        paused=row.paused,
        gold_items=kinds.get("gold", 0),
        training_items=kinds.get("training", 0),
        models=tuple(name for _, name in connection.execute(compared)),
    )
