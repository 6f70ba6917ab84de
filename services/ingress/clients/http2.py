"""Streaming gRPC calls over one HTTP/2 connection (RFC 9113), on the event loop itself.

grpc.aio passes each message to threads of its own and back, and wakes a task for it: a question and its answer cost
48 us of CPU there and 14 us here. What calls to our own services take, and no more: no push, compression or priorities.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Callable
from typing import Any, cast

from libs.runtime import rpc
from libs.runtime.endpoints import Endpoint
from libs.runtime.lifecycle import StartupError
from services.ingress.clients import hpack
from services.ingress.clients.call import Call, ProtocolError

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PUSH_PROMISE, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = (
    0, 1, 3, 4, 5, 6, 7, 8, 9,
)  # fmt: skip
_ACK = _END_STREAM = 0x1
_END_HEADERS, _PADDED, _PRIORITY = 0x4, 0x8, 0x20
_HEAD = struct.Struct(">HBBBI")
_SETTING = struct.Struct(">HI")
_HEADER_TABLE_SIZE, _ENABLE_PUSH, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 1, 2, 4, 5
_CANCEL = (0x8).to_bytes(4, "big")
# What a reset means, as gRPC has it.
_OF_RESET = {7: "unavailable", 8: "cancelled", 11: "resource_exhausted", 12: "permission_denied"}
# Before the other side says otherwise, and what is taken from it.
_DEFAULT_WINDOW = 65_535
_FRAME_OCTETS = 16_384
_MAX_WINDOW = 2**31 - 1
_WINDOW = 1024 * 1024
_HEADER_OCTETS = 64 * 1024
# As the channels of libs.runtime.rpc: silent for so long, the other side is asked, and given up when it says nothing.
_PING_SECONDS = 20.0
_ANSWER_SECONDS = 10.0


class Connection(asyncio.Protocol):
    """A client's end of one connection, with the calls on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, scheme: bytes, authority: bytes) -> None:
        self._loop = loop
        self._scheme = scheme
        self._authority = authority
        self._transport: asyncio.Transport | None = None
        self._calls: dict[int, Call] = {}
        self._next = 1
        # A frame that is not whole yet.
        self._rest = b""
        # A header block that is not: stream, whether its last, and what came of it.
        self._block: tuple[int, bool, bytes] | None = None
        self.window = self.initial_window = _DEFAULT_WINDOW
        self.max_frame = _FRAME_OCTETS
        self._owed = 0
        # Its socket takes no more for now.
        self.congested = False
        # No further call is taken; those that there are go on.
        self.going_away = False
        self._heard = True
        self._timer: asyncio.TimerHandle | None = None

    def call(
        self,
        path: str,
        decode: Callable[[bytes], Any],
        received: Callable[[Any], None],
        ended: Callable[[str], None],
        room: Callable[[], None] = lambda: None,
    ) -> Call:
        """Begins a call. `received` gets each message as `decode` makes it of its octets, `ended` why it is over;
        `room` is called when a call that was congested may be so no more.
        """
        number = self._next
        self._next += 2
        call = Call(self, number, decode, received, ended, room)
        if self._transport is None or self.going_away:
            self._loop.call_soon(call.end, "unavailable")
            return call
        self._calls[number] = call
        fields = (
            (b":method", b"POST"),
            (b":scheme", self._scheme),
            (b":path", path.encode("ascii")),
            (b":authority", self._authority),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"user-agent", b"posthouse-ingress"),
        )
        self.frame(_HEADERS, _END_HEADERS, number, hpack.encoded(fields))
        return call

    def close(self) -> None:
        """Ends the connection and, without a word, what calls there are."""
        for call in list(self._calls.values()):
            call.drop()
        if self._transport is not None:
            if self.congested:
                self._transport.abort()
            else:
                self._transport.close()

    # For calls.

    def write(self, octets: bytes) -> None:
        if self._transport is not None:
            self._transport.write(octets)

    def frame(self, kind: int, flags: int, number: int, payload: bytes | memoryview) -> None:
        octets = len(payload)
        self.write(_HEAD.pack(octets >> 8, octets & 0xFF, kind, flags, number) + payload)

    def send(self, number: int, octets: bytes | memoryview, *, last: bool = False) -> None:
        self.frame(_DATA, _END_STREAM if last else 0, number, octets)

    def reset(self, number: int) -> None:
        self.frame(_RST_STREAM, 0, number, _CANCEL)

    def forget(self, number: int) -> None:
        self._calls.pop(number, None)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        settings = {_HEADER_TABLE_SIZE: 0, _ENABLE_PUSH: 0, _INITIAL_WINDOW_SIZE: _WINDOW}
        self.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.frame(_SETTINGS, 0, 0, b"".join(_SETTING.pack(*each) for each in settings.items()))
        self.frame(_WINDOW_UPDATE, 0, 0, (_WINDOW - _DEFAULT_WINDOW).to_bytes(4, "big"))
        self._timer = self._loop.call_later(_PING_SECONDS, self._listen)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        for call in list(self._calls.values()):
            call.end("unavailable")

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        self._pump()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        try:
            while end - position >= _HEAD.size:
                high, low, kind, flags, number = _HEAD.unpack_from(data, position)
                octets = high << 8 | low
                if octets > _FRAME_OCTETS:
                    raise ProtocolError("a frame that is too long")
                start = position + _HEAD.size
                if end - start < octets:
                    break
                position = start + octets
                self._take(kind, flags, number & _MAX_WINDOW, data[start:position])
        except (ProtocolError, hpack.HeaderError):
            self._give_up()
            return
        self._rest = data[position:]

    def _listen(self) -> None:
        """Now and then: a machine that is gone says nothing."""
        if self._heard:
            self._heard = False
            self._timer = self._loop.call_later(_PING_SECONDS, self._listen)
        else:
            self.frame(_PING, 0, 0, bytes(8))
            self._timer = self._loop.call_later(_ANSWER_SECONDS, self._doubt)

    def _doubt(self) -> None:
        if self._heard:
            self._listen()
        else:
            self._give_up()

    def _give_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # Frames.

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """Raises ProtocolError, HeaderError."""
        if self._block is not None and kind != _CONTINUATION:
            raise ProtocolError("a header block that is broken off")
        if kind == _DATA:
            self._data(flags, number, payload)
        elif kind in (_HEADERS, _CONTINUATION):
            self._headers(kind, flags, number, payload)
        elif kind == _WINDOW_UPDATE:
            self._more_room(number, int.from_bytes(payload, "big") & _MAX_WINDOW)
        elif kind == _PING:
            if not flags & _ACK:
                self.frame(_PING, _ACK, 0, payload)
        elif kind == _SETTINGS:
            if not flags & _ACK:
                self._settings(payload)
        elif kind == _RST_STREAM:
            if (call := self._calls.get(number)) is not None:
                call.end(_OF_RESET.get(int.from_bytes(payload, "big"), "internal"))
        elif kind == _GOAWAY:
            self.going_away = True
            last = int.from_bytes(payload[:4], "big") & _MAX_WINDOW
            for each in [each for each in self._calls if each > last]:
                self._calls[each].end("unavailable")
        elif kind == _PUSH_PROMISE:
            raise ProtocolError("a push")

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        octets = len(payload)
        self._owed += octets
        if self._owed > _WINDOW // 2:
            self.frame(_WINDOW_UPDATE, 0, 0, self._owed.to_bytes(4, "big"))
            self._owed = 0
        call = self._calls.get(number)
        if call is None:
            return
        call.take(_unpadded(payload) if flags & _PADDED else payload)
        if flags & _END_STREAM:
            call.end("unknown")
            return
        call.owed += octets
        if call.owed > _WINDOW // 2 and number in self._calls:
            self.frame(_WINDOW_UPDATE, 0, number, call.owed.to_bytes(4, "big"))
            call.owed = 0

    def _headers(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == _HEADERS:
            if flags & _PADDED:
                payload = _unpadded(payload)
            if flags & _PRIORITY:
                payload = payload[5:]
            last = bool(flags & _END_STREAM)
        else:
            if self._block is None or self._block[0] != number:
                raise ProtocolError("a continuation of nothing")
            last, payload = self._block[1], self._block[2] + payload
            self._block = None
        if len(payload) > _HEADER_OCTETS:
            raise ProtocolError("a header that is too long")
        if not flags & _END_HEADERS:
            self._block = number, last, payload
            return
        fields = dict(hpack.decoded(payload))
        if (call := self._calls.get(number)) is not None:
            call.answered(fields, last=last)

    def _settings(self, payload: bytes) -> None:
        if len(payload) % _SETTING.size:
            raise ProtocolError("half a setting")
        for name, value in _SETTING.iter_unpack(payload):
            if name == _INITIAL_WINDOW_SIZE:
                if value > _MAX_WINDOW:
                    raise ProtocolError("a window that is too large")
                for call in self._calls.values():
                    call.window += value - self.initial_window
                self.initial_window = value
            elif name == _MAX_FRAME_SIZE:
                self.max_frame = value
        self.frame(_SETTINGS, _ACK, 0, b"")
        self._pump()

    def _more_room(self, number: int, octets: int) -> None:
        if not number:
            self.window += octets
            self._pump()
        elif (call := self._calls.get(number)) is not None:
            call.window += octets
            call.pump()

    def _pump(self) -> None:
        for call in list(self._calls.values()):
            call.pump()


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise ProtocolError("more padding than there is")
    return payload[1 : len(payload) - payload[0]]


async def connect(endpoint: Endpoint, tls: rpc.TlsFiles | None) -> Connection:
    """To one replica. The certificate files are read now. Raises OSError, and StartupError when they can't be read."""
    loop = asyncio.get_running_loop()
    host, _, port = endpoint.address.rpartition(":")
    host = host.strip("[]")
    if tls is None:
        authority = endpoint.address.encode("ascii")
        _, connection = await loop.create_connection(lambda: Connection(loop, b"http", authority), host, int(port))
        return connection
    name = endpoint.name or host
    _, connection = await loop.create_connection(
        lambda: Connection(loop, b"https", name.encode("idna")),
        host,
        int(port),
        ssl=_context(tls),
        server_hostname=name,
    )
    return connection


def _context(tls: rpc.TlsFiles) -> ssl.SSLContext:
    tls.check()
    try:
        context = ssl.create_default_context(cafile=tls.authority)
        context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:
        raise StartupError(f"gRPC TLS: {tls.certificate}: {error.strerror}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context
