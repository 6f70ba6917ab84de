"""Connections that send nothing, or too little, are closed and do not delay other clients."""

from __future__ import annotations

import asyncio

import pytest

from libs.runtime import http_connections
from tests.config_api.service import START_SECONDS, Service

MANY = 300


async def _opened(service: Service, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.http_port)
    writer.write(sent)
    return reader, writer


async def _ended(reader: asyncio.StreamReader) -> None:
    try:
        async with asyncio.timeout(2 * START_SECONDS):
            await reader.read()
    except ConnectionResetError:
        pass


async def test_300_silent_connections_delay_no_other_client_and_are_closed(
    on_sqlite: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = [await _opened(on_sqlite, b"") for _ in range(MANY)]
    assert (await on_sqlite.api.get("/readyz")).status_code == 200
    assert (await on_sqlite.api.get("/v1/settings/general")).status_code == 200
    monkeypatch.setattr(http_connections, "HEAD_SECONDS", 0.0)
    await asyncio.gather(*(_ended(reader) for reader, _ in opened))
    for _, writer in opened:
        writer.close()


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost:", b""])
async def test_a_connection_with_an_incomplete_head_is_closed(
    on_sqlite: Service, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(http_connections, "HEAD_SECONDS", 0.0)
    reader, writer = await _opened(on_sqlite, sent)
    await _ended(reader)
    writer.close()


async def test_a_connection_with_an_incomplete_body_is_closed(
    on_sqlite: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connections, "SILENCE_SECONDS", 0.0)
    head = (
        "POST /v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: {on_sqlite.api.headers['Authorization']}\r\nContent-Length: 99\r\n\r\n"
    )
    reader, writer = await _opened(on_sqlite, head.encode() + b"{")
    await _ended(reader)
    writer.close()
