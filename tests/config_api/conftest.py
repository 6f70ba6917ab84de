"""Fixtures for config_api's tests: the running service on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.config_api.changes import first_run
from services.config_api.secrets.sealing import load_sealer
from services.config_api.storage.database import Database
from services.config_api.storage.documents import Store
from tests.config_api.service import ADMIN_KEY, Service, running
from tests.peers.dns import DnsServer
from tests.peers.postgres import Postgres


@pytest.fixture(scope="session")
def resolver() -> Iterator[str]:
    """The address of a DNS server that knows no name. All tests share it; tests about the DNS have their own."""
    with DnsServer() as server:
        yield server.address


@pytest.fixture(scope="session")
def beginning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder after the first start of the service, with the secret key and the migrated `config.sqlite3`.

    Most tests use a copy of it, which saves them the time of the migrations. Tests about starting begin with an empty
    folder.
    """
    folder = tmp_path_factory.mktemp("beginning")
    asyncio.run(_begin(f"sqlite:///{folder / 'config.sqlite3'}", folder))
    return folder


@pytest.fixture(scope="session")
def postgres_beginning(_postgres: Postgres, beginning: Path) -> str:
    """The URL of a PostgreSQL database after the first start of the service. Tests use copies of it."""
    _postgres.ensure_running()
    url = _postgres.create_database()
    asyncio.run(_begin(url, beginning))
    return url


async def _begin(url: str, folder: Path) -> None:
    database = Database(url)
    await database.open()
    try:
        await first_run.prepare(Store(database), load_sealer("", folder), folder, ADMIN_KEY)
    finally:
        await database.close()


@pytest.fixture
def begun(beginning: Path, memory_path: Path) -> Path:
    """A copy of the data folder after the first start."""
    for name in ("secret-key", "config.sqlite3"):
        shutil.copy2(beginning / name, memory_path / name)
    return memory_path


@pytest.fixture(params=["sqlite", "postgresql"])
def begun_url(request: pytest.FixtureRequest, begun: Path) -> Iterator[str]:
    """The URL of a database after the first start. Its secrets are encrypted with the secret key in `begun`."""
    if request.param == "sqlite":
        yield f"sqlite:///{begun / 'config.sqlite3'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.temporary_database(request.getfixturevalue("postgres_beginning")) as url:
        yield url


@pytest.fixture
async def service(begun_url: str, begun: Path, resolver: str) -> AsyncIterator[Service]:
    """The service after its first start. The test runs with SQLite and with PostgreSQL."""
    async with running(begun_url, begun, nameservers=resolver) as found:
        yield found


@pytest.fixture
async def on_sqlite(begun: Path, resolver: str) -> AsyncIterator[Service]:
    """The service on a SQLite file, for tests that do not depend on the kind of database."""
    async with running(f"sqlite:///{begun / 'config.sqlite3'}", begun, nameservers=resolver) as found:
        yield found
