"""One SMTP session from the greeting to the end: reads commands, asks policy, keeps the limits, answers."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import structlog

from libs.smtp.reply import (
    BAD_COMMAND_SYNTAX,
    COMMAND_UNRECOGNISED,
    IDLE_TIMEOUT,
    LINE_TOO_LONG,
    SHUTTING_DOWN,
    TOO_MANY_ERRORS,
    TOO_MANY_JUNK_COMMANDS,
    TRY_AGAIN,
    UNAUTHORISED_PIPELINING,
    Reply,
)
from services.ingress import foreign, spans
from services.ingress.clients.policy import PolicyError
from services.ingress.commands import authentication, chunking, content, courtesy, encryption, envelope, greeting
from services.ingress.connection import Connection
from services.ingress.findings import Findings
from services.ingress.interruptions import GoneError, HandshakeError, LineTooLongError, TimedOutError
from services.ingress.limits import AUTH_LINE_OCTETS, COMMAND_OCTETS
from services.ingress.services import Services
from services.ingress.session import Credentials, Listener, Peer, Session, Stage, Transaction, Violation
from services.ingress.submission import Refusal
from services.ingress.verdict import Action, Profile, Verdict

log = structlog.get_logger(__name__)

Command: TypeAlias = Callable[["Dialogue", bytes], Awaitable[None]]

# By verb, with the label of the figures.
COMMANDS: dict[bytes, tuple[str, Command]] = {
    verb: (verb.decode("ascii"), command)
    for verb, command in {
        b"HELO": greeting.helo,
        b"EHLO": greeting.ehlo,
        b"MAIL": envelope.mail,
        b"RCPT": envelope.rcpt,
        b"DATA": content.data,
        b"BDAT": chunking.bdat,
        b"AUTH": authentication.auth,
        b"STARTTLS": encryption.starttls,
        b"RSET": courtesy.rset,
        b"NOOP": courtesy.noop,
        b"VRFY": courtesy.vrfy,
        b"EXPN": courtesy.expn,
        b"ETRN": courtesy.etrn,
        b"HELP": courtesy.help_,
        b"QUIT": courtesy.quit_,
    }.items()
}
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
WRONG_PROTOCOL = Reply(554, "5.5.0", "This is an SMTP server")
NOT_A_PROXY = Reply(554, "5.7.1", "Not a trusted proxy")

_COMMANDS_PER_TURN = 32
_FAILURE = Verdict(Action.REJECT, TRY_AGAIN, reason_id="policy_unavailable")


class Dialogue:
    """One session. `session` holds what is known of it; `transaction` is there from MAIL to the end of its content."""

    __slots__ = (
        "_counted",
        "_end",
        "chunks",
        "connection",
        "proxied",
        "reply",
        "services",
        "session",
        "transaction",
    )

    def __init__(
        self, connection: Connection, services: Services, listener: Listener, peer: Peer, *, proxied: bool = False
    ) -> None:
        """`proxied`: the client came by a proxy of ours, whose header was read."""
        self.connection = connection
        self.reply: Callable[[Reply], None] = connection.reply
        self.proxied = proxied
        self.services = services
        self.session = Session(os.urandom(16).hex(), peer, listener, time.time_ns())
        self.transaction: Transaction | None = None
        # Content that comes by BDAT, from the first chunk on.
        self.chunks: chunking.Chunks | None = None
        # policy was asked about the connection and may count it.
        self._counted = False
        # Why the session ends; empty while it goes on.
        self._end = ""

    @property
    def profile(self) -> Profile:
        """There from the greeting on."""
        profile = self.session.profile
        assert profile is not None  # noqa: S101
        return profile

    @property
    def state(self) -> str:
        """For the figures."""
        if self.session.profile is None:
            return "greeting"
        if self.transaction is not None:
            return "transaction"
        return "command"

    # The course of a session.

    async def run(self) -> None:
        """Until the session ends; never raises but when cancelled."""
        connection = self.connection
        if spans.current is not None:
            spans.current.session_began(self.session)
        try:
            await self._greet()
            await self._commands()
        except LineTooLongError:
            # Not worth reading on for (C09).
            self.end("line_too_long", LINE_TOO_LONG)
        except GoneError:
            self._end = "client_gone"
        except TimedOutError:
            self.end("timed_out", SHUTTING_DOWN if self.services.draining else IDLE_TIMEOUT)
        except HandshakeError as error:
            self._end = "handshake_failed"
            log.info("handshake_failed", session_id=self.session.id, reason=str(error))
        except Exception:  # whatever it is, the client gets a temporary answer, never a trace (C35)
            log.exception("session_failed", session_id=self.session.id)
            self.end("internal_error", TRY_AGAIN)
        finally:
            self.clear_transaction()
            connection.close(linger=self._end != "quit")
            if self._counted:
                self.services.policy.session_closed(self.session)
            self.services.metrics.sessions_ended[self._end or "cancelled"] += 1
            if spans.current is not None:
                spans.current.session_ended(self.session, self._end or "cancelled")

    async def _greet(self) -> None:
        """Asks policy about the connection, and greets."""
        self.connection.session_deadline = self.connection.loop.time() + self.services.limits.mailless_session_seconds
        if self.services.draining:
            self.end("shutting_down", SHUTTING_DOWN)
            return
        self._counted = True
        verdict = await self.decide(Stage.CONNECT)
        if self.connection.lost:
            self._end = "client_gone"
            return
        if verdict.action is Action.REJECT or verdict.profile is None:
            if verdict is not _FAILURE:
                self._counted = False
                self.report(verdict, Stage.CONNECT, ())
            self.end("refused", verdict.reply or TRY_AGAIN)
            return
        if self.connection.pending:
            await self._early_talker()
        if not self._end:
            self.connection.send(greeting.banner(self.profile))
            self.services.metrics.replies[220] += 1
            self.connection.flush()

    async def _early_talker(self) -> None:
        early = bytes(self.connection.pending[:COMMAND_OCTETS])
        if foreign.is_other_protocol(early.partition(b"\r\n")[0]):
            self.end("wrong_protocol", WRONG_PROTOCOL)
        elif foreign.is_proxy_header(early) and not self.proxied:
            self._unexpected_proxy_header()
        else:
            await self.violation(Violation.BEFORE_GREETING)

    async def _commands(self) -> None:
        """Runs commands until the session ends. Raises LineTooLongError, GoneError, TimedOutError."""
        connection, session = self.connection, self.session
        run_on, deadline = 0, 0.0
        while not self._end:
            line = connection.take_line(AUTH_LINE_OCTETS) if connection.pending and not connection.congested else None
            if line is None:
                deadline = deadline or connection.loop.time() + self.services.limits.command_seconds
                if connection.congested:
                    await connection.decongested(deadline)
                elif not self._turned_away():
                    await connection.more(deadline)
                continue
            deadline = 0.0
            run_on += 1
            if run_on >= _COMMANDS_PER_TURN:
                # Thousands may be waiting in the buffer; other sessions have their turn in between.
                run_on = 0
                await asyncio.sleep(0)
            verb, _, argument = line.partition(b" ")
            command = self._command(verb.upper(), line)
            if command is None:
                continue
            if connection.pending and not session.esmtp and session.helo_name:
                await self.violation(Violation.NOT_OFFERED)
                if self._end:
                    return
            await command(self, argument.strip(b" \t") if argument else argument)

    def _command(self, verb: bytes, line: bytes) -> Command | None:
        """What runs the line; None when it was answered already, since nothing does."""
        known = COMMANDS.get(verb)
        if known is None or foreign.is_http_request(line):
            self.services.metrics.commands["unknown"] += 1
            if foreign.is_other_protocol(line):
                self.end("wrong_protocol", WRONG_PROTOCOL)
            elif foreign.is_proxy_line(line):
                self._unexpected_proxy_header()
            else:
                self.error(COMMAND_UNRECOGNISED)
            return None
        label, command = known
        self.services.metrics.commands[label] += 1
        if len(line) > COMMAND_OCTETS and command is not authentication.auth:
            self.error(LINE_TOO_LONG)
            return None
        if _CONTROL(line):
            # NUL, CR, LF and their like belong in no command, and must reach no header, log or database (C38, C39).
            self.error(BAD_COMMAND_SYNTAX)
            return None
        return command

    def _turned_away(self) -> bool:
        """Whether no further command is waited for."""
        if self.services.draining and self.transaction is None:
            self.end("shutting_down", SHUTTING_DOWN)
        elif self.connection.pending and foreign.is_tls(self.connection.pending):
            self.end("wrong_protocol", WRONG_PROTOCOL)
        return self.ending

    def _unexpected_proxy_header(self) -> None:
        """From a proxy of ours, a second is a wrong command; from anybody else, the first is the last word (C80)."""
        if self.proxied:
            self.error(COMMAND_UNRECOGNISED)
            return
        self.services.metrics.sessions_refused["proxy"] += 1
        log.info("proxy_header_refused", session_id=self.session.id, peer=self.session.peer.client_address)
        self.end("proxy_header", NOT_A_PROXY)

    # What the commands do with a session.

    def error(self, reply: Reply) -> None:
        """Answers a command that is wrong in itself; too many of them end the session."""
        self.session.errors += 1
        if self.session.errors > self.services.limits.max_errors:
            self.end("too_many_errors", TOO_MANY_ERRORS)
        else:
            self.reply(reply)

    def end(self, reason: str, reply: Reply) -> None:
        """Answers, and ends the session after it."""
        self.reply(reply)
        self._end = self._end or reason

    def leave(self, reason: str) -> None:
        """Ends the session; everything was said."""
        self._end = self._end or reason

    @property
    def ending(self) -> bool:
        return bool(self._end)

    def clear_transaction(self) -> None:
        """After every end of a message, whatever its outcome; and at RSET, EHLO, STARTTLS (C15, C16)."""
        self.transaction = None
        if spans.current is not None:
            spans.current.message_ended(self.session.id)
        if self.chunks is not None:
            self.chunks.content.close()
            self.chunks = None

    def count_junk(self) -> None:
        self.session.junk_commands += 1
        self.session.junk_commands_uncharged += 1

    async def junk(self) -> bool:
        """Counts a command that brings no mail nearer; true when the session is over because of it."""
        self.count_junk()
        limit = self.profile.max_junk_commands
        if limit and self.session.junk_commands > limit and Stage.JUNK_COMMAND in self.profile.ask_stages:
            verdict = await self.decide(Stage.JUNK_COMMAND)
            if verdict.action is Action.REJECT:
                self.end("junk_commands", verdict.reply or TOO_MANY_JUNK_COMMANDS)
        return self.ending

    async def violation(self, violation: Violation) -> None:
        """The client sent more than it might before an answer; only the first time in a session is it asked about."""
        if self.session.violation is not Violation.NONE:
            return
        self.session.violation = violation
        self.services.metrics.commands[f"pipelining_{violation.name.lower()}"] += 1
        if Stage.PIPELINING not in self.profile.ask_stages:
            return
        verdict = await self.decide(Stage.PIPELINING)
        if verdict.action is Action.REJECT:
            self.report(verdict, Stage.PIPELINING, ())
            self.end("pipelining", verdict.reply or UNAUTHORISED_PIPELINING)

    async def decide(
        self,
        stage: Stage,
        *,
        recipient: bytes = b"",
        credentials: Credentials | None = None,
        findings: Findings | None = None,
        transaction: Transaction | None = None,
    ) -> Verdict:
        """policy's verdict, its delay waited for. No verdict is a rejection with 451 4.3.0, here and nowhere else."""
        session = self.session
        try:
            verdict = await self.services.policy.decide(
                stage,
                session,
                transaction or self.transaction,
                recipient=recipient,
                credentials=credentials,
                findings=findings,
            )
        except PolicyError as error:
            self.services.metrics.policy_failures[stage.name] += 1
            self.services.policy_outage.failed(session_id=session.id, stage=stage.name, reason=str(error))
            return _FAILURE
        if self.services.policy_outage.lasts:
            self.services.policy_outage.succeeded()
        if verdict.profile is not None:
            session.profile = verdict.profile
        if verdict.delay:
            self.connection.flush()
            await asyncio.sleep(verdict.delay)
        if verdict.action is Action.REJECT:
            self.services.mail_log.rejected(session, stage, verdict)
            if verdict.close:
                self._end = "closed_by_policy"
        return verdict

    def report(self, verdict: Verdict, stage: Stage, recipients: tuple[bytes, ...]) -> None:
        """Tells relay's history of a rejection."""
        if verdict.reply is not None:
            self.record(verdict.reply, stage, recipients, verdict.reason_id, verdict.rule_id)

    def record(self, reply: Reply, stage: Stage, recipients: tuple[bytes, ...], reason_id: str, rule_id: str) -> None:
        session, transaction = self.session, self.transaction
        self.services.relay.report(
            Refusal(
                session_id=session.id,
                client_address=session.peer.client_address,
                helo_name=session.helo_sent,
                account=session.account,
                sender=transaction.sender if transaction is not None else b"",
                recipients=recipients,
                reply=reply,
                reason_id=reason_id,
                rule_id=rule_id,
                stage=stage.name,
                refused_at=time.time_ns(),
                listener=session.listener.label,
                tls=session.tls is not None,
            )
        )
