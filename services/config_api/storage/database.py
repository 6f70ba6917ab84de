"""The connection to the database of the configuration: an SQLite file or PostgreSQL, migrated to the schema of this
code.
"""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal, Self, TypeVarTuple

import aiosqlite
from sqlalchemy import Connection, CursorResult, Dialect, Row, Select, Table, create_engine, event, insert
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from libs.runtime.database import Schema, SqliteFile, database_url, postgresql_engine, server_of
from libs.runtime.lifecycle import StartupError, UnreachableServerError, at_most
from services.config_api.problems import Problem

SCHEMA = Schema(
    service="config_api",
    folder=Path(__file__).parents[1] / "migrations",
    variable="CONFIG_API_DATABASE_URL",
    migration_lock=0x706F7374_63666731,
)
# The number of connections to PostgreSQL.
_CONNECTIONS = 20
_BUSY_SECONDS = 15
_CONNECT_SECONDS = 5
_CLOSE_SECONDS = 5.0
# The number of rows that are read together with the execution of a statement on SQLite.
_FIRST_ROWS = 64
# The time-out of a statement in seconds. The longest statement is that of an import with 100,000 rows.
_STATEMENT_SECONDS = 120
# The names of errors of the drivers that mean an outage. They are names, so that no driver must be imported.
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
# The beginnings of PostgreSQL's error codes for broken connections, too many connections, and operator intervention
# (start and shutdown).
_OUTAGE_STATES = ("08", "53300", "57P")

Ts = TypeVarTuple("Ts")


