"""HTTP connections that wait too long or exceed the limit are closed. Connections of other clients stay open."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from libs.runtime import http_connections
from libs.runtime.http_connections import ConnectionGuard
from libs.runtime.http_server import HttpServer
from tests.peers.ports import LOOPBACK

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
DEADLINE_SECONDS = 60
Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads a complete request before it answers."""
    await Request(scope, receive).body()
    await PlainTextResponse("here\n")(scope, receive, send)


@asynccontextmanager
async def serving(
    most: int = 100, proxies: Sequence[str] = (), client_key: Callable[[str], str] = str
) -> AsyncIterator[Callable[[bytes], Awaitable[Opened]]]:
    """Runs a server. Yields a function that opens a connection and sends octets on it."""
    guard = ConnectionGuard(most, [ipaddress.ip_network(each) for each in proxies], client_key)
    server = HttpServer(application, LOOPBACK, 0, protocol=guard.protocol, besides=guard.run)
    running = asyncio.create_task(server.run())
    writers = []

    async def opened(sent: bytes) -> Opened:
        reader, writer = await connected(server.port)
        writers.append(writer)
        writer.write(sent)
        return reader, writer

    yield opened
    for writer in writers:
        writer.close()
    await server.stop()
    await running


async def connected(port: int) -> Opened:
    """Connects to a server, and tries again while the server does not listen yet."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                return await asyncio.open_connection(LOOPBACK, port)
            except ConnectionRefusedError:
                await asyncio.sleep(0)


async def answer(reader: asyncio.StreamReader) -> bytes:
    """Returns the first line of an answer; it is empty when the connection ended without an answer."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        try:
            return await reader.readline()
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost:"], ids=["nothing", "half a head"])
async def test_a_connection_whose_head_comes_too_late_is_closed(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(http_connections, "HEAD_SECONDS", 0.0)
    async with serving() as opened:
        reader, _ = await opened(sent)
        assert await answer(reader) == b""


async def test_a_connection_whose_body_stops_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connections, "SILENCE_SECONDS", 0.0)
    async with serving() as opened:
        reader, _ = await opened(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1")
        assert await answer(reader) == b""


async def test_above_the_limit_the_connection_that_was_silent_longest_is_closed() -> None:
    async with serving(most=2) as opened:
        first, _ = await opened(b"")
        second, second_writer = await opened(REQUEST)
        assert (await answer(second)).startswith(b"HTTP/1.1 200")
        third, _ = await opened(REQUEST)
        assert (await answer(third)).startswith(b"HTTP/1.1 200")
        assert await answer(first) == b""
        second_writer.write(REQUEST)
        await second.readuntil(b"here\n")
        assert (await answer(second)).startswith(b"HTTP/1.1 200")


async def test_connections_of_a_proxy_are_not_counted() -> None:
    async with serving(most=1, proxies=[f"{LOOPBACK}/32"]) as opened:
        first, first_writer = await opened(b"")
        second, _ = await opened(REQUEST)
        assert (await answer(second)).startswith(b"HTTP/1.1 200")
        first_writer.write(REQUEST)
        assert (await answer(first)).startswith(b"HTTP/1.1 200")


async def test_clients_without_an_ip_address_are_counted_together() -> None:
    def no_address(_: str) -> str:
        raise ValueError

    async with serving(most=1, client_key=no_address) as opened:
        first, _ = await opened(b"")
        second, _ = await opened(REQUEST)
        assert (await answer(second)).startswith(b"HTTP/1.1 200")
        assert await answer(first) == b""
