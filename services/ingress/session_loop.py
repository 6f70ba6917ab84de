"""The loop of one SMTP session, from the greeting to the end: reads commands and runs them."""

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
from services.ingress.dialogue import NO_VERDICT, Dialogue
from services.ingress.limits import AUTH_LINE_OCTETS, COMMAND_OCTETS
from services.ingress.session import Stage, Violation
from services.ingress.verdict import Action

log = structlog.get_logger(__name__)

Command: TypeAlias = Callable[[Dialogue, bytes], Awaitable[None]]

# The commands by verb, each with its label in metrics.
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


async def run(dialogue: Dialogue) -> None:
    """Runs the session to its end. Raises nothing but CancelledError."""
    connection = dialogue.connection
    if spans.current is not None:
        spans.current.session_began(dialogue.session)
    try:
        await _greet(dialogue)
        await _commands(dialogue)
    except LineTooLongError as error:
        # The session ends: such a client is not worth reading on for (C09).
        dialogue.end("line_too_long", AUTH_LINE_TOO_LONG if error.verb == b"AUTH" else LINE_TOO_LONG)
    except GoneError:
        dialogue.end_reason = "client_gone"
    except TimedOutError:
        dialogue.end("timed_out", SHUTTING_DOWN if dialogue.services.draining else IDLE_TIMEOUT)
    except HandshakeError as error:
        dialogue.end_reason = "handshake_failed"
        log.info("handshake_failed", session_id=dialogue.session.id, reason=str(error))
    except Exception:  # whatever it is, the client gets a temporary answer, never a trace (C35)
        log.exception("session_failed", session_id=dialogue.session.id)
        dialogue.end("internal_error", TRY_AGAIN if dialogue.session.profile else _greeting_refusal(TRY_AGAIN))
    finally:
        dialogue.clear_transaction()
        connection.close(linger=dialogue.end_reason != "quit")
        if dialogue.counted:
            dialogue.services.policy.session_closed(dialogue.session)
        dialogue.services.metrics.sessions_ended[dialogue.end_reason or "cancelled"] += 1
        if spans.current is not None:
            spans.current.session_ended(dialogue.session, dialogue.end_reason or "cancelled")


async def _greet(dialogue: Dialogue) -> None:
    """Asks policy about the connection, and greets."""
    dialogue.connection.session_deadline = (
        dialogue.connection.event_loop.time() + dialogue.services.limits.mailless_session_seconds
    )
    if dialogue.services.draining:
        dialogue.end("shutting_down", SHUTTING_DOWN)
        return
    dialogue.counted = True
    verdict = await dialogue.decide(Stage.CONNECT)
    if dialogue.connection.lost:
        dialogue.end_reason = "client_gone"
        return
    if verdict.action is Action.REJECT or verdict.profile is None:
        if verdict is not NO_VERDICT:
            dialogue.counted = False
            dialogue.report(verdict, Stage.CONNECT, ())
        dialogue.end("refused", _greeting_refusal(verdict.reply or TRY_AGAIN))
        return
    if dialogue.connection.pending:
        await _early_talker(dialogue)
    if not dialogue.end_reason:
        dialogue.connection.send(greeting.banner(dialogue.profile))
        dialogue.services.metrics.replies[220] += 1
        dialogue.connection.flush()


def _greeting_refusal(reply: Reply) -> Reply:
    """In place of a greeting there is 421 or 554 and nothing else (RFC 5321 4.2.3, 4.3.2)."""
    return Reply(421 if reply.is_temporary else 554, reply.enhanced, reply.text)


async def _early_talker(dialogue: Dialogue) -> None:
    early = bytes(dialogue.connection.pending[:COMMAND_OCTETS])
    if protocol_detection.is_other_protocol(early.partition(b"\r\n")[0]):
        dialogue.end("wrong_protocol", WRONG_PROTOCOL)
    elif protocol_detection.is_proxy_header(early) and not dialogue.proxied:
        _unexpected_proxy_header(dialogue)
    else:
        await dialogue.violation(Violation.BEFORE_GREETING)


async def _commands(dialogue: Dialogue) -> None:
    """Runs commands until the session ends. Raises LineTooLongError, GoneError, TimedOutError."""
    connection, session = dialogue.connection, dialogue.session
    run_on, deadline = 0, 0.0
    while not dialogue.end_reason:
        line = connection.take_line(AUTH_LINE_OCTETS) if connection.pending and not connection.congested else None
        if line is None:
            deadline = deadline or connection.event_loop.time() + dialogue.services.limits.command_seconds
            if connection.congested:
                await connection.decongested(deadline)
            elif not _turned_away(dialogue):
                await connection.more(deadline)
            continue
        deadline = 0.0
        run_on += 1
        if run_on >= _COMMANDS_PER_TURN:
            # Thousands may be waiting in the buffer; other sessions have their turn in between.
            run_on = 0
            await asyncio.sleep(0)
        verb, _, argument = line.partition(b" ")
        command = _command(dialogue, verb.upper(), line)
        if command is None:
            continue
        if connection.pending and not session.esmtp and session.helo_name:
            await dialogue.violation(Violation.NOT_OFFERED)
            if dialogue.end_reason:
                return
        await command(dialogue, argument.strip(b" \t") if argument else argument)


def _command(dialogue: Dialogue, verb: bytes, line: bytes) -> Command | None:
    """The command that the line names; None when there is none and the line was answered."""
    known = COMMANDS.get(verb)
    if known is None or protocol_detection.is_http_request(line):
        dialogue.services.metrics.commands["unknown"] += 1
        if protocol_detection.is_other_protocol(line):
            dialogue.end("wrong_protocol", WRONG_PROTOCOL)
        elif protocol_detection.is_proxy_line(line):
            _unexpected_proxy_header(dialogue)
        else:
            dialogue.error(COMMAND_UNRECOGNISED)
        return None
    label, command = known
    dialogue.services.metrics.commands[label] += 1
    if len(line) > COMMAND_OCTETS and command is not authentication.auth:
        dialogue.error(LINE_TOO_LONG)
        return None
    if _CONTROL(line):
        # NUL, CR, LF and their like belong in no command, and must reach no header, log or database (C38, C39).
        dialogue.error(BAD_COMMAND_SYNTAX)
        return None
    return command


def _turned_away(dialogue: Dialogue) -> bool:
    """Ends a session that must not wait for a further command; true when it has ended."""
    if dialogue.services.draining and dialogue.transaction is None:
        dialogue.end("shutting_down", SHUTTING_DOWN)
    elif dialogue.connection.pending and protocol_detection.is_tls(dialogue.connection.pending):
        dialogue.end("wrong_protocol", WRONG_PROTOCOL)
    return dialogue.ending


def _unexpected_proxy_header(dialogue: Dialogue) -> None:
    """A second header from a proxy of ours is a wrong command; one from anybody else ends the session (C80)."""
    if dialogue.proxied:
        dialogue.error(COMMAND_UNRECOGNISED)
        return
    dialogue.services.metrics.sessions_refused["proxy"] += 1
    log.info("proxy_header_refused", session_id=dialogue.session.id, peer=dialogue.session.peer.client_address)
    dialogue.end("proxy_header", NOT_A_PROXY)
