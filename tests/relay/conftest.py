"""Fixtures with databases for the queue of relay."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.relay.queue.database import open_database
from tests.peers.postgres import Postgres


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the path of an SQLite file with the queue's empty tables."""
    path = tmp_path_factory.mktemp("queue") / "queue.sqlite3"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def migrated_postgres_url(_postgres: Postgres) -> str:
    """Returns the URL of a PostgreSQL database with the queue's empty tables."""
    _postgres.ensure_running()
    url = _postgres.create_database()
    asyncio.run(_migrate(url))
    return url


async def _migrate(url: str) -> None:
    database = open_database(url)
    await database.open()
    await database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, memory_path: Path) -> Iterator[str]:
    """Yields the URL of a database with the queue's empty tables. The test runs with SQLite and with PostgreSQL.

    The database is a copy, so that no test has to wait for the migrations. Tests of the migrations use
    `empty_database_url`.
    """
    if request.param == "sqlite":
        file = memory_path / "test.sqlite"
        shutil.copyfile(request.getfixturevalue("migrated_file"), file)
        yield f"sqlite+aiosqlite:///{file}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.temporary_database(request.getfixturevalue("migrated_postgres_url")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, memory_path: Path) -> str:
    """Returns the URL of a new database without tables. The test runs with SQLite and with PostgreSQL."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite+aiosqlite:///{memory_path / 'test.sqlite'}"
