"""STARTTLS (RFC 3207)."""

from __future__ import annotations

from libs.smtp.reply import BAD_COMMAND_SYNTAX, BAD_SEQUENCE, READY_FOR_TLS
from services.ingress.dialogue import Dialogue
from services.ingress.session import Violation


async def starttls(dialogue: Dialogue, argument: bytes) -> None:
    """Starts TLS. What was said before is forgotten, and what was pipelined behind the command is never run (C74)."""
    session, connection = dialogue.session, dialogue.connection
    if argument:
        dialogue.error(BAD_COMMAND_SYNTAX.with_text("STARTTLS takes no argument"))
        return
    if session.tls is not None:
        dialogue.error(BAD_SEQUENCE.with_text("TLS is on already"))
        return
    if connection.pending:
        await dialogue.violation(Violation.AFTER_STARTTLS)
        if dialogue.ending:
            return
    dialogue.clear_transaction()
    connection.send(b"220 2.0.0 Ready to start TLS\r\n")
    dialogue.services.metrics.replies[READY_FOR_TLS.code] += 1
    deadline = connection.event_loop.time() + dialogue.services.limits.handshake_seconds
    session.tls = await connection.start_tls(dialogue.services.certificates.context(), deadline)
    session.forget_dialogue()
