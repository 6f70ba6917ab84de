"""The octets of one connection of the scripted SMTP peer: reading by line, count or dot, TLS, closing and breaking."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import cast

# Above this much unread the socket is left alone, so that a script that waits really stalls its client.
_UNREAD_LIMIT = 256 * 1024
_LONGEST_LINE = 1024 * 1024
_SIOCOUTQ = 0x5411

DOT = b"\r\n.\r\n"


class ClientGone(Exception):  # noqa: N818 - an event of the dialogue, not a fault
    """The client closed (`broken` is false) or broke the connection."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        self.broken = broken


class Wire(asyncio.Protocol):
    """One connection. `accepted` is started with it as soon as it is there."""

    def __init__(self, accepted: Callable[[Wire], Awaitable[None]]) -> None:
        self.buffer = bytearray()
        # Told of every octet received.
        self.received: Callable[[bytes], None] = lambda _: None
        self._accepted = accepted
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Future[None] | None = None
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone: ClientGone | None = None
        self._wanting = False

    # The protocol

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
        # Half-open: what is still to be said can be said.
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

    # What a dialogue uses

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
        """One line with its line end. Raises ClientGone; a line without an end is not given."""
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
        """DATA's content up to the dot line, which is taken and not returned; `came` is told how much is there."""
        # The dot line may be the first.
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
        """Returns when the client's host has all that was sent, so that what is sent next is a packet of its own."""
        # Only the kernel knows, and it can only be asked.
        while not self.transport.is_closing() and self._gone is None and self._unacknowledged():  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """The server's side of the handshake. Raises OSError (ssl.SSLError is one) when it fails."""
        transport = await asyncio.get_running_loop().start_tls(
            self.transport, self, context, server_side=True, ssl_shutdown_timeout=5
        )
        if transport is None:
            raise ConnectionResetError("the connection went during the handshake")
        self._transport = transport

    async def close(self) -> None:
        """FIN, after what was written."""
        self.transport.close()
        await self._closed()

    async def reset(self) -> None:
        """RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
        await self._closed()

    async def abort(self) -> None:
        """Breaks off whatever is going on, and returns when it has ended."""
        # asyncio's TLS transport in Python 3.11 has forgotten its protocol when it was closed twice before.
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
