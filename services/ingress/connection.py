"""The octets of one connection: lines and data in, replies out, TLS between, flow control, time-outs, the end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from aiosmtpd.smtp import SMTP

from libs.smtp.reply import Reply
from services.ingress.connection_errors import GoneError, HandshakeError, LineTooLongError, TimedOutError
from services.ingress.metrics import Metrics
from services.ingress.session import Peer, Tls
from services.ingress.tls import TlsFilter

# Reading stops above, and goes on below.
_HIGH_WATER = 64 * 1024
_LOW_WATER = 16 * 1024
_OUTBOX_OCTETS = 32 * 1024
# Content is looked at in portions of about this size; well below what stops reading.
GATHER_OCTETS = 32 * 1024
END_OF_DATA = b"\r\n.\r\n"
# After our last reply: how much is still read, and for how long, so that the reply arrives.
_LINGER_OCTETS = 4 * 1024 * 1024
_LINGER_SECONDS = 3.0
_FOREVER = float("inf")

T = TypeVar("T")


class Connection(SMTP):
    """A server's end of one TCP connection, with what `serve` does with it as its task.

    Of aiosmtpd's SMTP it keeps the place in the event loop, the shape (a protocol object that is also the reader and
    writer of one coroutine), and what a site's handler may read of it (`handler.server`). Replaced is what was found
    wanting (docs/cases.md, P1 to P20): the line-wise StreamReader by one buffer that is searched in bulk and never
    grows without bounds (P1), bare LF as a line end (P13), cancelling what runs when the client leaves (P3), a timer
    that also cuts off our own work (P2), TLS that forgets the peer (P4), inspection of handler and methods at every
    connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        metrics: Metrics,
        serve: Callable[[Connection], Coroutine[Any, Any, None]],
        lost: Callable[[Connection], None],
    ) -> None:
        # SMTP.__init__ is not called: it makes what is replaced here, at a high price per connection.
        self.event_loop = loop
        self._metrics = metrics
        self._serve = serve
        self._on_lost = lost
        # Received octets that were not taken yet. Callers may read it; it is always the same object.
        self.pending = bytearray()

    # Defaults as class attributes: saves time, since most connections never change them.
    _socket: asyncio.Transport | None = None
    _searched = 0
    # Octets that wait to be sent.
    _outbox = b""
    _waiter: asyncio.Future[None] | None = None
    _deadline = _FOREVER
    _tls: TlsFilter | None = None
    _handshaking = False
    _reading_paused = False
    _writing_paused = False
    _closing = False
    _lingered = 0
    task: asyncio.Task[None] | None = None
    _work: asyncio.Task[Any] | None = None
    # The client has ended its side, so no more will come. It may still read.
    ended = False
    # The connection is gone, so nothing can be sent.
    lost = False
    # While content comes: how much of it to wait for, whether up to its dot, and what had come when the wait began.
    _gather = 0
    _until_dot = False
    _seen = 0
    # Ends every wait for the client once past, whatever its own deadline.
    session_deadline = _FOREVER
    received = 0

    @property
    def socket_transport(self) -> asyncio.Transport | None:
        """The transport below TLS; None before there is one."""
        return self._socket

    @property
    def tls_object(self) -> ssl.SSLObject | None:
        """The TLS that is on; None before the handshake is done."""
        return self._tls.ssl_object if self._tls is not None and not self._handshaking else None

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast("asyncio.Transport", transport)
        self.task = self.event_loop.create_task(self._serve(self))

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self._closing:
            self._lingered += len(data)
            if self._lingered > _LINGER_OCTETS:
                self._abort()
            return
        if self._tls is None:
            self.pending += data
        else:
            self._tls.take_in(data)
            if not self._handshaking:
                self._decipher()
        if len(self.pending) > _HIGH_WATER or (self._tls is not None and self._tls.waiting_octets > _HIGH_WATER):
            self._pause_reading()
        if self._waiter is not None and (not self._gather or self._gathered()):
            self._wake()

    def _gathered(self) -> bool:
        """Whether enough of the content is there to look at, or what may be its end."""
        buffer = self.pending
        if len(buffer) >= self._gather or not self._until_dot or buffer.startswith(b"."):
            return len(buffer) >= self._gather or self._until_dot
        # The end is looked for first where it mostly is, since a search goes through each line.
        has_end = buffer.endswith(END_OF_DATA) or buffer.find(END_OF_DATA, self._searched) >= 0
        self._searched = max(0, len(buffer) - len(END_OF_DATA) + 1)
        return has_end

    def eof_received(self) -> bool:
        self.ended = True
        if self._closing and self._socket is not None:
            self._socket.close()
        self._wake()
        # Keep our side open: the client may have sent all it wants to say and now wait for the answers (C34).
        return not self._closing

    def connection_lost(self, _error: Exception | None) -> None:
        self.ended = self.lost = True
        self._writing_paused = False
        self._outbox = b""
        # Nobody will read what is left.
        self.pending.clear()
        self._wake(GoneError())
        if self._work is not None:
            self._work.cancel()
        self._on_lost(self)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._wake()

    # Reading.

    def take_line(self, limit: int) -> bytes | None:
        """The next line without its CRLF; None when it is not whole yet. Raises LineTooLongError above `limit` octets.

        Only CRLF ends a line (P13). An over-long line is removed when it is complete.
        """
        buffer = self.pending
        end = buffer.find(b"\r\n", self._searched)
        if end < 0:
            self._searched = max(0, len(buffer) - 1)
            if len(buffer) > limit:
                raise LineTooLongError(buffer)
            return None
        line = bytes(buffer[:end])
        del buffer[: end + 2]
        self._searched = 0
        if self._reading_paused and len(buffer) < _LOW_WATER:
            self._resume_reading()
        if end > limit:
            raise LineTooLongError(line)
        return line

    def drop(self, octets: int) -> None:
        """Takes octets off the front of `pending`."""
        del self.pending[:octets]
        self._searched = 0
        if self._reading_paused and len(self.pending) < _LOW_WATER:
            self._resume_reading()

    def more(self, deadline: float) -> asyncio.Future[None]:
        """Sends what is ready, then waits for something to change: more octets, the end, a wake-up.

        `deadline` in the loop's time. Raises GoneError when nothing more can come, TimedOutError.
        """
        if self._outbox:
            self.flush()
        if self.ended:
            raise GoneError
        return self._wait(deadline)

    def more_content(
        self, deadline: float, octets: int = GATHER_OCTETS, *, until_dot: bool = False
    ) -> asyncio.Future[None]:
        """As `more`, but lets octets gather first: waking up for each segment costs more than reading it.

        Returns when `octets` are there, with `until_dot` when what may be the end of data is, and at the deadline when
        anything came at all.
        """
        self._gather, self._until_dot = min(octets, GATHER_OCTETS), until_dot
        self._seen = self.received
        return self.more(deadline)

    @property
    def congested(self) -> bool:
        """Whether the client does not read what it is sent."""
        return self._writing_paused

    async def decongested(self, deadline: float) -> None:
        """Waits until the client reads what it is sent. Raises GoneError, TimedOutError."""
        while self._writing_paused and not self.lost:
            await self._wait(deadline)

    def _wait(self, deadline: float) -> asyncio.Future[None]:
        # Not a coroutine, since each one would cost time at every wake-up.
        self._deadline = min(deadline, self.session_deadline)
        self._waiter = waiter = self.event_loop.create_future()
        return waiter

    def _wake(self, error: Exception | None = None) -> None:
        """Ends the wait for the client, if there is one."""
        waiter, self._waiter = self._waiter, None
        if waiter is None:
            return
        self._deadline = _FOREVER
        if self._gather:
            self._gather = self._searched = 0
        if waiter.done():
            # Whoever waited was cancelled.
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)

    def check_deadline(self, now: float) -> None:
        """Called every now and then for every connection: ends a wait that lasted too long."""
        if self._deadline > now:
            return
        if self._waiter is None:
            if self._closing:
                self._abort()
        elif self._gather and self.received > self._seen and self.session_deadline > now:
            # Whoever waits decides whether that was fast enough.
            self._wake()
        else:
            self._wake(TimedOutError())

    def expire(self) -> None:
        """Ends the present wait for the client, if there is one, as if its deadline were past."""
        self._wake(TimedOutError())

    def cut(self) -> None:
        """Cancels the session's task and resets the connection."""
        if self.task is not None:
            self.task.cancel()
        self._abort()

    def wake(self) -> None:
        """Makes `more` return, so that its caller looks at the world again."""
        self._wake()

    async def while_there(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`. When the connection breaks meanwhile, `work` is cancelled and GoneError raised.

        Use it for expensive work that is of no use without the client. A client that has only ended its side is still
        there.
        """
        self._work = task = self.event_loop.create_task(work)
        try:
            return await task
        except asyncio.CancelledError:
            if self.lost and not ((current := asyncio.current_task()) and current.cancelling()):
                raise GoneError from None
            raise
        finally:
            self._work = None

    # Writing.

    def reply(self, reply: Reply) -> None:
        """Puts a reply behind those that wait to be sent together (RFC 2920 3.2)."""
        self._metrics.replies[reply.code] += 1
        self._outbox += reply.line()
        if len(self._outbox) > _OUTBOX_OCTETS:
            self.flush()

    def send(self, octets: bytes) -> None:
        """Puts octets behind those that wait to be sent."""
        self._outbox += octets
        if len(self._outbox) > _OUTBOX_OCTETS:
            self.flush()

    def flush(self) -> None:
        """Sends the octets that wait."""
        octets = self._outbox
        if not octets:
            return
        self._outbox = b""
        self._metrics.octets_sent += len(octets)
        if self.lost or self._socket is None:
            return
        if self._tls is not None:
            try:
                self._tls.write(octets)
            except ssl.SSLError:
                self._fail()
                return
            octets = self._tls.take_out()
        self._socket.write(octets)

    def close(self, *, linger: bool = False) -> None:
        """Sends what waits, says goodbye in TLS, closes.

        With `linger`, our side is closed and what the client still sends is thrown away for a while: closing with
        unread octets would reset the connection, and the client might never see the last reply.
        """
        if self._closing:
            return
        self.flush()
        self._closing = True
        self._waiter = None
        self.pending.clear()
        if self._socket is None or self.lost:
            return
        if self._tls is not None and not self._handshaking:
            self._tls.end()
            self._send_ciphertext()
        if self._writing_paused:
            # A client that does not read its replies must not keep the connection open.
            self._abort()
        elif linger and not self.ended:
            self._deadline = self.event_loop.time() + _LINGER_SECONDS
            if self._reading_paused:
                self._reading_paused = False
                self._socket.resume_reading()
            self._socket.write_eof()
        else:
            self._socket.close()

    def _abort(self) -> None:
        if self._socket is not None and not self.lost:
            self._socket.abort()

    # TLS.

    async def start_tls(self, context: ssl.SSLContext, deadline: float, *, leftover: bytes = b"") -> Tls:
        """Makes the handshake; from then on all is enciphered. Raises HandshakeError, GoneError, TimedOutError.

        `leftover`: ciphertext that was already received. Nothing else of the buffer survives: what came in plaintext
        before the handshake must never be taken for a part of it (C74).
        """
        self.flush()
        self.pending.clear()
        self._searched = 0
        self._tls = tls = TlsFilter(context)
        self._handshaking = True
        if leftover:
            tls.take_in(leftover)
        if self._reading_paused:
            self._resume_reading()
        try:
            while not tls.handshake():
                self._send_ciphertext()
                await self.more(deadline)
        except ssl.SSLError as error:
            self._metrics.handshake_failures += 1
            self._send_ciphertext()
            raise HandshakeError(error.reason or "handshake failed") from error
        self._handshaking = False
        self._send_ciphertext()
        self._decipher()
        return tls.state()

    def _send_ciphertext(self) -> None:
        if self._tls is not None and self._socket is not None and not self.lost and (out := self._tls.take_out()):
            self._socket.write(out)

    def _decipher(self) -> None:
        assert self._tls is not None  # noqa: S101
        try:
            plaintext, ended = self._tls.read()
        except ssl.SSLError:
            self._fail()
            return
        self.pending += plaintext
        self._send_ciphertext()
        if ended:
            self.ended = True

    def _fail(self) -> None:
        """Ends a connection whose enciphered octets cannot be read."""
        self.ended = True
        self._abort()

    def _pause_reading(self) -> None:
        if not self._reading_paused and self._socket is not None and not self.lost:
            self._reading_paused = True
            self._socket.pause_reading()

    def _resume_reading(self) -> None:
        self._reading_paused = False
        if self._socket is not None and not self.lost and not self._closing:
            self._socket.resume_reading()

    def peer(self, canonical: Callable[[str], str]) -> Peer | None:
        """The ends of the TCP connection, their addresses made canonical; None when it is gone already."""
        if self._socket is None:
            return None
        remote, local = self._socket.get_extra_info("peername"), self._socket.get_extra_info("sockname")
        if not remote or not local:
            return None
        return Peer(canonical(remote[0]), remote[1], canonical(local[0]), local[1])
