"""The connection to the configuration's database: SQLite file or PostgreSQL, migrated to this code's schema."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import structlog
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from libs.runtime.lifecycle import StartupError, UnreachableServerError, at_most
from services.config_api.problems import Problem

log = structlog.get_logger(__name__)

# On PostgreSQL everything lives in its own schema, so that one database can serve relay too.
SCHEMA = "config_api"
VERSION_TABLE = "alembic_version"
_MIGRATION_LOCK = 0x706F7374_63666731
_POSTGRESQL_PORT = 5432
_BUSY_SECONDS = 15
_CONNECT_SECONDS = 5
_CLOSE_SECONDS = 5.0
# A server that went silent is given up; the longest statement is an import's, of 100,000 rows.
_STATEMENT_SECONDS = 120
# Of the drivers, by name: that they are the one or the other is known here alone.
_OUTAGES = frozenset(
    {
        "OperationalError",
        "InterfaceError",
        "InternalClientError",
        "ConnectionDoesNotExistError",
        "CannotConnectNowError",
        "AdminShutdownError",
        "CrashShutdownError",
        "TooManyConnectionsError",
        "TimeoutError",
    }
)
# Of PostgreSQL: broken connection, too many connections, operator intervention (starting up, shutting down).
_OUTAGE_STATES = ("08", "53300", "57P")


class Database:
    """Two ways in: `reading()` and `writing()`; on SQLite one writer at a time, in order of arrival."""

    def __init__(self, url: str) -> None:
        """Raises StartupError for a URL that is none, or names a database other than the two."""
        try:
            self._url = make_url(url)
        except ArgumentError:
            raise StartupError("CONFIG_API_DATABASE_URL is not a database URL") from None
        kind = self._url.get_backend_name()
        if kind not in ("sqlite", "postgresql"):
            raise StartupError("CONFIG_API_DATABASE_URL must begin with sqlite:/// or postgresql://")
        self.is_sqlite = kind == "sqlite"
        self._lock_file = -1
        # Transactions that are open, those of cancelled callers included.
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()
        # Of SQLite's connections.
        self._threads: list[threading.Thread] = []
        if self.is_sqlite:
            if not self._url.database:
                raise StartupError("CONFIG_API_DATABASE_URL needs a file: sqlite:///path/to/config.sqlite3")
            self._reader = _sqlite_engine(self._url, self._threads, writer=False)
            self._writer = _sqlite_engine(self._url, self._threads, writer=True)
        else:
            self._reader = self._writer = _postgresql_engine(self._url)

    async def open(self) -> None:
        """Locks the SQLite file, and brings the schema up to date.

        Raises StartupError when another process has the file, or it was written by newer code, and
        UnreachableServerError.
        """
        if self.is_sqlite:
            self._lock_sqlite(Path(str(self._url.database)))
        try:
            async with self._writer.begin() as connection:
                if not self.is_sqlite:
                    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                    await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
                await connection.run_sync(upgrade)
        except (SQLAlchemyError, OSError) as error:
            if not self.is_sqlite and _is_outage(error):
                place = f"{self._url.host or 'localhost'}:{self._url.port or _POSTGRESQL_PORT}"
                raise UnreachableServerError(f"PostgreSQL at {place} can't be reached: {_reason(error)}") from error
            raise StartupError(f"the configuration's database can't be used: {_reason(error)}") from error

    async def close(self) -> None:
        """Takes leave of the database, unless it does not answer: then it will see that we are gone.

        Neither wait is ended by cancelling it: a driver may take a cancellation for itself and go on waiting (F54).
        """
        await at_most(_CLOSE_SECONDS, self._idle.wait())
        for engine in (self._reader, self._writer):
            await at_most(_CLOSE_SECONDS, engine.dispose())
        # A thread whose caller was cancelled reports to an event loop that has to be there.
        await at_most(_CLOSE_SECONDS, asyncio.to_thread(_join, self._threads))
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads, and sees one state of the database."""
        with self._counted():
            async with self._reader.connect() as connection:
                if not self.is_sqlite:
                    await connection.execution_options(isolation_level="REPEATABLE READ")
                async with connection.begin():
                    yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed at the end, or rolled back by an exception."""
        with self._counted():
            async with self._writer.begin() as connection:
                yield connection

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._open += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._idle.set()

    def _lock_sqlite(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock_file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartupError(
                f"another config_api already uses {path}; several of them need PostgreSQL (CONFIG_API_DATABASE_URL)"
            ) from None
        except OSError as error:
            raise StartupError(f"{path}: {error.strerror}") from error
        if not path.exists():
            path.touch(mode=0o600)


def outage(error: BaseException) -> Problem | None:
    """The answer when the database can't be reached; None for any other fault, which is ours."""
    if not _is_outage(error):
        return None
    return Problem(
        503,
        "database-unavailable",
        "The database does not answer.",
        headers={"Retry-After": "2"},
        more={"service": "database"},
    )


