"""Connections and transactions of the database, also when their callers are cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from services.config_api.resources.catalogue import SINGLETONS
from services.config_api.snapshot import publisher
from services.config_api.storage.database import Database, SqliteConnection, _InlineEngine
from services.config_api.storage.documents import Store
from services.config_api.storage.revision import Actor, Write

PATIENCE_SECONDS = 60
STARTS = 200


class _Cache:
    """A stand-in for the cache that `follow` brings up to date. It only queries the database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def catch_up(self, on_answer: Callable[[], None]) -> bool:
        is_newer = await self._store.newest() < 0
        on_answer()
        return is_newer


def test_f54_200_starts_and_stops_with_cancelled_look_ups_end_by_themselves(
    begun: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """Each start has its own event loop, as each process does. Before the fix of F54, 1 of 20 starts never ended."""
    url = f"sqlite:///{begun / 'config.sqlite3'}"

    async def one(number: int) -> None:
        database = Database(url)
        store = Store(database)
        if number % 3 == 0:
            await store.newest()
        look = store.newest() if number % 2 else publisher._catch_up(_Cache(store), lambda _: None)  # type: ignore[arg-type]
        looking = asyncio.ensure_future(look)
        # With different numbers of turns of the loop, the cancellation comes while the connection is opened, begun,
        # read or closed.
        for _ in range(number % 40):
            await asyncio.sleep(0)
        for _ in range(1 + number % 3):
            looking.cancel()
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await database.close()

    for number in range(STARTS):
        asyncio.run(one(number))


async def test_f54_cancelled_look_ups_keep_no_connection(begun_url: str) -> None:
    database = Database(begun_url)
    store = Store(database)
    await store.newest()
    for number in range(200):
        looking = asyncio.ensure_future(store.newest())
        # With different numbers of turns of the loop, the cancellation comes while the connection is opened, checked,
        # read or given back.
        for _ in range(number % 50):
            await asyncio.sleep(0)
        looking.cancel()
        await asyncio.wait({looking})
    # More look-ups than there are connections still get answers.
    assert len(await asyncio.gather(*(store.newest() for _ in range(60)))) == 60
    pool = database._reader.pool
    assert isinstance(pool, QueuePool)
    assert pool.checkedout() == 0
    await database.close()


async def test_f54_closing_waits_for_running_queries(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{begun / 'config.sqlite3'}")
    disposed: list[AsyncEngine] = []
    dispose = AsyncEngine.dispose

    async def noted(engine: AsyncEngine, close: bool = True) -> None:
        disposed.append(engine)
        await dispose(engine, close)

    monkeypatch.setattr(AsyncEngine, "dispose", noted)
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def read() -> int:
        async with database.reading() as connection:
            reading.set()
            await go_on.wait()
            return int((await connection.execute(text("SELECT 7"))).scalar_one())

    at_work = asyncio.ensure_future(read())
    await reading.wait()
    closing = asyncio.ensure_future(database.close())
    # If `close` did not wait, it would dispose of the engines within these turns of the event loop.
    for _ in range(20):
        await asyncio.sleep(0)
    assert disposed == []
    go_on.set()
    assert await at_work == 7
    await closing
    assert len(disposed) == 2


async def test_f54_a_connection_ends_its_thread_only_once(tmp_path: Path) -> None:
    """aiosqlite would wait for ever for a second answer from a thread that has ended."""
    connection = await SqliteConnection(lambda: sqlite3.connect(tmp_path / "x.sqlite3"), writer=True)
    stopped = connection.stop()
    assert stopped is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        await connection.close()
        await stopped
        await connection.close()


async def _connection(path: Path, *, writer: bool) -> SqliteConnection:
    """Opens a connection as the engine does: with explicit transactions, and for use by two threads."""
    given = {"isolation_level": None, "check_same_thread": False}
    connection = SqliteConnection(lambda: sqlite3.connect(path, **given), writer=writer)  # type: ignore[arg-type]
    await connection
    return connection


async def test_a_cursor_returns_all_rows_whether_they_are_read_at_once_or_in_parts(tmp_path: Path) -> None:
    connection = await _connection(tmp_path / "x.sqlite3", writer=True)
    cursor = connection.cursor()
    await cursor.execute("CREATE TABLE numbers (number INTEGER)")
    await cursor.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(200)])
    for count in (0, 1, 63, 64, 65, 200):
        expected = [(number,) for number in range(count)]
        query = "SELECT number FROM numbers WHERE number < ? ORDER BY number"
        assert await (await connection.cursor().execute(query, (count,))).fetchall() == expected
        cursor = await connection.cursor().execute(query, (count,))
        found = []
        while rows := await cursor.fetchmany(50):
            found += rows
        assert found == expected
        assert await cursor.fetchone() is None
        cursor = await connection.cursor().execute(query, (count,))
        assert await cursor.fetchone() == (expected[0] if expected else None)
        assert await cursor.fetchall() == expected[1:]
        await cursor.close()
        assert await cursor.fetchall() == []
    await connection.close()


