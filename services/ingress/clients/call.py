"""One streaming gRPC call over a connection of `http2`: messages in their frames, flow control, how it ends."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from libs.runtime import rpc

if TYPE_CHECKING:
    from services.ingress.clients.http2 import Connection

# The heads of a DATA frame and of the one message in it.
_HEAD = struct.Struct(">HBBBIBI")
_PREFIX_OCTETS = 5

_STATUS = (
    "ok", "cancelled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists",
    "permission_denied", "resource_exhausted", "failed_precondition", "aborted", "out_of_range", "unimplemented",
    "internal", "unavailable", "data_loss", "unauthenticated",
)  # fmt: skip
# What a server or proxy means that answers in HTTP, as gRPC has it.
_OF_HTTP = {
    b"400": "internal", b"401": "unauthenticated", b"403": "permission_denied", b"404": "unimplemented",
    b"429": "unavailable", b"502": "unavailable", b"503": "unavailable", b"504": "unavailable",
}  # fmt: skip


class ProtocolError(Exception):
    """The other side does not speak HTTP/2 as it should."""


class Call:
    """One call that streams both ways. Its end comes once, with gRPC's name of the status in lower case."""

    def __init__(
        self,
        connection: Connection,
        number: int,
        decode: Callable[[bytes], Any],
        received: Callable[[Any], None],
        ended: Callable[[str], None],
        room: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._number = number
        self._decode = decode
        self._received = received
        self._ended = ended
        self._room = room
        # What the other side had no room for yet.
        self._outbox: deque[memoryview] = deque()
        self._finishing = False
        self._over = False
        # How much more it takes on this stream, and how much it may not send until it is told so.
        self.window = connection.initial_window
        self.owed = 0
        # A message that is not whole yet.
        self._partial = bytearray()

    @property
    def congested(self) -> bool:
        """Whether what was sent last has not left yet."""
        return bool(self._outbox) or self._connection.congested

    def send(self, message: bytes) -> None:
        """Writes a message, or as much of it as the other side takes now; the rest follows when it may."""
        if self._over:
            return
        connection, octets = self._connection, len(message) + _PREFIX_OCTETS
        if not self._outbox and octets <= min(self.window, connection.window, connection.max_frame):
            self.window -= octets
            connection.window -= octets
            # An HTTP/2 frame with one message, whole.
            head = _HEAD.pack(octets >> 8, octets & 0xFF, 0, 0, self._number, 0, len(message))
            connection.write(head + message)
            return
        self._outbox += (memoryview(b"\0" + len(message).to_bytes(4, "big")), memoryview(message))
        self.pump()

    def finish(self) -> None:
        """No more will be sent; what comes is still taken."""
        self._finishing = True
        if not self._outbox:
            self._say_finished()

    def cancel(self, reason: str = "cancelled") -> None:
        """Ends the call, for `reason`; nothing when it is over."""
        if not self._over:
            self._connection.reset(self._number)
            self.end(reason)

    def end(self, reason: str) -> None:
        if not self._over:
            self.drop()
            self._ended(reason)

    def drop(self) -> None:
        """Ends it without a word."""
        self._over = True
        self._outbox.clear()
        self._connection.forget(self._number)

    def pump(self) -> None:
        """Sends of the outbox what there is room for."""
        outbox, connection = self._outbox, self._connection
        waited = bool(outbox)
        while outbox:
            octets = outbox[0]
            length = min(len(octets), self.window, connection.window, connection.max_frame)
            if length <= 0:
                return
            self.window -= length
            connection.window -= length
            connection.send(self._number, octets[:length])
            if length == len(octets):
                outbox.popleft()
            else:
                outbox[0] = octets[length:]
        if waited and self._finishing:
            self._say_finished()
        if not connection.congested:
            self._room()

    def _say_finished(self) -> None:
        if not self._over:
            self._connection.send(self._number, b"", last=True)

    # What the connection brings.

    def take(self, octets: bytes) -> None:
        """Raises ProtocolError."""
        if self._partial:
            self._partial += octets
            octets = bytes(self._partial)
            self._partial.clear()
        position, end = 0, len(octets)
        while end - position >= _PREFIX_OCTETS and not self._over:
            length = int.from_bytes(octets[position + 1 : position + _PREFIX_OCTETS], "big")
            if octets[position] or length > rpc.MAX_MESSAGE_OCTETS:
                raise ProtocolError("a message that is compressed or too long")
            start = position + _PREFIX_OCTETS
            if end - start < length:
                break
            position = start + length
            try:
                message = self._decode(octets[start:position])
            except Exception as error:  # whatever a decoder raises
                raise ProtocolError("a message that is none") from error
            self._received(message)
        self._partial += octets[position:]

    def answered(self, fields: dict[bytes, bytes], *, last: bool) -> None:
        """Headers or trailers came."""
        status, http = fields.get(b"grpc-status"), fields.get(b":status", b"200")
        if status is not None and last:
            known = status.isdigit() and int(status) < len(_STATUS)
            self.end(_STATUS[int(status)] if known else "unknown")
        elif http != b"200" and not http.startswith(b"1"):
            self.end(_OF_HTTP.get(http, "unknown"))
        elif last:
            self.end("unknown")
