"""The database of the queue: an SQLite file or PostgreSQL, with one interface for both. The schema is migrated to the
version that this code uses.

A piece of work is a function that gets a SQLAlchemy connection. On SQLite it runs in the one writing thread or in one
of the reading threads. On PostgreSQL it runs on a connection of the pool. The statements are the same for both.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from libs.runtime.database import Schema, SqliteFile, database_url, postgresql_engine, server_of
from libs.runtime.lifecycle import StartupError, UnreachableServerError, at_most
from services.relay.queue.change_numbers import ChangeCounter, continue_numbering
from services.relay.queue.free_space import FreeSpace
from services.relay.queue.statements import driver_of
from services.relay.queue.threads import Threads

log = structlog.get_logger(__name__)

# The type of connection that the functions of callers get. Only this package imports SQLAlchemy.
__all__ = [
    "SCHEMA",
    "Connection",
    "CorruptError",
    "Database",
    "PostgresqlDatabase",
    "QueueError",
    "SqliteDatabase",
    "StorageFullError",
    "UnavailableError",
    "open_database",
]

SCHEMA = Schema(
    service="relay",
    folder=Path(__file__).parent.with_name("migrations"),
    variable="RELAY_DATABASE_URL",
    migration_lock=0x706F7374_72656C61,
    allows_newer=True,
)
_BUSY_SECONDS = 5
_READERS = 2
# The number of SQLite's threads for requests of operators.
_VIEWERS = 2
# The connections to PostgreSQL; how many of them may read; and how many of these serve requests of operators. The rest
# is reserved for commits, claims and leases.
_CONNECTIONS = 12
_READING_CONNECTIONS = 8
_VIEWING_CONNECTIONS = 4
_STATEMENT_SECONDS = 60
_CONNECT_SECONDS = 10
_CLOSE_SECONDS = 5.0
_MIGRATION_TRIES = 20
_LOCK_MILLISECONDS = 1000
# The codes of deadlock_detected and lock_not_available.
_LOCKED = ("40P01", "55P03")

T = TypeVar("T")
Work = Callable[[Connection], T]


class QueueError(Exception):
    """The database did not execute the work, and stored nothing of it, except in the case that `Database.write`
    describes. The text gives the reason, without any content.
    """

    # True means that stored data cannot be read.
    corrupt = False


class StorageFullError(QueueError):
    """The disk or the database is full."""


class CorruptError(QueueError):
    """Stored data cannot be read."""

    corrupt = True


class UnavailableError(QueueError):
    """The database cannot be reached, is locked, or aborted a transaction. Another try may succeed."""


class Database(Protocol):
    """The interface of the queue's database, which is the same for SQLite and PostgreSQL."""

    # Whether no other process can use the database.
    exclusive: bool

    async def open(self) -> None:
        """Connects and migrates the schema. Raises StartupError, and UnreachableServerError for a server that does not
        answer.
        """

    async def write(self, work: Work[T]) -> T:
        """Runs `work` in one transaction, which is durable when this returns. Raises QueueError when nothing was
        stored.

        When the connection breaks during the commit, it is unknown whether the transaction was stored: see the handlers
        of UnavailableError.
        """

    async def read(self, work: Work[T]) -> T:
        """Runs `work` in a transaction that sees one consistent state. Raises QueueError."""

    async def view(self, work: Work[T]) -> T:
        """Does the same as `read` for requests of operators. Such requests may take long, and must not delay
        deliveries.
        """

    async def close(self) -> None: ...


def open_database(url: str) -> Database:
    """Makes the database for RELAY_DATABASE_URL. Raises StartupError for a URL of another kind of database."""
    parsed = database_url(url, SCHEMA.variable)
    if parsed.get_backend_name() == "sqlite":
        return SqliteDatabase(Path(str(parsed.database)))
    return PostgresqlDatabase(parsed)


