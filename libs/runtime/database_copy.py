"""Copies all rows of a service's database while the service works, and writes them into an empty database.

A copy is made in one transaction, which sees one consistent state. It contains plain values, so a copy from SQLite can
be written to PostgreSQL, and the other way round.
"""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from alembic.runtime.migration import MigrationContext
from alembic.util.exc import CommandError as MigrationError
from sqlalchemy import Connection, MetaData, Table, create_engine, delete, event, inspect, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from libs.runtime.database import VERSION_TABLE, Schema, SqliteFile, database_url, postgresql_engine, server_of
from libs.runtime.lifecycle import StartupError

T = TypeVar("T")
Record = dict[str, Any] | list[Any]

_ROWS_AT_ONCE = 500
# Rows with the content of messages are large, so fewer of them are written at once.
_OCTETS_AT_ONCE = 8 << 20
_CONNECT_SECONDS = 10
# The longest time of one statement. The slowest statement reads all rows of a table.
_STATEMENT_SECONDS = 3600


class CopyError(Exception):
    """The database cannot be read or written, is not empty, or does not fit the backup. The text is for operators."""


@dataclass(frozen=True, slots=True)
class ServiceDatabase:
    """A service's database: its URL, its tables, and what must be done to restored rows before the service starts.

    `after_restore` is called in the transaction that writes the rows, with the time of the copy (microseconds since
    1970). It returns texts for the operator.
    """

    schema: Schema
    url: str
    after_restore: Callable[[Connection, int], list[str]]


async def copy_out(database: ServiceDatabase, take: Callable[[Record], None]) -> dict[str, int]:
    """Passes all records to `take`. The first record has the service and the revision of its schema. For each table, a
    record with its name and columns follows, and then its rows as lists. Returns the number of rows of each table.
    Raises CopyError.
    """

    def read(connection: Connection) -> dict[str, int]:
        heads = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_heads()
        if len(heads) != 1:
            raise CopyError(f"the database of {database.schema.variable} has no tables of Posthouse yet")
        take({"service": database.schema.service, "schema": heads[0]})
        counts = {}
        for table in _tables(connection):
            take({"table": table.name, "columns": [column.name for column in table.columns]})
            counts[table.name] = 0
            for row in connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(select(table)):
                take([_plain(value) for value in row])
                counts[table.name] += 1
        return counts

    return await _reading(database, read)


async def check_empty(database: ServiceDatabase) -> None:
    """Checks that the database has no tables. PostgreSQL must be reachable, but an SQLite file need not exist. Raises
    CopyError.
    """
    url = _url(database)
    if url.get_backend_name() == "sqlite":
        _check_file(database, url)
    else:
        await _on_postgresql(database, url, lambda connection: _refuse_tables(database, connection))


def _check_file(database: ServiceDatabase, url: URL) -> None:
    if Path(str(url.database)).exists():
        _on_sqlite(url, "BEGIN", lambda connection: _refuse_tables(database, connection))


def _refuse_tables(database: ServiceDatabase, connection: Connection) -> None:
    if set(inspect(connection).get_table_names()) - {VERSION_TABLE}:
        raise CopyError(f"the database of {database.schema.variable} is not empty: a backup needs an empty one")


async def copy_in(database: ServiceDatabase, schema: str, taken_at: int, records: Iterable[Record]) -> list[str]:
    """Writes the records of `copy_out`, except the first one, into an empty database. `schema` is the revision in the
    first record. Returns texts for the operator. Raises CopyError, and then nothing was written.
    """

    def write(connection: Connection) -> list[str]:
        _refuse_tables(database, connection)
        try:
            database.schema.upgrade(connection, schema)
        except MigrationError:
            raise CopyError(f"the backup is of a newer release (schema {schema}): restore it with that one") from None
        _fill(connection, records)
        database.schema.upgrade(connection)
        return database.after_restore(connection, taken_at)

    return await _writing(database, write)


def _fill(connection: Connection, records: Iterable[Record]) -> None:
    tables = {table.name: table for table in _tables(connection)}
    # The migrations have added rows, which are in the copy too, so they are removed first.
    for table in tables.values():
        connection.execute(delete(table))
    for table, columns, rows in _batches(tables, records):
        connection.execute(table.insert(), [dict(zip(columns, row, strict=True)) for row in rows])