class Database:
    """Opens transactions by `reading()` and `writing()`. On SQLite only one writer is active at a time, and the others
    wait in the order of their arrival.

    A short statement reads or writes a few rows by their keys. On SQLite, the event loop executes short statements
    itself, because this takes only a fraction of the time that it takes to pass them to another thread.
    """

    def __init__(self, url: str) -> None:
        """Raises StartupError for a text that is not a URL, or for another kind of database."""
        self._url = database_url(url, SCHEMA.variable)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self._file = SqliteFile(Path(str(self._url.database)))
        # The number of open transactions, including those of cancelled callers.
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()
        # Writers wait for this lock. If they waited in PostgreSQL, each would hold a connection meanwhile.
        self._turns = asyncio.Lock()
        # The threads of the SQLite connections.
        self._threads: list[threading.Thread] = []
        self._inline: _InlineEngine | None = None
        if self.is_sqlite:
            self._reader = _sqlite_engine(self._url, self._threads, writer=False)
            self._writer = _sqlite_engine(self._url, self._threads, writer=True)
            self._inline = _InlineEngine(self._url, self._writer)
        else:
            self._reader = self._writer = postgresql_engine(
                self._url,
                SCHEMA.service,
                # All connections are kept, because making a connection costs more than a whole change.
                pool_size=_CONNECTIONS,
                max_overflow=0,
                connect_seconds=_CONNECT_SECONDS,
                statement_seconds=_STATEMENT_SECONDS,
            )

    async def open(self) -> None:
        """Locks the SQLite file, and migrates the schema. Raises StartupError when another process uses the file or
        newer code has written it, and UnreachableServerError when the server does not answer.
        """
        if self.is_sqlite:
            self._file.lock(SCHEMA.service, SCHEMA.variable)
        try:
            async with self._writer.begin() as connection:
                if not self.is_sqlite:
                    await connection.run_sync(SCHEMA.create)
                await connection.run_sync(SCHEMA.upgrade)
        except (SQLAlchemyError, OSError) as error:
            if not self.is_sqlite and _is_outage(error):
                raise UnreachableServerError(
                    f"PostgreSQL at {server_of(self._url)} can't be reached: {_reason(error)}"
                ) from error
            raise StartupError(f"the configuration's database can't be used: {_reason(error)}") from error

    async def close(self) -> None:
        """Closes the connections. A database that does not answer will notice the closed connections later.

        Each wait has a time limit that does not depend on cancellation, because a driver may catch a cancellation and
        continue to wait (F54).
        """
        await at_most(_CLOSE_SECONDS, self._idle.wait())
        for engine in (self._reader, self._writer):
            await at_most(_CLOSE_SECONDS, engine.dispose())
        if self._inline is not None:
            await at_most(_CLOSE_SECONDS, asyncio.to_thread(self._inline.close))
        # A thread whose caller was cancelled still reports to the event loop, so the loop must not be closed before the
        # threads have ended.
        await at_most(_CLOSE_SECONDS, asyncio.to_thread(_join, self._threads))
        self._file.release()

    @asynccontextmanager
    async def reading(self, *, once: bool = False) -> AsyncIterator[AsyncConnection]:
        """Opens a transaction that only reads, and that sees one consistent state. `once` promises that only one
        statement is executed, so PostgreSQL is not asked to begin and end a transaction.
        """
        with self._counted():
            async with self._reader.connect() as connection:
                if not self.is_sqlite:
                    level: Literal["AUTOCOMMIT", "REPEATABLE READ"] = "AUTOCOMMIT" if once else "REPEATABLE READ"
                    await connection.execution_options(isolation_level=level)
                async with connection.begin():
                    yield connection

    async def rows(self, statement: Select[*Ts], values: Mapping[str, Any]) -> Sequence[Row[*Ts]]:
        """Executes one short statement outside of a transaction, and returns its rows."""
        engine = self._reader.sync_engine if self._inline is None else self._inline.engine

        def execute() -> Sequence[Row[*Ts]]:
            with engine.connect() as connection:
                if self._inline is None:
                    connection.execution_options(isolation_level="AUTOCOMMIT")
                return connection.execute(statement, values).all()

        with self._counted():
            # One greenlet for all calls takes a third less time than the methods of AsyncConnection, each of which uses
            # its own.
            return execute() if self._inline else await greenlet_spawn(execute)

    @asynccontextmanager
    async def writing(self, *, short: bool = False, in_turn: bool = False) -> AsyncIterator[AsyncConnection]:
        """Opens a transaction that is committed at the end, or rolled back by an exception.

        `short` means that its statements are short. `in_turn` is for transactions that lock the same row. On
        PostgreSQL, too, only one of these transactions is active at a time in this process, in the order of their
        arrival.
        """
        with self._counted():
            async with self._turn(in_turn):
                if short and self._inline is not None:
                    async with self._inline.writing() as connection:
                        yield connection
                else:
                    async with self._writer.begin() as connection:
                        yield connection

    @asynccontextmanager
    async def _turn(self, in_turn: bool) -> AsyncIterator[None]:
        """Waits until no other writer is active. On PostgreSQL this is done only for transactions with `in_turn`.
        Raises TimeoutError when this takes too long, which counts as an outage of the database.
        """
        if not (in_turn or self.is_sqlite):
            yield
            return
        async with asyncio.timeout(_STATEMENT_SECONDS):
            await self._turns.acquire()
        try:
            yield
        finally:
            self._turns.release()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._open += 1
        self._idle.clear()
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # A driver may report a cancellation as an error of its own. A caller that continues after errors would
                # then never end.
                raise asyncio.CancelledError from error
            raise
        finally:
            self._open -= 1
            if not self._open:
                self._idle.set()


def outage(error: BaseException) -> Problem | None:
    """Returns the problem with which a request is answered when the database cannot be reached. Returns None for any
    other error, which is a fault of our code.
    """
    if not _is_outage(error):
        return None
    return Problem(
        503,
        "database-unavailable",
        "The database does not answer.",
        headers={"Retry-After": "2"},
        more={"service": "database"},
    )


