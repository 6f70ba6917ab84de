"""DATA: reads the content and passes it on."""

from __future__ import annotations

from libs.smtp.reply import (
    BAD_COMMAND_SYNTAX,
    BAD_SEQUENCE,
    MESSAGE_OVER_RECIPIENT_LIMIT,
    MESSAGE_TOO_BIG,
    NO_VALID_RECIPIENTS,
    START_MAIL_INPUT,
    Reply,
)
from services.ingress import end_of_data
from services.ingress.content import Content
from services.ingress.data import DotReader, LineReader
from services.ingress.limits import drain_octets
from services.ingress.session import Stage, Violation
from services.ingress.smtp_session import SmtpSession
from services.ingress.verdict import Action

OVERRUN = Reply(421, "4.3.0", "Far too much data, closing connection")


async def data(smtp_session: SmtpSession, argument: bytes) -> None:
    if argument:
        smtp_session.error(BAD_COMMAND_SYNTAX.with_text("DATA takes no argument"))
        return
    refusal = await refuse_content(smtp_session)
    if refusal is None and smtp_session.chunks is not None:
        refusal = BAD_SEQUENCE.with_text("Content is coming by BDAT")
    if refusal is not None:
        smtp_session.error(refusal)
        return
    if smtp_session.connection.pending:
        await smtp_session.violation(Violation.AFTER_DATA)
    if smtp_session.ending:
        return
    smtp_session.reply(START_MAIL_INPUT)
    content = Content(smtp_session.context.spool)
    try:
        lines = line_reader(smtp_session, content)
        if await _read(smtp_session, lines):
            await end_of_data.finish(smtp_session, content, lines.fault)
    finally:
        content.close()
        smtp_session.clear_transaction()


async def refuse_content(smtp_session: SmtpSession) -> Reply | None:
    """Returns the reply to DATA or the first BDAT when content is not allowed, or None when it is allowed."""
    transaction = smtp_session.transaction
    if transaction is None:
        return BAD_SEQUENCE.with_text("Send MAIL first")
    if transaction.refusal_reason:
        recipients = tuple(recipient.address for recipient in transaction.recipients.values())
        smtp_session.record(MESSAGE_OVER_RECIPIENT_LIMIT, Stage.DATA, recipients, transaction.refusal_reason, "")
        smtp_session.clear_transaction()
        return MESSAGE_OVER_RECIPIENT_LIMIT
    if not transaction.recipients:
        return NO_VALID_RECIPIENTS
    if Stage.DATA in smtp_session.profile.ask_stages and not transaction.all_discarded:
        verdict = await smtp_session.decide(Stage.DATA)
        if verdict.action is Action.REJECT and verdict.reply is not None:
            recipients = tuple(recipient.address for recipient in transaction.recipients.values())
            smtp_session.report(verdict, Stage.DATA, recipients)
            smtp_session.clear_transaction()
            return verdict.reply
        transaction.checks = transaction.checks.united(verdict.checks)
    return None


def line_reader(smtp_session: SmtpSession, content: Content) -> LineReader:
    limits = smtp_session.context.limits
    return LineReader(
        content,
        max_octets=smtp_session.profile.max_message_size,
        max_line=limits.max_line_octets,
        normalise=limits.normalise_newlines,
        remove_nul=limits.remove_nul_octets,
    )


async def _read(smtp_session: SmtpSession, lines: LineReader) -> bool:
    """Reads up to the final dot. Returns False when the session ended before it."""
    connection, limits = smtp_session.connection, smtp_session.context.limits
    began = connection.event_loop.time()
    reader = DotReader(lines)
    overrun = drain_octets(smtp_session.profile.max_message_size)
    buffer = connection.pending
    while True:
        while buffer:
            octets_read, done = reader.feed(buffer)
            if not octets_read:
                break
            connection.drop(octets_read)
            if overrun and lines.octets > overrun:
                # The message was already over the limit long before. Reading must end at some point (C10).
                smtp_session.record(MESSAGE_TOO_BIG, Stage.END_OF_DATA, (), "message_too_big", "")
                smtp_session.end("data_overrun", OVERRUN)
                return False
            if done:
                smtp_session.context.metrics.octets_received += lines.octets
                smtp_session.context.metrics.data_seconds.observe(connection.event_loop.time() - began)
                return True
        now = connection.event_loop.time()
        await connection.more_content(limits.data_deadline(now, began, lines.octets), until_dot=True)
