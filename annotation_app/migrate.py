"""Brings a database to the version of the schema that this program writes, with Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from annotation_app.settings import StudyError


def upgrade(connection: Connection) -> None:
    """Create or upgrade all tables inside the connection's transaction."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def head() -> str:
    """Newest version that this program knows."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def current(connection: Connection) -> str | None:
    """Version of the database; None where it holds no study."""
    return MigrationContext.configure(connection).get_current_revision()


def require_head(connection: Connection, name: str) -> None:
    """Refuse a database that this program cannot serve as it is.

    Raises:
        StudyError: no study in it, an older schema, or a newer one.
    """
    found, known = current(connection), head()
    if found == known:
        return
    if found is None:
        raise StudyError(f"{name} holds no study. Make one: ti2v-bench study create {name} --bench … --videos …")
    if found in _revisions():
        raise StudyError(
            f"{name} has schema {found}, this program writes {known}. Run: ti2v-bench study upgrade {name}"
        )
    raise StudyError(f"{name} was written by a newer ti2v-bench (schema {found}). Install that version.")


def _revisions() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config
