"""Fixtures of config_api's tests: the running service, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.config_api.service import Service, running
from tests.peers.dns import DnsServer


@pytest.fixture(scope="session")
def resolver() -> Iterator[str]:
    """A DNS server that knows no name, shared by all tests; those about the DNS have their own."""
    with DnsServer() as server:
        yield server.address


@pytest.fixture
async def service(database_url: str, tmp_path: Path, resolver: str) -> AsyncIterator[Service]:
    """On a fresh database, once with SQLite and once with PostgreSQL."""
    async with running(database_url, tmp_path, nameservers=resolver) as found:
        yield found


@pytest.fixture
async def on_sqlite(tmp_path: Path, resolver: str) -> AsyncIterator[Service]:
    """On a fresh SQLite file, for what has nothing to do with the database."""
    async with running(f"sqlite:///{tmp_path / 'config.sqlite3'}", tmp_path, nameservers=resolver) as found:
        yield found
