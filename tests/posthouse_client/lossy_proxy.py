"""A TCP proxy that loses answers: the server does the work, and the client does not learn of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class LossyProxy:
    """A proxy that loses answers. It will lose `losses` more answers. `answered` counts the answers of the server."""

    port: int = 0
    losses: int = 0
    answered: int = 0


@asynccontextmanager
async def lossy_proxy(upstream_port: int, losses: int) -> AsyncIterator[LossyProxy]:
    """Runs a proxy that passes on one request for each connection. It loses the first `losses` answers."""
    proxy = LossyProxy(losses=losses)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", upstream_port)
        sending = asyncio.create_task(_copy(reader, up_writer))
        try:
            while octets := await up_reader.read(65536):
                proxy.answered += 1
                if proxy.losses:
                    proxy.losses -= 1
                    break
                writer.write(octets)
                await writer.drain()
        finally:
            sending.cancel()
            up_writer.close()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    async with server:
        yield proxy


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while octets := await reader.read(65536):
        writer.write(octets)
        await writer.drain()
