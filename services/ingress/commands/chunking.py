"""BDAT (RFC 3030): content in chunks of announced size."""

from __future__ import annotations

import re

from libs.smtp.reply import (
    BAD_COMMAND_SYNTAX,
    CHUNK_OK,
    MESSAGE_TOO_BIG,
    TOO_MANY_ERRORS,
    Reply,
)
from services.ingress import end_of_data
from services.ingress.commands.content import OVERRUN, line_reader, refuse_content
from services.ingress.content import Chunks, Content
from services.ingress.data import ChunkReader, Fault
from services.ingress.limits import drain_octets
from services.ingress.session import Stage
from services.ingress.smtp_session import SmtpSession

_ARGUMENT = re.compile(rb"([0-9]+)(?:[ \t]+(LAST))?", re.IGNORECASE).fullmatch
# Finds the size even if the rest of the argument is wrong: `BDAT +9`, `BDAT 9, LAST`, `BDAT 9 FIRST`.
_LEADING_NUMBER = re.compile(rb"\+?([0-9]+)(?![0-9A-Za-z])").match
# If a message has more chunks than this, they must have at least this many octets on average. Thousands of tiny chunks
# are an attack (C45).
_CHUNKS_FREE = 1_000
_CHUNK_OCTETS = 256
# A refused chunk up to this size is read and dropped. A larger chunk ends the session.
_REFUSED_OCTETS = 64 * 1024 * 1024
TOO_BIG_TO_SKIP = Reply(552, "5.3.4", "Chunk is too big")


async def bdat(smtp_session: SmtpSession, argument: bytes) -> None:
    """Reads a chunk. If the command is wrong but has a size, that many octets are dropped and not run as commands
    (C44). If they are too many, the session ends.
    """
    parsed = _ARGUMENT(argument)
    if parsed is None:
        number = _LEADING_NUMBER(argument)
        if number is None or await _skip(smtp_session, int(number[1])):
            smtp_session.error(BAD_COMMAND_SYNTAX.with_text("Syntax: BDAT size [LAST]"))
        # If the size cannot be read, the following octets run as commands, so there must be no transaction for them
        # (F62).
        smtp_session.clear_transaction()
        return
    size, last = int(parsed[1]), parsed[2] is not None
    if smtp_session.chunks is None:
        refusal = await refuse_content(smtp_session)
        if refusal is not None:
            if smtp_session.ending:
                smtp_session.reply(refusal)
            elif await _skip(smtp_session, size):
                smtp_session.error(refusal)
            return
        content = Content(smtp_session.context.spool)
        lines = line_reader(smtp_session, content)
        smtp_session.chunks = Chunks(content, lines, ChunkReader(lines), smtp_session.connection.event_loop.time())
    await _take(smtp_session, smtp_session.chunks, size, last=last)


async def _take(smtp_session: SmtpSession, chunks: Chunks, size: int, *, last: bool) -> None:
    overrun = drain_octets(smtp_session.profile.max_message_size)
    if overrun and chunks.octets + size > overrun:
        smtp_session.record(MESSAGE_TOO_BIG, Stage.END_OF_DATA, (), "message_too_big", "")
        smtp_session.end("data_overrun", TOO_BIG_TO_SKIP if chunks.count == 0 else OVERRUN)
        return
    chunks.count += 1
    if chunks.count > _CHUNKS_FREE and chunks.octets < chunks.count * _CHUNK_OCTETS:
        smtp_session.end("tiny_chunks", TOO_MANY_ERRORS)
        return
    await _read(smtp_session, chunks, size)
    if last:
        try:
            chunks.reader.finish()
            smtp_session.context.metrics.octets_received += chunks.octets
            smtp_session.context.metrics.data_seconds.observe(smtp_session.connection.event_loop.time() - chunks.began)
            await end_of_data.finish(smtp_session, chunks.content, chunks.lines.fault)
        finally:
            smtp_session.clear_transaction()
    elif chunks.lines.fault is not None:
        await _refuse(smtp_session, chunks.lines.fault)
    else:
        smtp_session.reply(CHUNK_OK.with_text(f"{size} octets received"))


async def _refuse(smtp_session: SmtpSession, fault: Fault) -> None:
    """Refuses a chunk, and clears the transaction (RFC 3030 2)."""
    await end_of_data.refuse(smtp_session, end_of_data.FAULTS[fault], fault.value)
    smtp_session.clear_transaction()


async def _read(smtp_session: SmtpSession, chunks: Chunks, size: int) -> None:
    connection, limits = smtp_session.connection, smtp_session.context.limits
    left = size
    while left:
        part = bytes(connection.pending[:left])
        if part:
            connection.drop(len(part))
            left -= len(part)
            chunks.octets += len(part)
            chunks.reader.feed(part)
            continue
        now = connection.event_loop.time()
        await connection.more_content(limits.data_deadline(now, chunks.began, chunks.octets), left)


async def _skip(smtp_session: SmtpSession, size: int) -> bool:
    """Reads and drops the octets of a refused chunk. Returns False when there are too many, so that the
    session ends.
    """
    if size > _REFUSED_OCTETS:
        smtp_session.end("data_overrun", TOO_BIG_TO_SKIP)
        return False
    connection, limits = smtp_session.connection, smtp_session.context.limits
    began, left = connection.event_loop.time(), size
    while left:
        waiting = min(left, len(connection.pending))
        if waiting:
            connection.drop(waiting)
            left -= waiting
            continue
        await connection.more_content(limits.data_deadline(connection.event_loop.time(), began, size - left), left)
    return True