async def test_a_transaction_begins_with_its_first_statement(tmp_path: Path) -> None:
    writer = await _connection(tmp_path / "x.sqlite3", writer=True)
    reader = await _connection(tmp_path / "x.sqlite3", writer=False)
    await writer.cursor().execute("PRAGMA journal_mode=WAL")
    await writer.cursor().execute("CREATE TABLE numbers (number INTEGER)")
    count = "SELECT count(*) FROM numbers"

    async def counted(connection: SqliteConnection) -> int:
        row: tuple[int] = await (await connection.cursor().execute(count)).fetchone()
        return row[0]

    writer.begin()
    await writer.commit()
    writer.begin()
    await writer.rollback()
    assert not writer.in_transaction
    reader.begin()
    assert await counted(reader) == 0
    writer.begin()
    await writer.cursor().execute("INSERT INTO numbers VALUES (1)")
    await writer.commit()
    # A transaction that reads sees one state until its end.
    assert await counted(reader) == 0
    await reader.commit()
    assert not reader.in_transaction
    reader.begin()
    assert await counted(reader) == 1
    await reader.rollback()
    writer.begin()
    await writer.cursor().execute("INSERT INTO numbers VALUES (2)")
    await writer.rollback()
    assert await counted(reader) == 1
    # The uncommitted changes of an earlier transaction are not committed with the next transaction.
    writer.begin()
    await writer.cursor().execute("INSERT INTO numbers VALUES (3)")
    writer.begin()
    await writer.cursor().execute("INSERT INTO numbers VALUES (4)")
    await writer.commit()
    assert await (await reader.cursor().execute("SELECT number FROM numbers ORDER BY number")).fetchall() == [
        (1,),
        (4,),
    ]
    await reader.close()
    await writer.close()


