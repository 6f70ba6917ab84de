"""Lost connections to PostgreSQL are replaced before the work begins, without a query before each transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.runtime import database
from libs.runtime.database import postgresql_engine
from tests.peers.postgres import Postgres

_BACKEND = text("SELECT pg_backend_pid()")


@pytest.fixture
async def engine(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine with a single connection."""
    engine = postgresql_engine(
        make_url(postgres_url), "tests", pool_size=1, max_overflow=0, connect_seconds=10, statement_seconds=60
    )
    yield engine
    await engine.dispose()


async def _backend(engine: AsyncEngine) -> int:
    """Returns the id of the server process that serves the connection. Each connection has another process."""
    async with engine.begin() as connection:
        return int((await connection.execute(_BACKEND)).scalar_one())


async def _end(server_url: str, backend: int) -> None:
    other = postgresql_engine(
        make_url(server_url), "tests", pool_size=1, max_overflow=0, connect_seconds=10, statement_seconds=60
    )
    async with other.begin() as connection:
        await connection.execute(text("SELECT pg_terminate_backend(:backend, 60000)"), {"backend": backend})
    await other.dispose()


async def test_a_connection_that_the_server_has_closed_is_replaced(engine: AsyncEngine, postgres_url: str) -> None:
    for _ in range(3):
        backend = await _backend(engine)
        assert await _backend(engine) == backend
        await _end(postgres_url, backend)
        assert await _backend(engine) != backend


async def test_the_next_transaction_after_a_restart_of_the_server_succeeds(
    engine: AsyncEngine, postgres: Postgres
) -> None:
    await _backend(engine)
    postgres.restart()
    await _backend(engine)


async def test_only_a_connection_that_was_not_used_for_some_time_is_checked(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ping = AsyncAdapt_asyncpg_connection.ping
    pings: list[AsyncAdapt_asyncpg_connection] = []

    def noted(connection: AsyncAdapt_asyncpg_connection) -> None:
        pings.append(connection)
        ping(connection)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(AsyncAdapt_asyncpg_connection, "ping", noted)
    for _ in range(5):
        await _backend(engine)
    assert pings == []
    monkeypatch.setattr(database, "_UNCHECKED_SECONDS", -1.0)
    await _backend(engine)
    assert len(pings) == 1


async def test_a_connection_that_looks_open_but_is_lost_is_replaced(
    engine: AsyncEngine, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection looks open to the client, as when a firewall drops the packets of a connection."""
    monkeypatch.setattr(database, "_UNCHECKED_SECONDS", -1.0)
    backend = await _backend(engine)
    await _end(postgres_url, backend)
    with monkeypatch.context() as patch:
        patch.setattr("asyncpg.connection.Connection.is_closed", lambda _: False)
        assert await _backend(engine) != backend
