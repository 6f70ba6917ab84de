"""The loop of one SMTP session, from the greeting to the end: it reads commands and runs them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import structlog

from libs.smtp.reply import (
    AUTH_LINE_TOO_LONG,
    BAD_COMMAND_SYNTAX,
    COMMAND_UNRECOGNISED,
    IDLE_TIMEOUT,
    LINE_TOO_LONG,
    SHUTTING_DOWN,
    TRY_AGAIN,
    Reply,
)
from services.ingress import protocol_detection, spans
from services.ingress.commands import authentication, chunking, content, encryption, envelope, greeting, simple_commands
from services.ingress.connection_errors import GoneError, HandshakeError, LineTooLongError, TimedOutError
from services.ingress.limits import AUTH_LINE_OCTETS, COMMAND_OCTETS
from services.ingress.session import Stage, Violation
from services.ingress.smtp_session import NO_VERDICT, SmtpSession
from services.ingress.verdict import Action

log = structlog.get_logger(__name__)

Command: TypeAlias = Callable[[SmtpSession, bytes], Awaitable[None]]

# The commands by verb, each with its label in the metrics.
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
        b"RSET": simple_commands.rset,
        b"NOOP": simple_commands.noop,
        b"VRFY": simple_commands.vrfy,
        b"EXPN": simple_commands.expn,
        b"ETRN": simple_commands.etrn,
        b"HELP": simple_commands.help_,
        b"QUIT": simple_commands.quit_,
    }.items()
}
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
WRONG_PROTOCOL = Reply(554, "5.5.0", "This is an SMTP server")
NOT_A_PROXY = Reply(554, "5.7.1", "Not a trusted proxy")

_COMMANDS_PER_TURN = 32


async def run(smtp_session: SmtpSession) -> None:
    """Runs the session to its end. Raises only CancelledError."""
    connection = smtp_session.connection
    if spans.current is not None:
        spans.current.session_began(smtp_session.session)
    try:
        await _greet(smtp_session)
        await _commands(smtp_session)
    except LineTooLongError as error:
        # The session ends, because reading more from a client that sends such lines is not useful (C09).
        smtp_session.end("line_too_long", AUTH_LINE_TOO_LONG if error.verb == b"AUTH" else LINE_TOO_LONG)
    except GoneError:
        smtp_session.end_reason = "client_gone"
    except TimedOutError:
        smtp_session.end("timed_out", SHUTTING_DOWN if smtp_session.context.draining else IDLE_TIMEOUT)
    except HandshakeError as error:
        smtp_session.end_reason = "handshake_failed"
        log.info("handshake_failed", session_id=smtp_session.session.id, reason=str(error))
    except Exception:  # Whatever the error is, the client gets a temporary reply, and never a traceback (C35).
        log.exception("session_failed", session_id=smtp_session.session.id)
        smtp_session.end("internal_error", TRY_AGAIN if smtp_session.session.profile else _greeting_refusal(TRY_AGAIN))
    finally:
        smtp_session.clear_transaction()
        connection.close(linger=smtp_session.end_reason != "quit")
        if smtp_session.counted:
            smtp_session.context.policy.session_closed(smtp_session.session)
        smtp_session.context.metrics.sessions_ended[smtp_session.end_reason or "cancelled"] += 1
        if spans.current is not None:
            spans.current.session_ended(smtp_session.session, smtp_session.end_reason or "cancelled")


async def _greet(smtp_session: SmtpSession) -> None:
    """Asks policy about the connection, and sends the greeting."""
    smtp_session.connection.session_deadline = (
        smtp_session.connection.event_loop.time() + smtp_session.context.limits.mailless_session_seconds
    )
    if smtp_session.context.draining:
        smtp_session.end("shutting_down", SHUTTING_DOWN)
        return
    smtp_session.counted = True
    verdict = await smtp_session.decide(Stage.CONNECT)
    if smtp_session.connection.lost:
        smtp_session.end_reason = "client_gone"
        return
    if verdict.action is Action.REJECT or verdict.profile is None:
        if verdict is not NO_VERDICT:
            smtp_session.counted = False
            smtp_session.report(verdict, Stage.CONNECT, ())
        smtp_session.end("refused", _greeting_refusal(verdict.reply or TRY_AGAIN))
        return
    if smtp_session.connection.pending:
        await _early_talker(smtp_session)
    if not smtp_session.end_reason:
        smtp_session.connection.send(greeting.banner(smtp_session.profile))
        smtp_session.context.metrics.replies[220] += 1
        smtp_session.connection.flush()


def _greeting_refusal(reply: Reply) -> Reply:
    """Returns the reply instead of a greeting, which must be 421 or 554 (RFC 5321 4.2.3, 4.3.2)."""
    return Reply(421 if reply.is_temporary else 554, reply.enhanced, reply.text)


async def _early_talker(smtp_session: SmtpSession) -> None:
    early = bytes(smtp_session.connection.pending[:COMMAND_OCTETS])
    if protocol_detection.is_other_protocol(early.partition(b"\r\n")[0]):
        smtp_session.end("wrong_protocol", WRONG_PROTOCOL)
    elif protocol_detection.is_proxy_header(early) and not smtp_session.proxied:
        _unexpected_proxy_header(smtp_session)
    else:
        await smtp_session.violation(Violation.BEFORE_GREETING)


async def _commands(smtp_session: SmtpSession) -> None:
    """Runs commands until the session ends. Raises LineTooLongError, GoneError, TimedOutError."""
    connection, session = smtp_session.connection, smtp_session.session
    run_on, deadline = 0, 0.0
    while not smtp_session.end_reason:
        line = connection.take_line(AUTH_LINE_OCTETS) if connection.pending and not connection.congested else None
        if line is None:
            deadline = deadline or connection.event_loop.time() + smtp_session.context.limits.command_seconds
            if connection.congested:
                await connection.decongested(deadline)
            elif not _turned_away(smtp_session):
                await connection.more(deadline)
            continue
        deadline = 0.0
        run_on += 1
        if run_on >= _COMMANDS_PER_TURN:
            # Thousands of commands may be in the buffer, so other sessions get their turn in between.
            run_on = 0
            await asyncio.sleep(0)
        verb, _, argument = line.partition(b" ")
        command = _command(smtp_session, verb.upper(), line)
        if command is None:
            continue
        if connection.pending and not session.esmtp and session.helo_name:
            await smtp_session.violation(Violation.NOT_OFFERED)
            if smtp_session.end_reason:
                return
        await command(smtp_session, argument.strip(b" \t") if argument else argument)


def _command(smtp_session: SmtpSession, verb: bytes, line: bytes) -> Command | None:
    """Returns the command in the line. When there is no valid command, answers the line and returns None."""
    known = COMMANDS.get(verb)
    if known is None or protocol_detection.is_http_request(line):
        smtp_session.context.metrics.commands["unknown"] += 1
        if protocol_detection.is_other_protocol(line):
            smtp_session.end("wrong_protocol", WRONG_PROTOCOL)
        elif protocol_detection.is_proxy_line(line):
            _unexpected_proxy_header(smtp_session)
        else:
            smtp_session.error(COMMAND_UNRECOGNISED)
        return None
    label, command = known
    smtp_session.context.metrics.commands[label] += 1
    if len(line) > COMMAND_OCTETS and command is not authentication.auth:
        smtp_session.error(LINE_TOO_LONG)
        return None
    if _CONTROL(line):
        # A command must not contain NUL, CR, LF and similar characters, which must never get into a header, log or
        # database (C38, C39).
        smtp_session.error(BAD_COMMAND_SYNTAX)
        return None
    return command


def _turned_away(smtp_session: SmtpSession) -> bool:
    """Ends a session that must not wait for a further command. Returns True when it has ended."""
    if smtp_session.context.draining and smtp_session.transaction is None:
        smtp_session.end("shutting_down", SHUTTING_DOWN)
    elif smtp_session.connection.pending and protocol_detection.is_tls(smtp_session.connection.pending):
        smtp_session.end("wrong_protocol", WRONG_PROTOCOL)
    return smtp_session.ending


def _unexpected_proxy_header(smtp_session: SmtpSession) -> None:
    """Answers a PROXY header in place of a command. From a trusted proxy it is a second header, and counts as a wrong
    command. From any other client it ends the session (C80).
    """
    if smtp_session.proxied:
        smtp_session.error(COMMAND_UNRECOGNISED)
        return
    smtp_session.context.metrics.sessions_refused["proxy"] += 1
    log.info("proxy_header_refused", session_id=smtp_session.session.id, peer=smtp_session.session.peer.client_address)
    smtp_session.end("proxy_header", NOT_A_PROXY)