async def insert_rows(connection: AsyncConnection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Inserts many rows. Each row has a value for every column of the table, in the order of the columns.

    The statement and the rows are passed to the driver unchanged. SQLAlchemy would convert each row to a dictionary of
    parameters and to a tuple, which takes longer than the insertion.
    """
    if rows:
        await connection.exec_driver_sql(_insertion(table, connection.dialect), list(rows))


@functools.cache
def _insertion(table: Table, dialect: Dialect) -> str:
    return str(insert(table).compile(dialect=dialect))


class SqliteCursor(aiosqlite.Cursor):
    """A cursor that opens, executes, and reads the first rows in one call of the connection's thread. If these are all
    rows, the same call closes it.

    A call of the thread costs about as much as a whole short statement, and the cursor of aiosqlite makes four calls.
    """

    def __init__(self, connection: SqliteConnection) -> None:
        # The thread of the connection makes the cursor of the driver when a statement is executed.
        super().__init__(connection, None)  # type: ignore[arg-type]
        self._connection = connection
        self._rows: list[Any] = []
        self._is_exhausted = True

    async def execute(self, sql: str, parameters: Any = None) -> Self:
        parameters = () if parameters is None else parameters
        await self._in_thread(self._run, self._connection.take_beginning(), sql, parameters)
        return self

    async def executemany(self, sql: str, parameters: Any) -> Self:
        await self._in_thread(self._run_many, self._connection.take_beginning(), sql, parameters)
        return self

    async def fetchone(self) -> Any:
        return next(iter(await self.fetchmany(1)), None)

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        size = 1 if size is None else size
        if len(self._rows) < size and not self._is_exhausted:
            self._rows += await self._in_thread(self._cursor.fetchmany, size - len(self._rows))
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        if not self._is_exhausted:
            rows += await self._in_thread(self._cursor.fetchall)
            self._is_exhausted = True
        return rows

    async def close(self) -> None:
        self._rows = []
        if not self._is_exhausted:
            self._is_exhausted = True
            await self._in_thread(self._cursor.close)

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await self._execute(function, *arguments)  # type: ignore[no-untyped-call]

    def _run(self, beginning: str, sql: str, parameters: Any) -> None:
        self._open(beginning)
        self._cursor.execute(sql, parameters)
        if self._cursor.description is not None:
            self._rows = self._cursor.fetchmany(_FIRST_ROWS)
        self._is_exhausted = len(self._rows) < _FIRST_ROWS
        if self._is_exhausted:
            self._cursor.close()

    def _run_many(self, beginning: str, sql: str, parameters: Any) -> None:
        self._open(beginning)
        self._cursor.executemany(sql, parameters)
        self._cursor.close()

    def _open(self, beginning: str) -> None:
        connection = self._conn._conn  # noqa: SLF001 - so does every method of aiosqlite's Cursor
        if beginning:
            # No transaction should be open here. If one were, its changes must not be committed with those of this one.
            if connection.in_transaction:
                connection.rollback()
            connection.execute(beginning)
        self._cursor = connection.cursor()


class SqliteConnection(aiosqlite.Connection):
    """A connection that uses SqliteCursor, begins a transaction together with the first statement in it, and ends its
    thread only once.

    SQLAlchemy calls both `stop` and `close` when the task that used the connection was cancelled. After `stop`, the
    `close` of aiosqlite would wait without end (F54).
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], *, writer: bool) -> None:
        super().__init__(connect, iter_chunk_size=_FIRST_ROWS)
        self._is_writer = writer
        # The statement that begins the transaction. It is empty after it was executed together with the first
        # statement.
        self._beginning = ""

    def begin(self) -> None:
        """Makes the next statement begin a transaction."""
        self._beginning = "BEGIN IMMEDIATE" if self._is_writer else "BEGIN"

    def take_beginning(self) -> str:
        """Returns the statement that must be executed before the next statement. The result is empty when there is
        none.
        """
        beginning, self._beginning = self._beginning, ""
        return beginning

    async def commit(self) -> None:
        if self.take_beginning():
            return
        if self._is_writer:
            await super().commit()
        else:
            # This is not done in the thread, because the end of a transaction that has only read is never slow.
            self._conn.commit()

    async def rollback(self) -> None:
        # After a cancellation, the thread may still be executing a statement. It executes the rollback afterwards.
        if not self.take_beginning():
            await super().rollback()

    def cursor(self) -> SqliteCursor:  # type: ignore[override]
        return SqliteCursor(self)

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
    """Returns an engine for SQLite. The thread of each of its connections is added to `threads`."""
    url = url.set(drivername="sqlite+aiosqlite")
    (path,), options = SQLiteDialect_aiosqlite().create_connect_args(url)

    def connect() -> SqliteConnection:
        given = {**options, "timeout": _BUSY_SECONDS, "check_same_thread": False}
        connection = SqliteConnection(lambda: sqlite3.connect(path, **given), writer=writer)
        thread = connection._thread  # noqa: SLF001 - SQLAlchemy does the same with the connections that it makes
        # A lost connection must not prevent the process from ending.
        thread.daemon = True
        threads[:] = [known for known in threads if known.ident is None or known.is_alive()]
        threads.append(thread)
        return connection

    engine = create_async_engine(
        url,
        async_creator=connect,
        # There is only one writing connection, because a second one would only wait for the lock of the file.
        pool_size=1 if writer else 4,
        max_overflow=0,
        # Every transaction here is committed or rolled back before its connection returns to the pool.
        pool_reset_on_return=None,
        hide_parameters=True,
        pool_timeout=60,
    )

    event.listen(engine.sync_engine, "connect", _prepare)

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        driver_connection: Any = connection.connection.driver_connection
        driver_connection.begin()

    return engine