class SqliteDatabase:
    """An SQLite file with WAL and synchronous=FULL, so that a commit is on the disk when it returns.

    One process at a time can use the file, because it locks a file beside it.
    """

    exclusive = True

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path)
        self._space = FreeSpace(path)
        self._counter = ChangeCounter()
        self._engine: Engine | None = None
        self._writer: Threads[_SqliteConnection] | None = None
        self._readers: Threads[_SqliteConnection] | None = None
        self._viewers: Threads[_SqliteConnection] | None = None

    @property
    def path(self) -> Path:
        return self._file.path

    async def open(self) -> None:
        self._file.lock(SCHEMA.service, SCHEMA.variable)
        engine, space, counter = _sqlite_engine(self.path), self._space, self._counter
        self._engine = engine
        space.prepare()
        self._writer = Threads("queue-writer", 1, lambda: _SqliteConnection(engine, "BEGIN IMMEDIATE", counter, space))
        self._readers = Threads("queue-reader", _READERS, lambda: _SqliteConnection(engine, "BEGIN", counter))
        self._viewers = Threads("queue-viewer", _VIEWERS, lambda: _SqliteConnection(engine, "BEGIN", counter))
        try:
            await self.write(_prepare)
        except QueueError as error:
            # SQLite reports an I/O error when there is no space for the index of its log.
            reason = f"the disk is full, and 4 MB must be free: {error}" if space.exhausted else str(error)
            raise StartupError(f"the queue's database {self.path} can't be used: {reason}") from error

    async def write(self, work: Work[T]) -> T:
        assert self._writer is not None  # noqa: S101
        return await self._writer.run(lambda connection: connection.transact(work))

    async def read(self, work: Work[T]) -> T:
        assert self._readers is not None  # noqa: S101
        return await self._readers.run(lambda connection: connection.transact(work))

    async def view(self, work: Work[T]) -> T:
        assert self._viewers is not None  # noqa: S101
        return await self._viewers.run(lambda connection: connection.transact(work))

    async def close(self) -> None:
        for threads in (self._writer, self._readers, self._viewers):
            if threads is not None:
                threads.close()
        if self._engine is not None:
            self._engine.dispose()
        self._file.release()


