"""Reads and writes the octets of one connection of the scripted SMTP peer, and does TLS and the closing."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import cast

# Above this number of unread octets the peer stops reading, so that a script that waits blocks the client's sending.
_UNREAD_LIMIT = 256 * 1024
_LONGEST_LINE = 1024 * 1024
_SIOCOUTQ = 0x5411

DOT = b"\r\n.\r\n"


class ClientGone(Exception):  # noqa: N818 - an event of the dialogue, not a fault
    """The client has closed the connection (`broken` is false) or has broken it."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.broken = broken


class Wire(asyncio.Protocol):
    """One connection. `accepted` is called with this object as soon as the connection exists."""

    def __init__(self, accepted: Callable[[Wire], Awaitable[None]]) -> None:
        self.buffer = bytearray()
        # A function that is called with all octets, as they are received.
        self.received: Callable[[bytes], None] = lambda _: None
        self._accepted = accepted
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Future[None] | None = None
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone: ClientGone | None = None
        self._wanting = False

    # The asyncio protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        first = self._transport is None
        self._transport = cast("asyncio.Transport", transport)
        if first:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._task = asyncio.ensure_future(self._accepted(self))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.received(data)
        self._changed.set()
        if len(self.buffer) > _UNREAD_LIMIT and not self._wanting:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._lost(ClientGone(broken=False))
        # The value True leaves our direction of the connection open, so that we can still send.
        return not self.over_tls

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(ClientGone(broken=exc is not None))
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _lost(self, gone: ClientGone) -> None:
        self._gone = self._gone or gone
        self._changed.set()

    # The methods that a dialogue uses

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    @property
    def socket(self) -> socket.socket:
        return cast("socket.socket", self.transport.get_extra_info("socket"))

    @property
    def tls(self) -> ssl.SSLObject | None:
        return cast("ssl.SSLObject | None", self.transport.get_extra_info("ssl_object"))

    @property
    def over_tls(self) -> bool:
        return self.tls is not None

    async def read_line(self) -> bytes:
        """Returns one line with its line end. Raises ClientGone; a line whose end never comes is not returned."""
        while (at := self.buffer.find(b"\n")) < 0:
            if len(self.buffer) > _LONGEST_LINE:
                raise ClientGone(broken=True)
            await self._more()
        return self.take(at + 1)

    async def read_exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            await self._more()
        return self.take(count)

    async def read_content(self, came: Callable[[int], Awaitable[None]]) -> bytes:
        """Returns DATA's content up to the line with the final dot, which is read but not returned.

        `came` is called with the number of octets that have come so far.
        """
        # The line with the final dot may be the first line.
        self.buffer[:0] = b"\r\n"
        searched = 0
        while (at := self.buffer.find(DOT, searched)) < 0:
            searched = max(0, len(self.buffer) - len(DOT) + 1)
            await came(len(self.buffer) - 2)
            await self._more()
        await came(at)
        raw = self.take(at + len(DOT))
        return raw[2 : at + 2]

    def take(self, count: int | None = None) -> bytes:
        taken = bytes(self.buffer[:count])
        del self.buffer[: len(taken)]
        return taken

    async def send(self, octets: bytes) -> None:
        if self.transport.is_closing():
            raise self._gone or ClientGone(broken=True)
        self.transport.write(octets)
        await self._writable.wait()

    async def delivered(self) -> None:
        """Returns when the client's host has received all that was sent.

        Octets that are sent later are then in another packet.
        """
        # Only the kernel knows whether the octets were received, and it can only be polled.
        while not self.transport.is_closing() and self._gone is None and self._unacknowledged():  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Does the server's side of the TLS handshake. Raises OSError (ssl.SSLError is one) when it fails."""
        transport = await asyncio.get_running_loop().start_tls(
            self.transport, self, context, server_side=True, ssl_shutdown_timeout=5
        )
        if transport is None:
            raise ConnectionResetError("the client went away during the handshake")
        self._transport = transport

    async def close(self) -> None:
        """Sends FIN after everything that was written."""
        self.transport.close()
        await self._closed()

    async def reset(self) -> None:
        """Sends RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
        await self._closed()

    async def abort(self) -> None:
        """Aborts the session, whatever it is doing, and returns when it has ended."""
        # In Python 3.11, asyncio's TLS transport fails here when it was closed twice before, because it then has no
        # protocol.
        with contextlib.suppress(AttributeError):
            self.transport.abort()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def client_is_gone(self) -> bool:
        return self._gone is not None

    async def _closed(self) -> None:
        while self._gone is None:
            await self._changed.wait()
            self._changed.clear()

    async def _more(self) -> None:
        if self._gone is not None:
            raise self._gone
        self._changed.clear()
        self._wanting = True
        self.transport.resume_reading()
        try:
            await self._changed.wait()
        finally:
            self._wanting = False

    def _unacknowledged(self) -> int:
        waiting = fcntl.ioctl(self.socket.fileno(), _SIOCOUTQ, b"\0\0\0\0")
        return int(struct.unpack("i", waiting)[0])
