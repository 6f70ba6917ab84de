"""Runs one SMTP session in memory, with octets in segments. Fakes of policy and relay answer at once."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir
from typing import Any, cast

from libs.smtp.reply import Reply
from services.ingress import session_loop
from services.ingress.connection import Connection
from services.ingress.limits import Limits
from services.ingress.mail_log import MailLog
from services.ingress.metrics import Metrics
from services.ingress.session import Listener, Peer, Stage
from services.ingress.smtp_session import SmtpSession
from services.ingress.submission import Refusal, Submission
from services.ingress.verdict import Action, Profile, Verdict
from services.ingress.worker_context import WorkerContext

PROFILE = Profile(
    revision=1,
    hostname="mx.example.com",
    banner="ESMTP",
    auth_plaintext=("PLAIN", "LOGIN"),
    auth_tls=("PLAIN", "LOGIN"),
    max_message_size=20_000,
    max_recipients=5,
    max_hops=3,
    max_junk_commands=0,
    junk_commands_per_delay=0,
    ask_stages=frozenset((Stage.CONNECT, Stage.AUTH, Stage.RCPT, Stage.END_OF_DATA)),
    authserv_id="mx.example.com",
)
LIMITS = Limits(
    max_errors=30,
    max_auth_failures=5,
    max_line_octets=998,
    max_header_octets=10_000,
    normalise_newlines=False,
    remove_nul_octets=False,
    command_seconds=60,
    data_block_seconds=60,
    min_data_rate=0,
    data_grace_seconds=60,
    session_seconds=600,
    mailless_session_seconds=600,
    handshake_seconds=10,
    proxy_seconds=10,
)
_REPLY = re.compile(rb"(?:[2-5][0-9]{2}-[ -~]*\r\n)*[2-5][0-9]{2}(?: [ -~]*)?\r\n")
_RECEIVED = re.compile(rb"\AReceived: (?:.|\r\n\t)*?\+0000\r\n")
_ACCEPT = Verdict(Action.ACCEPT)


class _Policy:
    """A policy that refuses recipients `bad…` and messages whose From is `refuse@…`, and accepts the login `alice`."""

    async def decide(self, stage: Stage, _session: object, _transaction: object = None, **facts: Any) -> Verdict:
        if stage is Stage.CONNECT:
            return Verdict(Action.ACCEPT, profile=PROFILE)
        if stage is Stage.AUTH:
            if facts["credentials"].login == b"alice":
                return Verdict(Action.ACCEPT, account="alice", profile=PROFILE)
            return Verdict(Action.REJECT, Reply(535, "5.7.8", "no"))
        if stage is Stage.RCPT and facts["recipient"].startswith(b"bad"):
            return Verdict(Action.REJECT, Reply(550, "5.1.1", "no"))
        if stage is Stage.END_OF_DATA and any(
            address.local == "refuse" for address in facts["content_facts"].from_addresses
        ):
            return Verdict(Action.REJECT, Reply(554, "5.7.1", "no"))
        return _ACCEPT

    def session_opened(self, _session: object) -> None:
        pass

    def session_closed(self, _session: object) -> None:
        pass


@dataclass
class _Relay:
    stored: list[tuple[bytes, ...]] = field(default_factory=list)

    def refusal(self, _octets: int) -> None:
        return None

    def report(self, _refusal: Refusal) -> None:
        pass

    async def submit(self, submission: Submission) -> str:
        content = b"".join(submission.content.pieces())
        assert len(content) == submission.size
        assert _RECEIVED.match(content), content[:200]
        recipients = [recipient.address for recipient in submission.transaction.recipients.values()]
        assert recipients
        self.stored.append((submission.transaction.sender, *recipients, _RECEIVED.sub(b"", content)))
        return str(len(self.stored))


class _Transport:
    """The other end of the connection's socket."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = False
        self.paused = False

    def write(self, octets: bytes) -> None:
        self.written += octets

    def write_eof(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_extra_info(self, _name: str) -> None:
        return None


@dataclass(frozen=True)
class Outcome:
    """The replies to the client, and the messages that relay got: (sender, recipients…, content without our trace)."""

    replies: tuple[bytes, ...]
    stored: tuple[tuple[bytes, ...], ...]
    closed: bool


def run(segments: Iterable[bytes], *, normalise: bool = False) -> Outcome:
    """Runs a session in which the client sends these segments after the greeting, and then ends its side.

    Raises AssertionError when a reply is malformed, or when an exception reaches the session.
    """
    return asyncio.run(_run(segments, normalise=normalise))


async def _run(segments: Iterable[bytes], *, normalise: bool) -> Outcome:
    metrics, relay, transport = Metrics(), _Relay(), _Transport()
    limits = LIMITS if not normalise else Limits(**{**_fields(LIMITS), "normalise_newlines": True})
    context = WorkerContext(
        policy=cast("Any", _Policy()),
        relay=cast("Any", relay),
        certificates=cast("Any", None),
        checker=cast("Any", None),
        limits=limits,
        metrics=metrics,
        mail_log=MailLog(),
        spool=Path(gettempdir()),
    )
    peer = Peer("192.0.2.1", 40_000, "192.0.2.2", 25)

    async def serve(connection: Connection) -> None:
        await session_loop.run(SmtpSession(connection, context, Listener.SMTP, peer))

    connection = Connection(asyncio.get_running_loop(), metrics, serve, lambda _connection: None)
    connection.connection_made(cast("Any", transport))
    await _settled(connection)
    for segment in segments:
        if transport.closed:
            break
        connection.data_received(segment)
        await _settled(connection)
    if not transport.closed:
        connection.eof_received()
    await _settled(connection)
    connection.connection_lost(None)
    assert connection.task is not None
    await connection.task
    assert not metrics.sessions_ended["internal_error"]
    return Outcome(tuple(_replies(bytes(transport.written))), tuple(relay.stored), transport.closed)


def _fields(limits: Limits) -> dict[str, Any]:
    return {name: getattr(limits, name) for name in Limits.__dataclass_fields__}


async def _settled(connection: Connection) -> None:
    """Returns when the session waits for its client or has ended."""
    for turn in itertools.count():
        await asyncio.sleep(0)
        over = connection.task is not None and connection.task.done()
        if over or (turn > 1 and connection._waiter is not None):
            return
        assert turn < 100_000, "the session neither waits nor ends"


def _replies(written: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(written):
        found = _REPLY.match(written, position)
        assert found, f"malformed reply: {written[position : position + 200]!r}"
        assert all(len(line) <= 510 for line in found[0].split(b"\r\n"))
        yield found[0]
        position = found.end()
