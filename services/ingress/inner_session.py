"""An SMTP session without a socket, so that mail over HTTP is processed by the same code as all other mail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from services.ingress.commands import authentication
from services.ingress.connection_errors import GoneError
from services.ingress.listener import Listeners
from services.ingress.session import Credentials, Peer
from services.ingress.smtp_session import SmtpSession

# The largest portion of content.
_CHUNK_OCTETS = 64 * 1024
# The mechanism for an identity that was proved by other means (RFC 4422). It is offered to no client.
EXTERNAL = "EXTERNAL"
_LOGGED_IN = 235


@dataclass(frozen=True, slots=True)
class InnerReply:
    """A reply in the form in which clients read it."""

    code: int
    enhanced: str
    text: str

    @property
    def accepts(self) -> bool:
        return self.code // 100 == 2

    @classmethod
    def parse(cls, line: bytes) -> InnerReply:
        text = line.decode("ascii", "replace")
        words = text[4:].split(" ", 1)
        has_enhanced = words[0].count(".") == 2 and words[0].replace(".", "").isdigit()
        return cls(int(text[:3]), words[0] if has_enhanced else "", words[-1] if has_enhanced else text[4:])


@dataclass(frozen=True, slots=True)
class InnerMessage:
    """A message to submit: the account, the client, and the commands as they are sent, without line ends."""

    account: str
    peer: Peer
    mail: bytes
    # The address and the command of each recipient.
    recipients: tuple[tuple[bytes, bytes], ...]


@dataclass(slots=True)
class InnerOutcome:
    """The result of a session. `reply` is the last reply of the session before QUIT. `queue_id` is empty when the
    message was not accepted.
    """

    session_id: str = ""
    recipients: list[tuple[bytes, InnerReply]] = field(default_factory=list)
    reply: InnerReply = field(default_factory=lambda: InnerReply(451, "4.3.0", "Try again later"))
    queue_id: str = ""


class MemoryTransport(asyncio.Transport):
    """The client's end of the connection, which replaces a socket."""

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self._ends = {
            "peername": (peer.client_address, peer.client_port),
            "sockname": (peer.local_address, peer.local_port),
        }
        self._received = bytearray()
        self._changed = asyncio.Event()
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._protocol: Any = None
        self.closed = False

    def open(self, protocol: Any) -> None:
        """Begins the connection, with `protocol` as its server."""
        self._protocol = protocol
        protocol.connection_made(self)

    # The methods below are called by the session.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._ends.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._received += data
        self._changed.set()

    def pause_reading(self) -> None:
        self._may_send.clear()

    def resume_reading(self) -> None:
        self._may_send.set()

    def write_eof(self) -> None:
        self.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._changed.set()
            self._may_send.set()
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self.closed

    # The methods below are for the client's side.

    async def send(self, octets: bytes) -> None:
        """Sends octets as soon as the server accepts more. Raises GoneError."""
        await self._may_send.wait()
        if self.closed:
            raise GoneError
        self._protocol.data_received(octets)

    async def reply(self) -> InnerReply:
        """Returns the next complete reply with the code of its last line. Raises GoneError."""
        while True:
            end = self._received.find(b"\r\n")
            if end >= 0:
                line = bytes(self._received[:end])
                del self._received[: end + 2]
                if line[3:4] != b"-":
                    return InnerReply.parse(line)
                continue
            if self.closed:
                raise GoneError
            self._changed.clear()
            await self._changed.wait()


async def submit(listeners: Listeners, message: InnerMessage, content: AsyncIterable[bytes]) -> InnerOutcome:
    """Submits one message in a new session. Raises the errors of `content`, and then nothing was accepted."""
    outcome = InnerOutcome()
    transport = MemoryTransport(message.peer)
    try:
        smtp_session = await listeners.open_inner(transport)
        outcome.session_id = smtp_session.session.id
        if await _begin(transport, smtp_session, message, outcome) and await _recipients(transport, message, outcome):
            await _content(transport, content, outcome)
        await _say(transport, b"QUIT", InnerOutcome())
    except GoneError:
        # The last reply of the session tells why it ended.
        pass
    finally:
        transport.close()
    return outcome


async def _begin(
    transport: MemoryTransport, smtp_session: SmtpSession, message: InnerMessage, outcome: InnerOutcome
) -> bool:
    """Sends the commands up to MAIL. Returns whether the session continues."""
    outcome.reply = await transport.reply()
    if not outcome.reply.accepts:
        return False
    literal = message.peer.client_address
    literal = f"IPv6:{literal}" if ":" in literal else literal
    if not await _say(transport, f"EHLO [{literal}]".encode(), outcome):
        return False
    # The caller has authenticated the account. policy decides whether it may log in.
    login = message.account.encode()
    await authentication.log_in(smtp_session, Credentials(EXTERNAL, login, login, b""))
    smtp_session.connection.flush()
    smtp_session.connection.wake()
    outcome.reply = await transport.reply()
    return outcome.reply.code == _LOGGED_IN and await _say(transport, message.mail, outcome)


async def _recipients(transport: MemoryTransport, message: InnerMessage, outcome: InnerOutcome) -> bool:
    """Sends RCPT for each recipient. Returns whether any recipient was accepted."""
    for address, command in message.recipients:
        await _say(transport, command, outcome)
        outcome.recipients.append((address, outcome.reply))
    return any(reply.accepts for _, reply in outcome.recipients)


async def _content(transport: MemoryTransport, content: AsyncIterable[bytes], outcome: InnerOutcome) -> None:
    async for chunk in _portions(content):
        await transport.send(b"BDAT %d\r\n" % len(chunk))
        await transport.send(chunk)
        outcome.reply = await transport.reply()
        if not outcome.reply.accepts:
            return
    if await _say(transport, b"BDAT 0 LAST", outcome):
        outcome.queue_id = outcome.reply.text.rpartition(" ")[2]


async def _portions(content: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    async for piece in content:
        for start in range(0, len(piece), _CHUNK_OCTETS):
            yield piece[start : start + _CHUNK_OCTETS]


async def _say(transport: MemoryTransport, command: bytes, outcome: InnerOutcome) -> bool:
    """Sends a command. Returns whether its reply is positive."""
    await transport.send(command + b"\r\n")
    outcome.reply = await transport.reply()
    return outcome.reply.accepts
