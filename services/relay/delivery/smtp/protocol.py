"""The connection to a server: commands out, replies in, several in flight; on top of aiosmtplib's protocol."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import cast

from aiosmtplib.protocol import SMTPProtocol

from services.relay.delivery.smtp.replies import MalformedReplyError, ReplyReader
from services.relay.delivery.targets.tls import TlsPlan
from services.relay.model.outcome import Reply

# Content is handed over in pieces of this many octets, so that "no progress" is seen as such (C49).
_BLOCK = 65_536
_QUIT_SECONDS = 5.0


class ConnectionFailedError(Exception):
    """The connection is of no use any more: closed by the peer, silent too long, or talking nonsense (C121)."""

    def __init__(self, what: str, error: str) -> None:
        super().__init__(f"{what}: {error}")
        self.what = what
        self.error = error


class DeliveryProtocol(SMTPProtocol):
    """aiosmtplib's protocol with many replies outstanding instead of one, for PIPELINING and LMTP.

    After the first failure every read fails: a reply that comes late can never be taken for the answer to a later
    command (C121). What comes while no reply is due is dropped and ends the connection; after STARTTLS's answer it is
    dropped only, as it was sent before the handshake (C125).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._reader = ReplyReader()
        self._replies: deque[Reply] = deque()
        # Replies that are owed to us; the greeting is the first.
        self._due = 1
        self._waiter: asyncio.Future[None] | None = None
        # When, by the loop's clock, the answer that is waited for is too late; 0: none is waited for.
        self._deadline = 0.0
        # One timer a connection: it rings at the deadline or before, and then sets itself anew (see `_alarm`).
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._failure: ConnectionFailedError | None = None
        # True from STARTTLS to the end of the handshake.
        self._upgrading = False
        # The server sent more than it was asked for. The answers so far count, and the connection is not used again.
        self._tainted = False

    @property
    def usable(self) -> bool:
        """Open, with nothing outstanding and nothing odd heard."""
        if self._due or self._replies or self._tainted or self._failure is not None:
            return False
        return self.transport is not None and not self.transport.is_closing()

    @property
    def local_address(self) -> str:
        """The address from which the connection was made; empty when it has none or is closed."""
        name = self.transport.get_extra_info("sockname") if self.transport is not None else None
        return str(name[0]) if isinstance(name, tuple) else ""

    def send(self, commands: bytes, replies: int) -> None:
        """Writes one or more whole command lines that will be answered by so many replies.

        Raises ConnectionFailedError.
        """
        transport = self._open()
        self._due += replies
        transport.write(commands)

    def send_short(self, start: bytes, content: bytes, end: bytes, replies: int) -> bool:
        """Writes it all at once, without a copy and without a wait; False when it is too long for that.

        Raises ConnectionFailedError.
        """
        if len(content) > _BLOCK:
            return False
        transport = self._open()
        self._due += replies
        transport.writelines((start, content, end) if start else (content, end))
        return True

    async def send_content(self, start: bytes, content: bytes, end: bytes, seconds: float, replies: int) -> bool:
        """Writes `start`, content and `end`; `seconds` is how long the peer may take nothing at all.

        False when a reply came before the end (a server that refuses half-way): the rest is not sent then, and the
        connection is of no further use. Raises ConnectionFailedError when the peer can't have had all of it.
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
                # Reads what the peer has sent, before a reset of the connection discards it.
                await asyncio.sleep(0)
            if self._replies:
                self._tainted = True
                return False
            transport = self._open()
        # With the last octet the answer may come at any time, and is one to the whole.
        transport.writelines((view[len(range(0, last, _BLOCK)) * _BLOCK :], end))
        return True

    async def reply(self, seconds: float) -> Reply:
        """The next reply that is due. Raises ConnectionFailedError."""
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
        """The next reply if it has come: those to one flight mostly come together, and need no waiting each."""
        return self._replies.popleft() if self._replies else None

    def abort(self, what: str = "connection closed", error: str = "given up") -> None:
        """Closes without a word."""
        self._fail(ConnectionFailedError(what, error))
        if self.transport is not None:
            cast("asyncio.Transport", self.transport).abort()

    def quit(self) -> None:
        """Says QUIT and closes, without waiting for more than the answer."""
        if not self.usable:
            self.abort()
            return
        self._failure = ConnectionFailedError("connection closed", "QUIT was sent")
        transport = cast("asyncio.Transport", self.transport)
        transport.write(b"QUIT\r\n")
        self._loop.call_later(_QUIT_SECONDS, transport.abort)

    async def upgrade(self, context: ssl.SSLContext, server_name: str | None, seconds: float) -> Reply:
        """STARTTLS and, on 220, the handshake. Any other reply is returned, and the connection stays in plaintext.

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
        """TLS from here on. Whatever was received before is forgotten (C125)."""
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
        """Why the plan does not allow the server's certificate; empty: it does."""
        session = self.transport.get_extra_info("ssl_object") if self.transport is not None else None
        return plan.refusal(session) if session is not None else "there is none"

    @property
    def tls(self) -> str:
        """Version and cipher, or empty."""
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
        """The deadline, or that of an answer that has come long ago: most waits need no timer of their own."""
        self._timer = None
        if self._deadline > self._timer_at:
            self._set_timer(self._deadline)
        elif self._deadline:
            self._time_out()

    async def _progress(self, seconds: float) -> None:
        """Waits until the peer has taken enough of what was written."""
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
        # A server that is about to close an idle connection says 421 first (C122).
        self.abort("connection closed", "the server spoke unasked")

    def _fail(self, failure: ConnectionFailedError) -> None:
        if self._failure is None:
            self._failure = failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