def scripts() -> ScriptDirectory:
    """The migrations of this code."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations"))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def _refuse_foreign_file(connection: Connection) -> None:
    """Raises StartupError for a SQLite file with tables that no migration of ours made (F16)."""
    if connection.dialect.name == "sqlite" and set(inspect(connection).get_table_names()) - {VERSION_TABLE}:
        raise StartupError("CONFIG_API_DATABASE_URL names a file with the tables of another program")


def upgrade(connection: Connection, to: str = "head") -> None:
    """Runs the missing migrations up to `to`. Raises StartupError when the database is newer than this code."""
    directory = scripts()
    present = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_heads()
    if not present:
        _refuse_foreign_file(connection)
    known = {script.revision for script in directory.walk_revisions()}
    if any(revision not in known for revision in present):
        raise StartupError(
            f"the database is of a newer release (schema {', '.join(present)}, this one knows "
            f"{', '.join(directory.get_heads())}): run that release, or restore a backup"
        )
    with EnvironmentContext(
        Config(),
        directory,
        fn=lambda revision, _: directory._upgrade_revs(to, revision),  # noqa: SLF001 - alembic.command does the same
        destination_rev=to,
    ) as environment:
        environment.configure(connection=connection, version_table=VERSION_TABLE)
        environment.run_migrations()


class SqliteConnection(aiosqlite.Connection):
    """A connection whose thread is told to end once.

    aiosqlite's own `close` waits for ever for a thread that `stop` has ended. SQLAlchemy calls both when the task that
    used the connection was cancelled (F54).
    """

    def stop(self) -> asyncio.Future[Any] | None:
        return super().stop() if self._running else None

    async def close(self) -> None:
        if self._running:
            await super().close()


def _join(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        if thread.is_alive():
            thread.join(_CLOSE_SECONDS)


def _sqlite_engine(url: URL, threads: list[threading.Thread], *, writer: bool) -> AsyncEngine:
    """`threads` gets that of each connection."""
    url = url.set(drivername="sqlite+aiosqlite")
    (path,), options = SQLiteDialect_aiosqlite().create_connect_args(url)

    def connect() -> SqliteConnection:
        connection = SqliteConnection(
            lambda: sqlite3.connect(path, **{**options, "timeout": _BUSY_SECONDS}), iter_chunk_size=64
        )
        thread = connection._thread  # noqa: SLF001 - SQLAlchemy does the same with the connections that it makes
        # A connection that was lost must not keep the process alive.
        thread.daemon = True
        threads[:] = [known for known in threads if known.ident is None or known.is_alive()]
        threads.append(thread)
        return connection

    engine = create_async_engine(
        url,
        async_creator=connect,
        # One writing connection: a second would only wait for the file's lock.
        pool_size=1 if writer else 4,
        max_overflow=0,
        hide_parameters=True,
        pool_timeout=60,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        # The driver's own BEGIN comes too late for IMMEDIATE; SQLAlchemy's begin event sends it instead.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    return engine


def _postgresql_engine(url: URL) -> AsyncEngine:
    return create_async_engine(
        url.set(drivername="postgresql+asyncpg"),
        pool_size=10,
        max_overflow=10,
        hide_parameters=True,
        pool_pre_ping=True,
        connect_args={
            "server_settings": {"search_path": SCHEMA, "application_name": "posthouse-config_api"},
            "timeout": _CONNECT_SECONDS,
            "command_timeout": _STATEMENT_SECONDS,
        },
    )


def _is_outage(error: BaseException) -> bool:
    """Whether the server can't be reached now; any other error would come again."""
    cause = getattr(error, "orig", None) or error
    sqlstate = getattr(cause, "sqlstate", None) or ""
    return isinstance(cause, OSError) or type(cause).__name__ in _OUTAGES or sqlstate.startswith(_OUTAGE_STATES)


def _reason(error: BaseException) -> str:
    """The driver's words without the statement, its parameters, or the URL."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {cause}".splitlines()[0][:300].rstrip(": ")
