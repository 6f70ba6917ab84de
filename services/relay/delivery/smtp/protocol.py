"""The connection to a server: it sends commands and reads replies, with several commands in flight. It extends the
protocol of aiosmtplib.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import cast

from aiosmtplib.protocol import SMTPProtocol

from services.relay.delivery.smtp.replies import MalformedReplyError, ReplyReader
from services.relay.delivery.targets.tls import TlsPlan
from services.relay.model.outcome import Reply

# The content is written in pieces of this many octets, so that relay notices when the peer receives none for too long
# (C49).
_BLOCK = 65_536
_QUIT_SECONDS = 5.0


class ConnectionFailedError(Exception):
    """The connection cannot be used any more: the peer closed it, was silent too long, or sent something that is not
    SMTP (C121).
    """

    def __init__(self, what: str, error: str) -> None:
        super().__init__(f"{what}: {error}")
        self.what = what
        self.error = error


class DeliveryProtocol(SMTPProtocol):
    """The protocol of aiosmtplib, extended so that many replies may be outstanding, for PIPELINING and LMTP.

    After the first failure only replies that have already arrived can be read, so that a late reply is never taken for
    the answer to a later command (C121). Data that arrives while no reply is due is dropped, and the connection is not
    used again. Data after the answer to STARTTLS is only dropped, because it was sent before the handshake (C125).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._reader = ReplyReader()
        self._replies: deque[Reply] = deque()
        # The number of replies that the server still has to send. The greeting is the first.
        self._due = 1
        self._waiter: asyncio.Future[None] | None = None
        # The time of the loop's clock at which the awaited answer is too late. 0 means that no answer is awaited.
        self._deadline = 0.0
        # Each connection has one timer. It fires at the deadline or earlier, and is then set again (see `_alarm`).
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._failure: ConnectionFailedError | None = None
        # This is true from STARTTLS to the end of the handshake.
        self._upgrading = False
        # Whether the server sent more than it was asked for. The replies so far are valid, but the connection is not
        # used again.
        self._tainted = False

    @property
    def usable(self) -> bool:
        """Whether the connection is open, has no outstanding reply, and received nothing unexpected."""
        if self._due or self._replies or self._tainted or self._failure is not None:
            return False
        return self.transport is not None and not self.transport.is_closing()

    @property
    def local_address(self) -> str:
        """Returns this gateway's own address in the connection. The result is empty when the connection has none or is
        closed.
        """
        name = self.transport.get_extra_info("sockname") if self.transport is not None else None
        return str(name[0]) if isinstance(name, tuple) else ""

    def send(self, commands: bytes, replies: int) -> None:
        """Writes one or more whole command lines, for which the server will send `replies` replies.

        Raises ConnectionFailedError.
        """
        transport = self._open()
        self._due += replies
        transport.write(commands)

    def send_short(self, start: bytes, content: bytes, end: bytes, replies: int) -> bool:
        """Writes the data at once, without a copy and without waiting. Returns False when the data is too long for
        that.

        Raises ConnectionFailedError.
        """
        if len(content) > _BLOCK:
            return False
        transport = self._open()
        self._due += replies
        transport.writelines((start, content, end) if start else (content, end))
        return True

    async def send_content(self, start: bytes, content: bytes, end: bytes, seconds: float, replies: int) -> bool:
        """Writes `start`, the content and `end`. `seconds` is the longest time for which the peer may receive no data.

        Returns False when a reply came before the end of the content. Then the rest is not sent, and the connection
        cannot be used again. Raises ConnectionFailedError when the peer cannot have received the whole content.
        """
        transport = self._open()
        self._due += replies
        if start:
            transport.write(start)
        view = memoryview(content)
        last = len(view) - _BLOCK
        for position in range(0, last, _BLOCK):
            transport.write(view[position : position + _BLOCK])
            if self._paused:
                await self._progress(seconds)
            else:
                # This lets the event loop read what the peer has sent, before a reset of the connection discards it.
                await asyncio.sleep(0)
            if self._replies:
                self._tainted = True
                return False
            transport = self._open()
        # Once the last octet is written, an answer may come at any time, and it is the answer to the whole content.
        transport.writelines((view[len(range(0, last, _BLOCK)) * _BLOCK :], end))
        return True

    async def reply(self, seconds: float) -> Reply:
        """Returns the next reply that is due. Raises ConnectionFailedError."""
        if not self._replies:
            if self._failure is not None:
                raise self._failure
            loop = self._loop
            self._deadline = deadline = loop.time() + seconds
            if self._timer is None or self._timer_at > deadline:
                self._set_timer(deadline)
            self._waiter = waiter = loop.create_future()
            try:
                await waiter
            finally:
                self._deadline = 0.0
                self._waiter = None
            if not self._replies:
                raise self._reason
        return self._replies.popleft()

    def ready(self) -> Reply | None:
        """Returns the next reply if it has arrived, and otherwise None. The replies to commands that were sent together
        mostly arrive together, so most replies need no wait.
        """
        return self._replies.popleft() if self._replies else None

    def abort(self, what: str = "connection closed", error: str = "given up") -> None:
        """Closes the connection without QUIT."""
        self._fail(ConnectionFailedError(what, error))
        if self.transport is not None:
            cast("asyncio.Transport", self.transport).abort()

    def quit(self) -> None:
        """Sends QUIT and returns at once. The server closes the connection, or it is closed after a short time."""
        if not self.usable:
            self.abort()
            return
        self._failure = ConnectionFailedError("connection closed", "QUIT was sent")
        transport = cast("asyncio.Transport", self.transport)
        transport.write(b"QUIT\r\n")
        self._loop.call_later(_QUIT_SECONDS, transport.abort)

    async def upgrade(self, context: ssl.SSLContext, server_name: str | None, seconds: float) -> Reply:
        """Sends STARTTLS and, after the reply 220, makes the handshake. After any other reply the connection stays in
        plaintext. Returns the reply.

        Raises ConnectionFailedError, and ssl.SSLError or OSError when the handshake fails.
        """
        self._upgrading = True
        try:
            self.send(b"STARTTLS\r\n", 1)
            reply = await self.reply(seconds)
            if reply.code == 220:
                await self.handshake(context, server_name, seconds)
            return reply
        finally:
            self._upgrading = False

    async def handshake(self, context: ssl.SSLContext, server_name: str | None, seconds: float) -> None:
        """Begins TLS. Everything that was received before is dropped (C125)."""
        transport = self._open()
        self._reader.clear()
        self._replies.clear()
        secured = await self._loop.start_tls(
            transport, self, context, server_hostname=server_name, ssl_handshake_timeout=seconds
        )
        if secured is None:
            raise ConnectionFailedError("connection lost", "closed during the handshake")
        self.transport = secured
        self._over_ssl = True

    def refusal(self, plan: TlsPlan) -> str:
        """Returns the reason why the TLS plan does not allow the certificate of the server. The result is empty when
        the plan allows the certificate.
        """
        session = self.transport.get_extra_info("ssl_object") if self.transport is not None else None
        return plan.refusal(session) if session is not None else "the server sent no certificate"

    @property
    def tls(self) -> str:
        """Returns version and cipher of TLS, or the empty text without TLS."""
        session = self.transport.get_extra_info("ssl_object") if self.transport is not None else None
        cipher = session.cipher() if session is not None else None
        return f"{session.version()} {cipher[0]}" if session is not None and cipher else ""

    def data_received(self, data: bytes) -> None:
        if self._due == 0:
            if not self._upgrading and self._failure is None:
                self._unexpected()
            return
        try:
            replies = self._reader.feed(data)
        except MalformedReplyError as error:
            self._fail(ConnectionFailedError("protocol error", str(error)))
            return
        if not replies:
            return
        left = self._due - len(replies)
        self._replies.extend(replies if left >= 0 else replies[:left])
        self._due = max(0, left)
        if left <= 0 and (left < 0 or not self._reader.empty):
            self._reader.clear()
            self._tainted = not self._upgrading
        self._wake()

    def eof_received(self) -> bool:
        self._fail(ConnectionFailedError("connection lost", "the server closed it"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        reason = str(exc) or type(exc).__name__ if exc else "the server closed it"
        self._fail(ConnectionFailedError("connection lost", reason))
        super().connection_lost(exc)

    @property
    def _reason(self) -> ConnectionFailedError:
        return self._failure or ConnectionFailedError("connection lost", "no reply")

    def _open(self) -> asyncio.Transport:
        if self._failure is not None:
            raise self._failure
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ConnectionFailedError("connection lost", "the server closed it")
        return cast("asyncio.Transport", transport)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = self._loop.call_at(at, self._alarm), at

    def _alarm(self) -> None:
        """Ends the connection when the deadline has passed, and otherwise sets the timer again. The timer may have been
        set for an answer that has arrived meanwhile. So most waits need no new timer.
        """
        self._timer = None
        if self._deadline > self._timer_at:
            self._set_timer(self._deadline)
        elif self._deadline:
            self._time_out()

    async def _progress(self, seconds: float) -> None:
        """Waits until the peer has received enough of what was written."""
        try:
            async with asyncio.timeout(seconds):
                await self._drain_helper()
        except TimeoutError:
            self._time_out()
        except OSError as error:
            self._fail(ConnectionFailedError("connection lost", str(error)))
        if self._failure is not None and not self._replies:
            raise self._failure

    def _time_out(self) -> None:
        self.abort("time-out", "no answer in time")

    def _unexpected(self) -> None:
        # A server that is about to close an idle connection sends 421 first (C122).
        self.abort("connection closed", "the server sent a reply that nothing had asked for")

    def _fail(self, failure: ConnectionFailedError) -> None:
        if self._failure is None:
            self._failure = failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
