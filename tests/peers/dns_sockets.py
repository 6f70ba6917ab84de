"""The UDP and TCP sockets of the DNS peer."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable, Coroutine
from typing import Self

from tests.peers.dns_misbehaviour import Response
from tests.peers.ports import free_port

# A responder gets the question as received, "udp" or "tcp", and the address of the client. It returns the response.
Responder = Callable[[bytes, str, tuple[str, int]], Awaitable[Response]]


class Endpoints:
    """One UDP and one TCP socket on the same port, and a UDP socket on another port, which sends forged answers.

    All methods run in the peers' event loop.
    """

    def __init__(self, respond: Responder, host: str) -> None:
        self._respond = respond
        self._host = host
        self._tasks: set[asyncio.Task[None]] = set()
        self._udp: asyncio.DatagramTransport | None = None
        self._elsewhere: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None

    @classmethod
    async def open(cls, respond: Responder, host: str, port: int) -> Self:
        """Opens the sockets. Port 0 stands for any free port."""
        endpoints = cls(respond, host)
        loop = asyncio.get_running_loop()
        number = port or free_port(host)
        endpoints._udp, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(endpoints._datagram), local_addr=(host, number)
        )
        endpoints._elsewhere, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(host, 0))
        endpoints._tcp = await asyncio.start_server(endpoints._connection, host, number, reuse_address=True)
        return endpoints

    @property
    def port(self) -> int:
        assert self._tcp is not None
        return int(self._tcp.sockets[0].getsockname()[1])

    async def close(self) -> None:
        for transport in (self._udp, self._elsewhere):
            if transport is not None:
                transport.close()
        if self._tcp is not None:
            self._tcp.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # A datagram transport closes its socket only at the next turn of the event loop.
        await asyncio.sleep(0)

    def _datagram(self, wire: bytes, client: tuple[str, int]) -> None:
        self._keep(self._answer_datagram(wire, client))

    async def _answer_datagram(self, wire: bytes, client: tuple[str, int]) -> None:
        response = await self._respond(wire, "udp", client)
        assert self._udp is not None
        assert self._elsewhere is not None
        for datagram in response.from_elsewhere:
            self._elsewhere.sendto(datagram, client)
        for datagram in response.datagrams:
            self._udp.sendto(datagram, client)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        client = writer.get_extra_info("peername")[:2]
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    response = await self._respond(await reader.readexactly(length), "tcp", client)
                    if response.close:
                        return
                    for message in response.datagrams:
                        writer.write(struct.pack("!H", len(message)) + message)
                    await writer.drain()
        finally:
            writer.close()

    def _keep(self, coroutine: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._received = received

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._received(data, addr)
