"""STARTTLS (RFC 3207)."""

from __future__ import annotations

from libs.smtp.reply import BAD_COMMAND_SYNTAX, BAD_SEQUENCE, READY_FOR_TLS
from services.ingress.session import Violation
from services.ingress.smtp_session import SmtpSession


async def starttls(smtp_session: SmtpSession, argument: bytes) -> None:
    """Starts TLS. The session is reset, and commands that were pipelined behind STARTTLS are never run (C74)."""
    session, connection = smtp_session.session, smtp_session.connection
    if argument:
        smtp_session.error(BAD_COMMAND_SYNTAX.with_text("STARTTLS takes no argument"))
        return
    if session.tls is not None:
        smtp_session.error(BAD_SEQUENCE.with_text("TLS is on already"))
        return
    if connection.pending:
        await smtp_session.violation(Violation.AFTER_STARTTLS)
        if smtp_session.ending:
            return
    smtp_session.clear_transaction()
    connection.send(b"220 2.0.0 Ready to start TLS\r\n")
    smtp_session.context.metrics.replies[READY_FOR_TLS.code] += 1
    deadline = connection.event_loop.time() + smtp_session.context.limits.handshake_seconds
    session.tls = await connection.start_tls(smtp_session.context.certificates.context(), deadline)
    session.forget_dialogue()
