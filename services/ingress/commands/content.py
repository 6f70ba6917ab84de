"""DATA: reads the content and hands it on."""

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
from services.ingress import delivery
from services.ingress.content import Content
from services.ingress.data import DotReader, LineReader
from services.ingress.dialogue import Dialogue
from services.ingress.limits import drain_octets
from services.ingress.session import Stage, Violation
from services.ingress.verdict import Action

OVERRUN = Reply(421, "4.3.0", "Far too much data, closing connection")


async def data(dialogue: Dialogue, argument: bytes) -> None:
    if argument:
        dialogue.error(BAD_COMMAND_SYNTAX.with_text("DATA takes no argument"))
        return
    refusal = await refuse_content(dialogue)
    if refusal is None and dialogue.chunks is not None:
        refusal = BAD_SEQUENCE.with_text("Content is coming by BDAT")
    if refusal is not None:
        dialogue.error(refusal)
        return
    if dialogue.connection.pending:
        await dialogue.violation(Violation.AFTER_DATA)
    if dialogue.ending:
        return
    dialogue.reply(START_MAIL_INPUT)
    content = Content(dialogue.services.spool)
    try:
        lines = line_reader(dialogue, content)
        if await _read(dialogue, lines):
            await delivery.finish(dialogue, content, lines.fault)
    finally:
        content.close()
        dialogue.clear_transaction()


async def refuse_content(dialogue: Dialogue) -> Reply | None:
    """The reply to DATA or the first BDAT when content is not allowed; None when it is."""
    transaction = dialogue.transaction
    if transaction is None:
        return BAD_SEQUENCE.with_text("Send MAIL first")
    if transaction.refusal_reason:
        recipients = tuple(each.address for each in transaction.recipients.values())
        dialogue.record(MESSAGE_OVER_RECIPIENT_LIMIT, Stage.DATA, recipients, transaction.refusal_reason, "")
        dialogue.clear_transaction()
        return MESSAGE_OVER_RECIPIENT_LIMIT
    if not transaction.recipients:
        return NO_VALID_RECIPIENTS
    if Stage.DATA in dialogue.profile.ask_stages and not transaction.all_discarded:
        verdict = await dialogue.decide(Stage.DATA)
        if verdict.action is Action.REJECT and verdict.reply is not None:
            recipients = tuple(each.address for each in transaction.recipients.values())
            dialogue.report(verdict, Stage.DATA, recipients)
            dialogue.clear_transaction()
            return verdict.reply
        transaction.checks = transaction.checks.united(verdict.checks)
    return None


def line_reader(dialogue: Dialogue, content: Content) -> LineReader:
    limits = dialogue.services.limits
    return LineReader(
        content,
        max_octets=dialogue.profile.max_message_size,
        max_line=limits.max_line_octets,
        normalise=limits.normalise_newlines,
        remove_nul=limits.remove_nul_octets,
    )


async def _read(dialogue: Dialogue, lines: LineReader) -> bool:
    """Reads up to the final dot; false when the session ended before it."""
    connection, limits = dialogue.connection, dialogue.services.limits
    began = connection.event_loop.time()
    reader = DotReader(lines)
    overrun = drain_octets(dialogue.profile.max_message_size)
    buffer = connection.pending
    while True:
        while buffer:
            taken, done = reader.feed(buffer)
            if not taken:
                break
            connection.drop(taken)
            if overrun and lines.octets > overrun:
                # It was MESSAGE_TOO_BIG long ago, but there must be an end to reading (C10).
                dialogue.record(MESSAGE_TOO_BIG, Stage.END_OF_DATA, (), "message_too_big", "")
                dialogue.end("data_overrun", OVERRUN)
                return False
            if done:
                dialogue.services.metrics.octets_received += lines.octets
                dialogue.services.metrics.data_seconds.observe(connection.event_loop.time() - began)
                return True
        now = connection.event_loop.time()
        await connection.more_content(limits.data_deadline(now, began, lines.octets), until_dot=True)
