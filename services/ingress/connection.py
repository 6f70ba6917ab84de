"""One connection: reads lines and content, writes replies, handles TLS, flow control and time-outs, and closes."""

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

# Reading stops when the buffer is larger than the first value, and continues below the second.
_HIGH_WATER = 64 * 1024
_LOW_WATER = 16 * 1024
_OUTBOX_OCTETS = 32 * 1024
# Content is processed in portions of about this size, which is much less than the limit for reading.
GATHER_OCTETS = 32 * 1024
END_OF_DATA = b"\r\n.\r\n"
# After our last reply, at most this many octets are still read, for at most this time, so that the client gets the
# reply.
_LINGER_OCTETS = 4 * 1024 * 1024
_LINGER_SECONDS = 3.0
_FOREVER = float("inf")

T = TypeVar("T")


class Connection(SMTP):
    """The server's end of one TCP connection. Its task runs `serve`.

    Like aiosmtpd's SMTP, it is a protocol object of the event loop, and also the reader and writer of one coroutine. It
    has the attributes that a site's handler may read (`handler.server`). These parts of aiosmtpd are replaced, for the
    reasons in docs/cases.md, P1 to P20: the StreamReader, in whose place there is one buffer of bounded size that is
    searched in bulk (P1); bare LF as a line end (P13); the cancellation of running work when the client disconnects
    (P3); a timer that also ends our own work (P2); TLS that forgets the peer's address (P4); and the inspection of
    handler and methods at every connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        metrics: Metrics,
        serve: Callable[[Connection], Coroutine[Any, Any, None]],
        lost: Callable[[Connection], None],
    ) -> None:
        # SMTP.__init__ is not called, because it makes objects that are replaced here, which takes much time for each
        # connection.
        self.event_loop = loop
        self._metrics = metrics
        self._serve = serve
        self._on_lost = lost
        # The received octets that were not processed yet. Callers may read this buffer, which is always the same
        # object.
        self.pending = bytearray()

    # These defaults are class attributes, which saves time because most connections never change them.
    _socket: asyncio.Transport | None = None
    _searched = 0
    # The octets that wait to be sent.
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
    # Whether the client has closed its side, so that no more data will arrive. The client may still read.
    ended = False
    # Whether the connection is lost, so that nothing can be sent.
    lost = False
    # During content: the number of octets to wait for, whether the final dot ends the wait, and the octets that were
    # there when the wait began.
    _gather = 0
    _until_dot = False
    _seen = 0
    # At this time every wait for the client ends, even if its own deadline is later.
    session_deadline = _FOREVER
    received = 0

    @property
    def socket_transport(self) -> asyncio.Transport | None:
        """Returns the transport below TLS, or None before there is one."""
        return self._socket

    @property
    def tls_object(self) -> ssl.SSLObject | None:
        """Returns the TLS layer, or None before the handshake is done."""
        return self._tls.ssl_object if self._tls is not None and not self._handshaking else None

    # The methods below are called by the event loop.

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
        """Whether enough of the content, or a possible end of the content, has arrived."""
        buffer = self.pending
        if len(buffer) >= self._gather or not self._until_dot or buffer.startswith(b"."):
            return len(buffer) >= self._gather or self._until_dot
        # The end is searched first at its most likely position, because a search looks at every line.
        has_end = buffer.endswith(END_OF_DATA) or buffer.find(END_OF_DATA, self._searched) >= 0
        self._searched = max(0, len(buffer) - len(END_OF_DATA) + 1)
        return has_end

    def eof_received(self) -> bool:
        self.ended = True
        if self._closing and self._socket is not None:
            self._socket.close()
        self._wake()
        # Our side stays open: the client may have sent everything, and wait for the answers (C34).
        return not self._closing

    def connection_lost(self, _error: Exception | None) -> None:
        self.ended = self.lost = True
        self._writing_paused = False
        self._outbox = b""
        # Nobody will read the remaining octets.
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
        """Returns the next line without its CRLF, or None while it is incomplete. Raises LineTooLongError above `limit`
        octets.

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
        """Removes octets from the front of `pending`."""
        del self.pending[:octets]
        self._searched = 0
        if self._reading_paused and len(self.pending) < _LOW_WATER:
            self._resume_reading()

    def more(self, deadline: float) -> asyncio.Future[None]:
        """Sends the waiting octets, and then waits for a change: more octets, the end, or a wake-up. `deadline` is a
        time of the event loop's clock. Raises GoneError when nothing more can arrive, and TimedOutError.
        """
        if self._outbox:
            self.flush()
        if self.ended:
            raise GoneError
        return self._wait(deadline)

    def more_content(
        self, deadline: float, octets: int = GATHER_OCTETS, *, until_dot: bool = False
    ) -> asyncio.Future[None]:
        """Waits as `more` does, but for several segments, because a wake-up for each segment costs more than reading
        it. Returns when `octets` have arrived. With `until_dot` it also returns when a possible end of data has
        arrived. At the deadline it returns if anything has arrived.
        """
        self._gather, self._until_dot = min(octets, GATHER_OCTETS), until_dot
        self._seen = self.received
        return self.more(deadline)

    @property
    def congested(self) -> bool:
        """Whether the client does not read our replies."""
        return self._writing_paused

    async def decongested(self, deadline: float) -> None:
        """Waits until the client reads our replies. Raises GoneError, TimedOutError."""
        while self._writing_paused and not self.lost:
            await self._wait(deadline)

    def _wait(self, deadline: float) -> asyncio.Future[None]:
        # This is not a coroutine, because a coroutine would cost time at every wake-up.
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
            # The waiting caller was cancelled.
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)

    def check_deadline(self, now: float) -> None:
        """Ends a wait that lasted too long. It is called regularly for every connection."""
        if self._deadline > now:
            return
        if self._waiter is None:
            if self._closing:
                self._abort()
        elif self._gather and self.received > self._seen and self.session_deadline > now:
            # The caller that waits decides whether the client was fast enough.
            self._wake()
        else:
            self._wake(TimedOutError())

    def expire(self) -> None:
        """Ends the present wait for the client, if there is one, as if its deadline had passed."""
        self._wake(TimedOutError())

    def cut(self) -> None:
        """Cancels the session's task and resets the connection."""
        if self.task is not None:
            self.task.cancel()
        self._abort()

    def wake(self) -> None:
        """Makes `more` return, so that its caller checks the state again."""
        self._wake()

    async def while_there(self, work: Coroutine[Any, Any, T]) -> T:
        """Returns the result of `work`. When the connection breaks, `work` is cancelled and GoneError is raised.

        Use it for expensive work that is useless without the client. A client that has only closed its side is still
        connected.
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
        """Adds a reply to the replies that wait to be sent together (RFC 2920 3.2)."""
        self._metrics.replies[reply.code] += 1
        self._outbox += reply.line()
        if len(self._outbox) > _OUTBOX_OCTETS:
            self.flush()

    def send(self, octets: bytes) -> None:
        """Adds octets to the octets that wait to be sent."""
        self._outbox += octets
        if len(self._outbox) > _OUTBOX_OCTETS:
            self.flush()

    def flush(self) -> None:
        """Sends the waiting octets."""
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
        """Sends the waiting octets, ends TLS, and closes. With `linger`, only our side is closed at first, and data
        from the client is discarded for a while. Closing with unread octets would reset the connection, and the client
        might not get the last reply.
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
        """Makes the TLS handshake. From then on all data is encrypted. Raises HandshakeError, GoneError, TimedOutError.

        `leftover` is ciphertext that was already received. The rest of the buffer is dropped, because plaintext from
        before the handshake must never be treated as encrypted data (C74).
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
        """Ends a connection whose TLS has failed."""
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
        """Returns the ends of the TCP connection, with canonical addresses, or None when it is already closed."""
        if self._socket is None:
            return None
        remote, local = self._socket.get_extra_info("peername"), self._socket.get_extra_info("sockname")
        if not remote or not local:
            return None
        return Peer(canonical(remote[0]), remote[1], canonical(local[0]), local[1])
