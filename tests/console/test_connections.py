"""A connection to the console on which too little is sent is closed."""

from __future__ import annotations

import asyncio

import pytest
from starlette.responses import PlainTextResponse

from libs.runtime import http_connections
from services.console.__main__ import http_server
from services.console.settings import Settings
from tests.libs.runtime.test_http_connections import connected


async def test_half_a_head_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connections, "HEAD_SECONDS", 0.0)
    server = http_server(Settings(port=0), PlainTextResponse("here"))
    running = asyncio.create_task(server.run())
    reader, writer = await connected(server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost:")
    async with asyncio.timeout(60):
        assert await reader.read() == b""
    writer.close()
    await server.stop()
    await running
