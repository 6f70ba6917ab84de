"""Asks clamd about a message: INSTREAM, in pieces, whole, within a time; only a clear word counts."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator

from libs.runtime.addresses import host_and_port
from services.ingress.content_facts import ScanOutcome, VirusScan
from services.ingress.shared_slots import NoSlotError, SharedSlots

_ANSWER_OCTETS = 4096
_PIECE_OCTETS = 64 * 1024
_SIGNATURE_OCTETS = 255
_FOUND = re.compile(rb"(?:stream: )?(.+) FOUND").fullmatch
_CLEAN = b"stream: OK"
# Scans that run or wait for their turn, for each that may run; more would be a pile-up.
_UNDER_WAY_PER_PLACE = 4


class Scanner:
    """Scans with at most `concurrency` at once, of which a client has three quarters.

    aioclamd is not used: it reads a kilobyte per thread and no socket.
    """

    def __init__(self, concurrency: int) -> None:
        self._slots = SharedSlots(
            concurrency,
            share=max(1, concurrency * 3 // 4),
            under_way=concurrency * _UNDER_WAY_PER_PLACE,
        )

    async def scan(self, clamd: str, pieces: Iterator[bytes], seconds: float, client: str = "") -> VirusScan:
        """`clamd`: host:port, or the path of a socket; `client`: who sent the content.

        Never raises; whatever is not a clear answer is an error.
        """
        try:
            async with asyncio.timeout(seconds), self._slots.held(client):
                answer = await _ask(clamd, pieces)
        except NoSlotError:
            return _error("too many scans waiting")
        except TimeoutError:
            return _error("timed out")
        except (OSError, ValueError):
            return _error("unreachable")
        return _judge(answer)


def _error(reason: str) -> VirusScan:
    return VirusScan(ScanOutcome.ERROR, reason=reason)


def _judge(answer: bytes) -> VirusScan:
    """Exactly `stream: OK` is clean, exactly FOUND is a find (C102)."""
    if answer == _CLEAN:
        return VirusScan(ScanOutcome.CLEAN)
    virus = _FOUND(answer)
    if virus is not None:
        return VirusScan(ScanOutcome.INFECTED, signature=virus[1][:_SIGNATURE_OCTETS])
    if answer.endswith(b"size limit exceeded. ERROR"):
        return _error("message over clamd's size")
    return _error("answer not understood" if answer else "no answer")


async def _ask(clamd: str, pieces: Iterator[bytes]) -> bytes:
    """clamd's answer without its NUL. Raises OSError, ValueError for an address that is none.

    An answer that comes before the whole content was sent is not used when it says that the content is clean.
    """
    if clamd.startswith("/"):
        reader, writer = await asyncio.open_unix_connection(clamd, limit=_ANSWER_OCTETS)
    else:
        address = host_and_port(clamd)
        reader, writer = await asyncio.open_connection(address.host, address.port, limit=_ANSWER_OCTETS)
    # Over its size limit clamd answers and closes while we still send.
    answering = asyncio.create_task(_answer(reader))
    answer, whole = b"", False
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(b"zINSTREAM\0")
            for piece in pieces:
                for start in range(0, len(piece), _PIECE_OCTETS):
                    part = piece[start : start + _PIECE_OCTETS]
                    writer.write(len(part).to_bytes(4) + part)
                    await writer.drain()
                if answering.done():
                    break
            else:
                whole = True
            writer.write(b"\0\0\0\0")
            await writer.drain()
        answer = await answering
        return b"" if answer == _CLEAN and not whole else answer
    finally:
        answering.cancel()
        if answer:
            writer.close()
        else:
            # Closing would wait until clamd reads what it was sent, which it may never do.
            writer.transport.abort()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """Up to the NUL, however many segments it comes in; an answer cut short is none."""
    try:
        return (await reader.readuntil(b"\0"))[:-1].strip()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        return b""
