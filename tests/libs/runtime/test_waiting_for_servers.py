"""A service waits for the PostgreSQL server that it needs, and reports the server's address (F13)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import pytest
from structlog.testing import capture_logs

from libs.runtime import lifecycle
from libs.runtime.lifecycle import (
    EndedEarlyError,
    Shutdown,
    StartupError,
    UnreachableServerError,
    wait_for_server,
)
from services.config_api.storage.database import Database
from services.relay.queue.database import open_database
from tests.peers.ports import LOOPBACK, free_port
from tests.peers.postgres import Postgres


class AnyDatabase(Protocol):
    async def open(self) -> None: ...

    async def close(self) -> None: ...


BOTH = pytest.mark.parametrize("make", [Database, open_database], ids=["config_api", "relay"])
Make = Callable[[str], AnyDatabase]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_SERVER_PAUSE_SECONDS", 0.05)


@BOTH
async def test_a_service_waits_for_a_server_that_starts_later_and_logs_its_address(
    postgres: Postgres, make: Make
) -> None:
    url = postgres.create_database()
    postgres.break_off()
    database = make(url.replace("posthouse@", "posthouse:hidden@"))
    try:
        with capture_logs() as lines:
            waiting = asyncio.create_task(wait_for_server(database.open, Shutdown()))
            async with asyncio.timeout(60):
                while not lines:
                    assert not waiting.done()
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(postgres.start)
            async with asyncio.timeout(60):
                await waiting
    finally:
        await database.close()
        postgres.ensure_running()
    assert lines[0]["event"] == "waiting_for_server"
    assert f"PostgreSQL at {LOOPBACK}:{postgres.port} can't be reached" in lines[0]["reason"]
    assert "hidden" not in str(lines)


@BOTH
async def test_a_service_does_not_start_when_its_server_never_starts(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "SERVER_SECONDS", 0.2)
    port = free_port()
    database = make(f"postgresql://user:hidden@{LOOPBACK}:{port}/none")
    with pytest.raises(UnreachableServerError, match=f"PostgreSQL at {LOOPBACK}:{port} can't be reached") as error:
        await wait_for_server(database.open, Shutdown())
    assert "hidden" not in str(error.value)
    await database.close()


@BOTH
async def test_a_permanent_fault_of_the_database_ends_the_start_at_once(postgres: Postgres, make: Make) -> None:
    url = postgres.create_database().rpartition("/")[0] + "/nowhere"
    database = make(url)
    with pytest.raises(StartupError, match="nowhere") as error:
        await wait_for_server(database.open, Shutdown())
    assert not isinstance(error.value, UnreachableServerError)
    await database.close()


@BOTH
async def test_a_request_to_stop_ends_the_wait_for_a_server(make: Make) -> None:
    database = make(f"postgresql://{LOOPBACK}:{free_port()}/none")
    shutdown = Shutdown()
    shutdown.request("end of test")
    with pytest.raises(EndedEarlyError):
        await wait_for_server(database.open, shutdown)
    await database.close()


@pytest.fixture
async def starting_server() -> AsyncIterator[int]:
    """The port of a server that answers like a PostgreSQL that is recovering."""
    fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(4))
        if length == 8:  # The client asks for TLS.
            await reader.readexactly(4)
            writer.write(b"N")
            length = int.from_bytes(await reader.readexactly(4))
        await reader.readexactly(length - 4)
        writer.write(b"E" + (len(fields) + 4).to_bytes(4) + fields)
        writer.close()

    server = await asyncio.start_server(refuse, LOOPBACK, 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


@BOTH
async def test_a_starting_server_counts_as_unreachable(starting_server: int, make: Make) -> None:
    database = make(f"postgresql://user@{LOOPBACK}:{starting_server}/none")
    with pytest.raises(UnreachableServerError, match="starting up"):
        await database.open()
    await database.close()
