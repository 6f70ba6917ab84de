"""Fixtures for tests of the console's pages. The console and config_api run in the test's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from services.console.api import api_client
from services.console.app import ENTRIES, create_app
from services.console.page import Dependencies
from services.console.session import Sessions
from tests.config_api.service import ADMIN_KEY, Service, running
from tests.console.pages.reader import Reader


@pytest.fixture
async def service(memory_path: Path) -> AsyncIterator[Service]:
    async with running(f"sqlite:///{memory_path / 'config.sqlite3'}", memory_path) as service:
        yield service


@pytest.fixture
async def reader(service: Service) -> AsyncIterator[Reader]:
    """A reader who has signed in as an admin."""
    async with api_client(f"http://127.0.0.1:{service.http_port}", None) as client:
        dependencies = Dependencies(Sessions(["a-secret-key-of-the-tests-of-pages"]), client, ENTRIES, secure=False)
        transport = httpx.ASGITransport(create_app(dependencies, frozenset({"localhost"})))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            reader = Reader(http)
            await reader.sign_in(ADMIN_KEY)
            yield reader
