"""Connections to the database when callers are cancelled."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.config_api.snapshot import publisher
from services.config_api.storage.database import Database, SqliteConnection
from services.config_api.storage.documents import Store

PATIENCE_SECONDS = 60
STARTS = 200


class _Behind:
    """A stand-in for the object that `follow` asks whether it is behind. It only queries the database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def behind(self) -> bool:
        return await self._store.newest() < 0


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
        look = store.newest() if number % 2 else publisher._behind(_Behind(store), lambda _: None)  # type: ignore[arg-type]
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


async def test_f54_closing_waits_for_who_is_at_work(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    # These are more turns of the loop than a `close` that does not wait needs until it disposes of the engines.
    for _ in range(20):
        await asyncio.sleep(0)
    assert disposed == []
    go_on.set()
    assert await at_work == 7
    await closing
    assert len(disposed) == 2


async def test_f54_a_connection_is_told_to_end_once(tmp_path: Path) -> None:
    """aiosqlite would wait for ever for a second answer from a thread that has ended."""
    import sqlite3

    connection = await SqliteConnection(lambda: sqlite3.connect(tmp_path / "x.sqlite3"), iter_chunk_size=64)
    stopped = connection.stop()
    assert stopped is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        await connection.close()
        await stopped
        await connection.close()