class _SqliteConnection:
    """The SQLite connection of one thread."""

    def __init__(self, engine: Engine, begin: str, counter: ChangeCounter, space: FreeSpace | None = None) -> None:
        """`space` is given for the connection that writes."""
        self._engine = engine
        self._counter = counter
        self._begin = begin
        self._space = space
        self._connection: Connection | None = None

    def transact(self, work: Work[T]) -> T:
        """Runs `work` in a transaction. Raises QueueError, and every error that `work` raises."""
        try:
            connection = self.connection()
            driver = driver_of(connection)
            assert driver is not None  # noqa: S101
            try:
                driver.execute(self._begin)
                result = work(connection)
                driver.execute("COMMIT")
                if self._space is not None:
                    self._space.committed(driver)
            except BaseException:
                # A failed COMMIT, or a full disk, may already have ended the transaction.
                if driver.in_transaction:
                    driver.rollback()
                raise
        except (SQLAlchemyError, sqlite3.Error) as error:
            translated = _translated(error)
            if self._space is not None and isinstance(translated, StorageFullError):
                self._space.give_up()
            raise translated from error
        return result

    def connection(self) -> Connection:
        """Returns the connection, which is opened on first use."""
        if self._connection is None:
            connection = self._engine.connect()
            # `transact` begins and ends the transactions, and SQLAlchemy adds no statements between them.
            self._connection = connection.execution_options(
                isolation_level="AUTOCOMMIT",
                sqlite_driver=connection.connection.driver_connection,
                change_counter=self._counter,
            )
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class PostgresqlDatabase:
    """PostgreSQL, which any number of relays share."""

    exclusive = False

    def __init__(self, url: URL) -> None:
        self._reading = asyncio.Semaphore(_READING_CONNECTIONS)
        self._viewing = asyncio.Semaphore(_VIEWING_CONNECTIONS)
        self._server = server_of(url)
        self._engine = postgresql_engine(
            url,
            SCHEMA.service,
            pool_size=_CONNECTIONS // 2,
            max_overflow=_CONNECTIONS // 2,
            connect_seconds=_CONNECT_SECONDS,
            statement_seconds=_STATEMENT_SECONDS,
        )

    async def open(self) -> None:
        def prepare(connection: Connection) -> None:
            SCHEMA.create(connection)
            # Other relays are working at the same time. A change of a table waits for their transactions, and their
            # transactions wait for the change. So the change waits only for a short time, and is then tried again.
            connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_MILLISECONDS}ms'"))
            _prepare(connection)

        for number in range(_MIGRATION_TRIES):
            try:
                await self.write(prepare)
                return
            except QueueError as error:
                if isinstance(error, UnavailableError) and not str(error).startswith(_LOCKED):
                    raise UnreachableServerError(f"PostgreSQL at {self._server} can't be reached: {error}") from error
                if number + 1 == _MIGRATION_TRIES or not str(error).startswith(_LOCKED):
                    raise StartupError(f"the queue's database can't be used: {error}") from error
                log.warning("migration_delayed", reason=str(error))

    async def write(self, work: Work[T]) -> T:
        try:
            async with self._engine.begin() as connection:
                return await connection.run_sync(work)
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise _translated(error) from error

    async def read(self, work: Work[T]) -> T:
        try:
            async with self._reading, self._engine.connect() as connection:
                await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                async with connection.begin():
                    return await connection.run_sync(work)
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise _translated(error) from error

    async def view(self, work: Work[T]) -> T:
        async with self._viewing:
            return await self.read(work)

    async def close(self) -> None:
        # A server that does not answer now will find the closed connections later.
        await at_most(_CLOSE_SECONDS, self._engine.dispose())


def _prepare(connection: Connection) -> None:
    SCHEMA.upgrade(connection)
    continue_numbering(connection)


def _sqlite_engine(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        poolclass=NullPool,
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        # The file keeps both settings. They are set only in a new file, since setting them may need space on a full
        # disk.
        if path.stat().st_size == 0:
            # `auto_vacuum` must be set before the first table is made. Freed pages can then be returned to the file
            # system in small steps.
            cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        # Debian builds SQLite so that it overwrites deleted data, which means that all of it is written once more. FAST
        # overwrites only where this needs no additional writes.
        cursor.execute("PRAGMA secure_delete=FAST")
        cursor.execute("PRAGMA cache_size=-32768")
        # This value is used until the free space is known (free_space.py).
        cursor.execute("PRAGMA wal_autocheckpoint=250")
        cursor.close()

    return engine


_SQLITE_PASSING = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN")
# serialization_failure, deadlock_detected, too_many_connections, admin_shutdown and similar, lock_not_available,
# unique_violation (two replicas got the same submission at the same time, and the next try finds it).
_POSTGRESQL_PASSING = ("40001", "40P01", "53300", "57P01", "57P02", "57P03", "55P03", "08", "25006", "23505")


def _translated(error: BaseException) -> QueueError:
    cause = getattr(error, "orig", None) or error
    name = getattr(cause, "sqlite_errorname", "") or getattr(cause, "sqlstate", "") or ""
    reason = f"{name or type(cause).__name__}: {cause}".splitlines()[0][:200].rstrip(": ")
    if name == "SQLITE_FULL" or name in ("53100", "53200"):
        return StorageFullError(reason)
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or name in ("XX001", "XX002"):
        return CorruptError(reason)
    passing = (
        name.startswith(_SQLITE_PASSING)
        or (name and name.startswith(_POSTGRESQL_PASSING))
        or isinstance(cause, OSError | TimeoutError | asyncio.TimeoutError)
        or (isinstance(error, DBAPIError) and error.connection_invalidated)
    )
    if passing:
        return UnavailableError(reason)
    return QueueError(reason)