def _prepare(connection: Any, _: Any) -> None:
    # The driver would begin transactions too late for IMMEDIATE, so it must not do this. The connections of this module
    # begin transactions themselves.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


class _InlineConnection(AsyncConnection):
    """A connection whose statements the event loop executes itself. Only the methods below may be used."""

    def __init__(self, engine: AsyncEngine, connection: Connection) -> None:
        super().__init__(engine, connection)
        self._inline = connection

    async def execute(self, statement: Any, parameters: Any = None, **options: Any) -> CursorResult[Any]:
        return self._inline.execute(statement, parameters, **options)

    async def exec_driver_sql(self, statement: str, parameters: Any = None, _: Any = None) -> CursorResult[Any]:
        return self._inline.exec_driver_sql(statement, parameters)


class _InlineEngine:
    """The connections to SQLite for short transactions. The caller executes the statements itself. A thread is used
    only for calls that may have to wait: for the lock of the file, and for the disk at a commit.
    """

    def __init__(self, url: URL, engine: AsyncEngine) -> None:
        self._async_engine = engine
        self.engine = create_engine(
            url.set(drivername="sqlite+pysqlite"),
            connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
            # One connection writes, and the other connection reads.
            pool_size=2,
            max_overflow=0,
            pool_reset_on_return=None,
            hide_parameters=True,
        )
        event.listen(self.engine, "connect", _prepare)
        self._waiting = ThreadPoolExecutor(1, "config-database")

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        with self.engine.connect() as connection:
            driver: sqlite3.Connection | None = connection.connection.driver_connection
            assert driver is not None  # noqa: S101 - the connection was just opened
            try:
                await self._begin(driver)
                yield _InlineConnection(self._async_engine, connection)
                # The driver is called without SQLAlchemy, because two threads that execute Python hinder each other.
                await self._in_thread(driver.commit)
            except sqlite3.Error as error:
                raise DBAPIError.instance(None, None, error, sqlite3.Error) from error
            finally:
                # The rollback does nothing after a commit.
                driver.rollback()

    async def _begin(self, driver: sqlite3.Connection) -> None:
        # The first attempt does not wait. Only another program can have the lock, because the writers of this process
        # take turns.
        driver.execute("PRAGMA busy_timeout=0")
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            # The lowest octet of the code is the kind of the error.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            driver.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
            await self._in_thread(functools.partial(driver.execute, "BEGIN IMMEDIATE"))

    async def _in_thread(self, call: Callable[[], object]) -> None:
        """Runs the call in the thread. When the caller is cancelled, this still waits for the call, because the
        connection is used afterwards.
        """
        calling = asyncio.get_running_loop().run_in_executor(self._waiting, call)
        cancelled = False
        while not calling.done():
            try:
                await asyncio.wait({calling})
            except asyncio.CancelledError:
                cancelled = True
        error = calling.exception()
        if cancelled:
            raise asyncio.CancelledError
        if error is not None:
            raise error

    def close(self) -> None:
        """Waits for the thread, and closes the connections."""
        self._waiting.shutdown()
        self.engine.dispose()


def _is_outage(error: BaseException) -> bool:
    """Whether the error means that the database cannot be reached at present. Any other error would occur again."""
    cause = getattr(error, "orig", None) or error
    sqlstate = getattr(cause, "sqlstate", None) or ""
    return isinstance(cause, OSError) or type(cause).__name__ in _OUTAGES or sqlstate.startswith(_OUTAGE_STATES)


def _reason(error: BaseException) -> str:
    """Returns the error text of the driver, without the statement, its parameters, and the URL."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {cause}".splitlines()[0][:300].rstrip(": ")