def _batches(tables: dict[str, Table], records: Iterable[Record]) -> Iterator[tuple[Table, list[str], list[list[Any]]]]:
    table: Table | None = None
    columns: list[str] = []
    rows: list[list[Any]] = []
    octets = 0
    for record in records:
        is_row = isinstance(record, list)
        if rows and (not is_row or len(rows) >= _ROWS_AT_ONCE or octets >= _OCTETS_AT_ONCE):
            assert table is not None  # noqa: S101 - there are no rows without one
            yield table, columns, rows
            rows, octets = [], 0
        if isinstance(record, list):
            row = [_stored(value) for value in record]
            octets += sum(len(value) for value in row if isinstance(value, bytes))
            rows.append(row)
        else:
            table, columns = tables.get(record["table"]), record["columns"]
            if table is None:
                raise CopyError(f"the backup has a table {record['table']} that this release does not know")
    if rows and table is not None:
        yield table, columns, rows


def _tables(connection: Connection) -> list[Table]:
    """Returns the tables as they are in the database, whichever release made them."""
    metadata = MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name != VERSION_TABLE]


def _plain(value: Any) -> Any:
    return {"b": base64.b64encode(value).decode("ascii")} if isinstance(value, bytes | memoryview) else value


def _stored(value: Any) -> Any:
    return base64.b64decode(value["b"]) if isinstance(value, dict) else value


async def _reading(database: ServiceDatabase, work: Callable[[Connection], T]) -> T:
    url = _url(database)
    if url.get_backend_name() == "sqlite":
        return _on_existing_sqlite(database, url, work)
    return await _on_postgresql(database, url, work, isolation_level="REPEATABLE READ", postgresql_readonly=True)


async def _writing(database: ServiceDatabase, work: Callable[[Connection], T]) -> T:
    url = _url(database)
    if url.get_backend_name() == "postgresql":

        def create_and_work(connection: Connection) -> T:
            database.schema.create(connection)
            return work(connection)

        return await _on_postgresql(database, url, create_and_work)
    file = SqliteFile(Path(str(url.database)))
    try:
        file.lock(database.schema.service, database.schema.variable)
    except StartupError as error:
        raise CopyError(str(error)) from None
    try:
        return _on_sqlite(url, "BEGIN IMMEDIATE", work)
    finally:
        file.release()


def _on_existing_sqlite(database: ServiceDatabase, url: URL, work: Callable[[Connection], T]) -> T:
    if not Path(str(url.database)).exists():
        raise CopyError(f"there is no database {url.database}; {database.schema.variable} names another")
    return _on_sqlite(url, "BEGIN", work)


def _on_sqlite(url: URL, begin: str, work: Callable[[Connection], T]) -> T:
    path = Path(str(url.database))
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"timeout": _CONNECT_SECONDS, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: Any) -> None:
        if path.stat().st_size == 0:
            # Services use this setting for their files. It has an effect only before the first table is made.
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    try:
        with engine.begin() as connection:
            return work(connection)
    except SQLAlchemyError as error:
        raise CopyError(f"{path}: {_reason(error)}") from error


async def _on_postgresql(database: ServiceDatabase, url: URL, work: Callable[[Connection], T], **options: Any) -> T:
    engine = postgresql_engine(
        url,
        database.schema.service,
        pool_size=1,
        max_overflow=0,
        connect_seconds=_CONNECT_SECONDS,
        statement_seconds=_STATEMENT_SECONDS,
    )
    try:
        async with engine.connect() as connection:
            await connection.execution_options(**options)
            async with connection.begin():
                return await connection.run_sync(work)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        raise CopyError(f"PostgreSQL at {server_of(url)}: {_reason(error)}") from error
    finally:
        await engine.dispose()


def _url(database: ServiceDatabase) -> URL:
    try:
        return database_url(database.url, database.schema.variable)
    except StartupError as error:
        raise CopyError(str(error)) from None


def _reason(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0][:200]