@pytest.mark.parametrize(("short", "expected"), [(True, 1), (False, 4)])
async def test_a_short_transaction_uses_a_thread_only_for_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: bool, expected: int
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'config.sqlite3'}")
    await database.open()
    calls = 0

    def counted(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def count_and_call(*arguments: Any, **more: Any) -> Any:
            nonlocal calls
            calls += 1
            return await call(*arguments, **more)

        return count_and_call

    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE numbers (number INTEGER)"))
    count = text("SELECT count(*) FROM numbers")
    async with database.reading() as connection:
        assert (await connection.execute(count)).scalar_one() == 0
    monkeypatch.setattr(SqliteConnection, "_execute", counted(SqliteConnection._execute))
    monkeypatch.setattr(_InlineEngine, "_in_thread", counted(_InlineEngine._in_thread))
    async with database.writing(short=short) as connection:
        for number in range(3):
            await connection.execute(text("INSERT INTO numbers VALUES (:number)"), {"number": number})
    assert calls == expected
    calls = 0
    async with database.reading() as connection:
        assert (await connection.execute(count)).scalar_one() == 3
    assert calls == 1
    numbers = Table("numbers", MetaData(), Column("number", Integer))
    assert [row.number for row in await database.rows(select(numbers.c.number), {})] == [0, 1, 2]
    assert calls == 1
    with contextlib.suppress(ZeroDivisionError):
        async with database.writing(short=short) as connection:
            await connection.execute(text("DELETE FROM numbers"))
            raise ZeroDivisionError
    async with database.writing(short=short) as connection:
        many = [{"number": number} for number in range(200)]
        await connection.execute(text("INSERT INTO numbers VALUES (:number)"), many)
    async with database.reading() as connection:
        assert (await connection.execute(count)).scalar_one() == 203
    await database.close()


async def test_a_short_transaction_leaves_the_event_loop_free_while_another_program_has_the_lock(
    tmp_path: Path,
) -> None:
    path = tmp_path / "config.sqlite3"
    database = Database(f"sqlite:///{path}")
    await database.open()
    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE numbers (number INTEGER)"))
    other_program = sqlite3.connect(path, isolation_level=None)
    other_program.execute("BEGIN IMMEDIATE")
    other_program.execute("INSERT INTO numbers VALUES (1)")

    async def add() -> None:
        async with database.writing(short=True) as connection:
            await connection.execute(text("INSERT INTO numbers VALUES (2)"))

    adding = asyncio.ensure_future(add())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not adding.done()
    other_program.execute("COMMIT")
    await adding
    assert other_program.execute("SELECT number FROM numbers ORDER BY number").fetchall() == [(1,), (2,)]
    other_program.close()
    await database.close()


@pytest.mark.parametrize("short", [True, False])
async def test_an_error_at_the_commit_undoes_the_transaction_and_no_other(tmp_path: Path, short: bool) -> None:
    database = Database(f"sqlite:///{tmp_path / 'config.sqlite3'}")
    await database.open()
    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE parents (id INTEGER PRIMARY KEY)"))
        await connection.execute(
            text("CREATE TABLE children (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")
        )
    with pytest.raises(IntegrityError):
        async with database.writing(short=short) as connection:
            await connection.execute(text("INSERT INTO children VALUES (1)"))
    async with database.writing(short=short) as connection:
        await connection.execute(text("INSERT INTO parents VALUES (2)"))
        await connection.execute(text("INSERT INTO children VALUES (2)"))
    async with database.reading() as connection:
        assert list((await connection.execute(text("SELECT parent FROM children"))).scalars()) == [2]
    await database.close()


async def test_revisions_are_made_in_order_of_arrival(begun_url: str) -> None:
    """At the same time, more revisions wait than there are connections. Every third revision is not short."""
    database = Database(begun_url)
    store = Store(database)
    singleton = SINGLETONS[0]
    numbers: list[tuple[int, int]] = []

    async def change(place: int) -> None:
        async with store.revision(Actor("a test", "admin"), "test", short=place % 3 > 0) as revision:
            body = {"number": place}
            await revision.apply([Write(singleton, f"object-{place}", None, body)])
            numbers.append((place, revision.number))

    await asyncio.gather(*map(change, range(60)))
    assert [place for place, _ in numbers] == list(range(60))
    assert [number for _, number in numbers] == list(range(numbers[0][1], numbers[0][1] + 60))
    await database.close()


@pytest.mark.parametrize("short", [True, False])
async def test_a_change_whose_caller_is_cancelled_is_made_whole_or_not_at_all(tmp_path: Path, short: bool) -> None:
    database = Database(f"sqlite:///{tmp_path / 'config.sqlite3'}")
    await database.open()
    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE numbers (number INTEGER)"))

    async def add_two(number: int) -> None:
        async with database.writing(short=short) as connection:
            for _ in range(2):
                await connection.execute(text("INSERT INTO numbers VALUES (:number)"), {"number": number})

    # With different numbers of turns of the loop, the cancellation comes before, during and after each statement.
    for turns in range(80):
        adding = asyncio.ensure_future(add_two(turns))
        for _ in range(turns):
            await asyncio.sleep(0)
        adding.cancel()
        await asyncio.wait({adding})
        await add_two(1_000 + turns)
        async with database.reading() as connection:
            query = "SELECT number, count(*) FROM numbers WHERE number = :cancelled OR number = :made GROUP BY number"
            found = await connection.execute(text(query), {"cancelled": turns, "made": 1_000 + turns})
            counts = {row.number: row[1] for row in found}
        assert counts in ({1_000 + turns: 2}, {turns: 2, 1_000 + turns: 2})
    await database.close()


async def test_an_error_of_a_cancelled_query_ends_its_caller(tmp_path: Path) -> None:
    """When the server is silent, asyncpg reports a cancellation as an error. It must end background work, too."""
    database = Database(f"sqlite:///{tmp_path / 'config.sqlite3'}")
    at_work, outcomes = asyncio.Event(), list[str]()

    async def query() -> None:
        with contextlib.suppress(OperationalError):
            async with database.reading():
                at_work.set()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError as error:
                    raise OperationalError("SELECT 1", {}, error) from None
        outcomes.append("went on")

    querying = asyncio.ensure_future(query())
    await at_work.wait()
    querying.cancel()
    await asyncio.wait({querying})
    assert (querying.cancelled(), outcomes) == (True, [])
    with pytest.raises(OperationalError):
        async with database.reading():
            raise OperationalError("SELECT 1", {}, ValueError())
    await database.close()
