"""Connections to PostgreSQL that were lost are replaced before the work begins, without a question for each
transaction.
"""

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
    """Returns the process of the server that serves the connection, which is another one for each connection."""
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


async def test_the_server_is_asked_only_on_a_connection_that_was_not_used_for_some_time(
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


async def test_a_connection_whose_loss_shows_only_in_an_answer_is_replaced(
    engine: AsyncEngine, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection seems open here, as if a firewall had forgotten it."""
    monkeypatch.setattr(database, "_UNCHECKED_SECONDS", -1.0)
    backend = await _backend(engine)
    await _end(postgres_url, backend)
    with monkeypatch.context() as patch:
        patch.setattr("asyncpg.connection.Connection.is_closed", lambda _: False)
        assert await _backend(engine) != backend
