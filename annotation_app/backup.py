"""A copy of a study while it is in use, and the step to a newer schema."""

import os
import sqlite3
import time
from pathlib import Path

from sqlalchemy import Connection, insert, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from annotation_app import migrate
from annotation_app.database import Database, parse_url, sqlite_file
from annotation_app.schema import Base
from annotation_app.settings import StudyError
from annotation_app.study import open_database
from ti2v_bench.files import StorageError, storage_errors


def backup_study(database: str | Path, out: Path) -> int:
    """Write one consistent state of the study to the SQLite file `out`; return its size in bytes.

    Raises:
        StudyError: there is no study, or `out` exists.
        StorageError: the file could not be written.
    """
    if out.exists():
        raise StudyError(f"{out} exists and is not overwritten. Choose another name.")
    opened, _ = open_database(database)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        with storage_errors(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            if opened.is_sqlite:
                _copy_sqlite(opened, partial)
            else:
                _copy_tables(opened, partial)
            _check(partial)
            os.link(partial, out)
    except sqlite3.Error as error:
        raise StorageError(f"Cannot write {out}: {error}. Check the path and its permissions.") from error
    finally:
        opened.dispose()
        for name in (partial.name, partial.name + "-wal", partial.name + "-shm"):
            partial.with_name(name).unlink(missing_ok=True)
    return out.stat().st_size


def upgrade_study(database: str | Path) -> str:
    """Bring a study to this program's schema; return a line about what was done.

    Raises:
        StudyError: there is no study, or it was written by a newer version.
    """
    url = parse_url(database)
    file = sqlite_file(url)
    if file is not None and not file.is_file():
        raise StudyError(f"There is no study {file}.")
    opened = Database(url)
    try:
        found = _version(opened, database)
        if found == migrate.head():
            return f"{database} has the newest schema ({found})."
        if found is None:
            raise StudyError(f"{database} holds no study.")
        kept = ""
        if file is not None:
            copy = file.with_name(f"{file.name}.schema-{found}-{time.strftime('%Y%m%d-%H%M%S')}")
            _copy_sqlite(opened, copy)
            kept = f"; the old state is kept in {copy}"
        opened.transact(migrate.upgrade)
        return f"{database} went from schema {found} to {migrate.head()}{kept}."
    finally:
        opened.dispose()


def _version(opened: Database, database: str | Path) -> str | None:
    try:
        with opened.engine.connect() as connection:
            return migrate.current(connection)
    except DBAPIError as error:
        reason = str(error.orig).splitlines()[0]
        raise StudyError(f"{database} cannot be opened: {reason}. Check the name and that it is a study.") from error


def _copy_sqlite(opened: Database, target: Path) -> None:
    """SQLite's online backup: writers go on meanwhile."""
    source_file = sqlite_file(opened.url)
    assert source_file is not None
    source, copy = sqlite3.connect(source_file), sqlite3.connect(target)
    try:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    finally:
        copy.close()
        source.close()


def _copy_tables(opened: Database, target: Path) -> None:
    """One snapshot of the server's tables, row by row."""
    copy = Database(URL.create("sqlite", database=str(target)))

    def fill(connection: Connection) -> None:
        migrate.upgrade(connection)
        with opened.read(snapshot=True) as source:
            for table in Base.metadata.sorted_tables:
                rows = [dict(row) for row in source.execute(select(table)).mappings()]
                if rows:
                    connection.execute(insert(table), rows)

    copy.transact(fill)
    with copy.engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        connection.execute(text("PRAGMA journal_mode = DELETE"))
    copy.dispose()


def _check(file: Path) -> None:
    connection = sqlite3.connect(file)
    try:
        (result,) = connection.execute("PRAGMA integrity_check").fetchone()
    finally:
        connection.close()
    if result != "ok":
        raise StudyError(f"The copy is damaged ({result}); nothing was kept. Check the disk and run it again.")
