"""One door to the database: SQLite with a single writer, or PostgreSQL, behind the same two context managers."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from annotation_app.settings import StudyError
from ti2v_bench.errors import TI2VError

T = TypeVar("T")

BUSY_MS = 5000
"""How long SQLite waits for a lock that another process holds."""

_PRAGMAS = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    f"PRAGMA busy_timeout = {BUSY_MS}",
)


class Unavailable(TI2VError):  # noqa: N818 - a state, not a mistake
    """The database cannot take this now (locked, disk full, gone); nothing was changed, and a retry may succeed."""


class Database:
    """An engine and, for SQLite, the lock that keeps its writers from starving each other."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.engine: Engine = _engine(url, self.is_sqlite)
        self._writer = threading.Lock()

    @contextmanager
    def read(self, snapshot: bool = False) -> Iterator[Connection]:
        """A connection for reading; with `snapshot`, several statements see one state."""
        try:
            with self.engine.connect() as connection:
                if snapshot and self.is_sqlite:
                    connection.exec_driver_sql("BEGIN")
                elif snapshot:
                    connection.execution_options(isolation_level="REPEATABLE READ")
                yield connection
                connection.rollback()
        except OperationalError as error:
            raise Unavailable(str(error.orig)) from error
        except PoolTimeoutError as error:
            raise Unavailable(str(error)) from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: committed at the end, or rolled back if anything is raised."""
        if not self.is_sqlite:
            with self.engine.begin() as connection:
                yield connection
            return
        with self._writer, self.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    def transact(self, work: Callable[[Connection], T], attempts: int = 4) -> T:
        """Run `work` in a transaction; once more where another process came between.

        Raises:
            Unavailable: the database could not take it.
        """
        for attempt in range(1, attempts + 1):
            try:
                with self.write() as connection:
                    return work(connection)
            except DBAPIError as error:
                if attempt < attempts and self._may_retry(error):
                    time.sleep(0.005 * attempt)
                    continue
                if isinstance(error, OperationalError):
                    raise Unavailable(str(error.orig)) from error
                raise
            except PoolTimeoutError as error:
                raise Unavailable(str(error)) from error
        raise AssertionError("the loop returns or raises")

    def _may_retry(self, error: DBAPIError) -> bool:
        if isinstance(error, IntegrityError):
            return True  # two tabs or two processes reached for the same place; the second look finds it taken
        state = getattr(error.orig, "sqlstate", None)
        return state in ("40001", "40P01")  # serialization failure, deadlock

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def parse_url(database: str | Path) -> URL:
    """Take a path as an SQLite file, anything with `://` as an SQLAlchemy URL.

    Raises:
        StudyError: a URL of no known database, or one whose driver is not installed.
    """
    text = str(database)
    if "://" not in text:
        return URL.create("sqlite", database=str(Path(text).absolute()))
    if text.startswith("postgresql://"):
        text = text.replace("postgresql://", "postgresql+psycopg://", 1)
    try:
        url = make_url(text)
        url.get_dialect().import_dbapi()
    except (ArgumentError, NoSuchModuleError) as error:
        raise StudyError(f"{text!r} names no database. Give a file, or postgresql://user@host/name.") from error
    except ImportError as error:
        raise StudyError(f"{error}. Install the driver: pip install 'ti2v-bench[postgres]'.") from error
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise StudyError(f"{url.get_backend_name()} is not supported. Use an SQLite file or postgresql://….")
    return url


def sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite URL, or None for a server."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def _engine(url: URL, is_sqlite: bool) -> Engine:
    if not is_sqlite:
        return create_engine(url, pool_size=10, max_overflow=30, pool_pre_ping=True, pool_timeout=10)
    # The connection used last comes first: each keeps pages of the file in memory, and there is one writer at a time.
    engine = create_engine(url, pool_size=10, max_overflow=30, pool_timeout=30, pool_use_lifo=True)

    @event.listens_for(engine, "connect")
    def configure(connection: object, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]  # we say BEGIN ourselves, at once for writers
        for pragma in _PRAGMAS:
            connection.execute(pragma)  # type: ignore[attr-defined]

    return engine
