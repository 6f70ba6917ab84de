"""HELO and EHLO, and the extensions in the answer to EHLO."""

from __future__ import annotations

from functools import lru_cache

from libs.smtp.address import HeloKind, HeloName, address_literal, parse_helo
from libs.smtp.parameters import NOTHING_OFFERED, Offered
from libs.smtp.reply import BAD_COMMAND_SYNTAX, Reply
from services.ingress.session import Stage, Violation
from services.ingress.smtp_session import SmtpSession
from services.ingress.verdict import Action, Profile

# The largest number of octets of the name (RFC 5321 4.5.3.1.2).
MAX_NAME_OCTETS = 255


async def helo(smtp_session: SmtpSession, argument: bytes) -> None:
    await _greeted(smtp_session, argument, extended=False)


async def ehlo(smtp_session: SmtpSession, argument: bytes) -> None:
    await _greeted(smtp_session, argument, extended=True)


async def _greeted(smtp_session: SmtpSession, argument: bytes, *, extended: bool) -> None:
    """Handles HELO and EHLO, which also clear the transaction (RFC 5321 4.1.4). Login and TLS do not change (C18)."""
    session = smtp_session.session
    name = _name(argument)
    canonical = name.name
    if name.kind is HeloKind.MALFORMED or len(argument) > MAX_NAME_OCTETS:
        if not session.on_submission_port:
            smtp_session.error(BAD_COMMAND_SYNTAX.with_text("Name or address literal needed"))
            return
        # Many mail programs send the name of the user's computer, which may be invalid. On submission ports nothing
        # depends on the name, so it is accepted, and the trace field has the address instead (F45).
        argument, canonical = argument[:MAX_NAME_OCTETS], address_literal(session.peer.client_address)
    if session.helo_name and await smtp_session.junk():
        return
    before = (session.helo_sent, session.helo_name, session.esmtp)
    smtp_session.clear_transaction()
    session.helo_sent, session.helo_name, session.esmtp = argument, canonical, extended
    if Stage.HELO in smtp_session.profile.ask_stages:
        verdict = await smtp_session.decide(Stage.HELO)
        if verdict.action is Action.REJECT and verdict.reply is not None:
            session.helo_sent, session.helo_name, session.esmtp = before
            smtp_session.reply(verdict.reply)
            return
    if await _piled_up(smtp_session):
        return
    profile = smtp_session.profile
    if extended:
        smtp_session.context.metrics.replies[250] += 1
        smtp_session.connection.send(
            _extensions(
                profile,
                tls=session.tls is not None,
                auth=mechanisms(smtp_session),
            )
        )
    else:
        smtp_session.reply(Reply(250, "", profile.hostname))


@lru_cache(maxsize=1024)
def _name(argument: bytes) -> HeloName:
    return parse_helo(argument)


async def _piled_up(smtp_session: SmtpSession) -> bool:
    """Whether the session ends because the client sent data after HELO or EHLO, before the answer (C20)."""
    pending = smtp_session.connection.pending
    if not pending:
        return False
    if smtp_session.session.on_submission_port and pending == b"QUIT\r\n":
        # Monitoring clients send QUIT without waiting for the answer, and this does no harm.
        return False
    await smtp_session.violation(Violation.AFTER_HELO)
    return smtp_session.ending


def mechanisms(smtp_session: SmtpSession) -> tuple[str, ...]:
    """Returns the AUTH mechanisms that are offered now."""
    if smtp_session.session.account:
        return ()
    profile = smtp_session.profile
    return profile.auth_tls if smtp_session.session.tls is not None else profile.auth_plaintext


# The entries are: after HELO, after EHLO without AUTH, and after EHLO with AUTH.
OFFERED = (
    NOTHING_OFFERED,
    Offered(size=True, eight_bit_mime=True, smtputf8=True, auth=False, dsn=True, chunking=True),
    Offered(size=True, eight_bit_mime=True, smtputf8=True, auth=True, dsn=True, chunking=True),
)


def offered(smtp_session: SmtpSession) -> int:
    """Returns the index of the session's entry in OFFERED. It is a number because it is a part of cache keys."""
    if not smtp_session.session.esmtp:
        return 0
    profile = smtp_session.profile
    return 2 if profile.auth_tls or profile.auth_plaintext else 1


@lru_cache(maxsize=256)
def banner(profile: Profile) -> bytes:
    """Returns the greeting of the connection."""
    return f"220 {profile.hostname} {profile.banner}".rstrip().encode("ascii") + b"\r\n"


@lru_cache(maxsize=256)
def _extensions(profile: Profile, *, tls: bool, auth: tuple[str, ...]) -> bytes:
    """Returns the answer to EHLO."""
    lines = [profile.hostname, "PIPELINING", f"SIZE {profile.max_message_size}", "8BITMIME", "SMTPUTF8"]
    lines += ["ENHANCEDSTATUSCODES", "CHUNKING", "DSN"]
    if not tls:
        lines.append("STARTTLS")
    if auth:
        lines.append(f"AUTH {' '.join(auth)}")
    if profile.max_recipients:
        # The keyword LIMITS is defined in RFC 9422.
        lines.append(f"LIMITS RCPTMAX={profile.max_recipients}")
    last = len(lines) - 1
    return "".join(f"250{' ' if number == last else '-'}{line}\r\n" for number, line in enumerate(lines)).encode()
