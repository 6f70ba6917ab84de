"""AUTH (RFC 4954) with PLAIN (RFC 4616) and LOGIN. Credentials are sent to policy only."""

from __future__ import annotations

import base64
import binascii

from libs.smtp.reply import (
    AUTH_CANCELLED,
    AUTH_LINE_TOO_LONG,
    AUTH_UNAVAILABLE,
    AUTHENTICATED,
    BAD_ARGUMENT,
    BAD_SEQUENCE,
    ENCRYPTION_REQUIRED_FOR_AUTH,
    MECHANISM_UNKNOWN,
    NOT_IMPLEMENTED,
    TOO_MANY_ERRORS,
    CommandError,
    Reply,
)
from services.ingress.commands import greeting
from services.ingress.connection_errors import LineTooLongError
from services.ingress.limits import AUTH_LINE_OCTETS
from services.ingress.session import Credentials, Stage
from services.ingress.smtp_session import SmtpSession
from services.ingress.verdict import Action

_UNDECODABLE = Reply(501, "5.5.2", "Cannot decode the response")
_CLOSING_CODE = 421


async def auth(smtp_session: SmtpSession, argument: bytes) -> None:
    refusal = _refusal(smtp_session)
    if refusal is not None:
        smtp_session.error(refusal)
        return
    words = argument.split()
    if not 1 <= len(words) <= 2:
        smtp_session.error(BAD_ARGUMENT.with_text("Syntax: AUTH mechanism [initial-response]"))
        return
    mechanism = words[0].upper().decode("ascii", "replace")
    if mechanism not in greeting.mechanisms(smtp_session):
        smtp_session.error(MECHANISM_UNKNOWN)
        return
    initial = words[1] if len(words) == 2 else None
    try:
        if mechanism == "PLAIN":
            credentials = await _plain(smtp_session, initial)
        else:
            credentials = await _login(smtp_session, initial)
    except CommandError as error:
        if not smtp_session.ending:
            smtp_session.error(error.reply)
        return
    await log_in(smtp_session, credentials)


def _refusal(smtp_session: SmtpSession) -> Reply | None:
    session, profile = smtp_session.session, smtp_session.profile
    if not session.esmtp:
        return BAD_SEQUENCE.with_text("Send EHLO first")
    if session.account:
        return BAD_SEQUENCE.with_text("Authenticated already")
    if smtp_session.transaction is not None:
        # If AUTH were allowed within a transaction, decisions that were made without a login would apply to the account
        # (C65).
        return BAD_SEQUENCE.with_text("Not within a mail transaction")
    if not greeting.mechanisms(smtp_session):
        if profile.auth_tls and session.tls is None:
            return ENCRYPTION_REQUIRED_FOR_AUTH
        return NOT_IMPLEMENTED.with_text("Authentication is not offered here")
    return None


async def _plain(smtp_session: SmtpSession, initial: bytes | None) -> Credentials:
    response = _decoded(initial) if initial is not None else await _ask(smtp_session, b"334 \r\n")
    parts = response.split(b"\0")
    if len(parts) != 3 or not parts[1]:
        raise CommandError(_UNDECODABLE)
    return Credentials("PLAIN", *parts)


async def _login(smtp_session: SmtpSession, initial: bytes | None) -> Credentials:
    # `Username:` and `Password:` in base64, the texts that every client expects (C67).
    login = _decoded(initial) if initial is not None else await _ask(smtp_session, b"334 VXNlcm5hbWU6\r\n")
    password = await _ask(smtp_session, b"334 UGFzc3dvcmQ6\r\n")
    if not login:
        raise CommandError(_UNDECODABLE)
    return Credentials("LOGIN", b"", login, password)


def _decoded(response: bytes) -> bytes:
    if response == b"=":
        # This is an empty initial response (RFC 4954 4).
        return b""
    try:
        return base64.b64decode(response, validate=True)
    except (binascii.Error, ValueError):
        raise CommandError(_UNDECODABLE) from None


async def _ask(smtp_session: SmtpSession, challenge: bytes) -> bytes:
    """Sends a challenge and reads the response to it. Raises CommandError."""
    connection = smtp_session.connection
    smtp_session.context.metrics.replies[334] += 1
    connection.send(challenge)
    deadline = connection.event_loop.time() + smtp_session.context.limits.command_seconds
    try:
        while (line := connection.take_line(AUTH_LINE_OCTETS)) is None:
            await connection.more(deadline)
    except LineTooLongError:
        smtp_session.end("line_too_long", AUTH_LINE_TOO_LONG)
        raise CommandError(AUTH_LINE_TOO_LONG) from None
    if line == b"*":
        raise CommandError(AUTH_CANCELLED)
    return _decoded(line)


async def log_in(smtp_session: SmtpSession, credentials: Credentials) -> None:
    """Asks policy about the credentials, and answers."""
    session, profile = smtp_session.session, smtp_session.profile
    verdict = await smtp_session.decide(Stage.AUTH, credentials=credentials)
    if verdict.action is Action.ACCEPT:
        if verdict.account:
            session.log_in(verdict.account, verdict.account_proof, profile)
            smtp_session.reply(AUTHENTICATED)
            return
        # Without a login, the profile of the verdict is not used.
        session.profile = profile
    # Anything except a clear refusal is a temporary error, and not wrong credentials (RFC 4954 4; C72).
    reply = verdict.reply if verdict.action is Action.REJECT and verdict.reply is not None else AUTH_UNAVAILABLE
    if reply.is_permanent:
        session.auth_failures += 1
    elif reply.code != _CLOSING_CODE:
        reply = AUTH_UNAVAILABLE
    smtp_session.reply(reply)
    if session.auth_failures >= smtp_session.context.limits.max_auth_failures:
        smtp_session.end("too_many_auth_failures", TOO_MANY_ERRORS)
