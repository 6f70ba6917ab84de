"""Asks clamd about a whole message with INSTREAM, within a time limit. Any answer that is not clear is an error."""

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
# The largest number of scans that run or wait, as a multiple of the number that may run. Further scans fail at once.
_UNDER_WAY_PER_PLACE = 4


class Scanner:
    """Scans at most `concurrency` messages at the same time. One client may use three quarters of these places.
    aioclamd is not used, because it reads each kilobyte in a thread and does not support Unix sockets.
    """

    def __init__(self, concurrency: int) -> None:
        self._slots = SharedSlots(
            concurrency,
            share=max(1, concurrency * 3 // 4),
            under_way=concurrency * _UNDER_WAY_PER_PLACE,
        )

    async def scan(self, clamd: str, pieces: Iterator[bytes], seconds: float, client: str = "") -> VirusScan:
        """Asks ClamAV whether content has a virus. `clamd` is host:port, or the path of a socket. `client` is the
        network of the SMTP client that sent the content. Never raises: any answer that is not clear counts as an error.
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
    """Reads the answer. Only `stream: OK` means clean, and only FOUND means a virus (C102)."""
    if answer == _CLEAN:
        return VirusScan(ScanOutcome.CLEAN)
    virus = _FOUND(answer)
    if virus is not None:
        return VirusScan(ScanOutcome.INFECTED, signature=virus[1][:_SIGNATURE_OCTETS])
    if answer.endswith(b"size limit exceeded. ERROR"):
        return _error("the message is larger than clamd's limit")
    return _error("answer not understood" if answer else "no answer")


async def _ask(clamd: str, pieces: Iterator[bytes]) -> bytes:
    """Returns clamd's answer without its NUL. Raises OSError, and ValueError for an invalid address.

    An answer that comes before the whole content was sent is not used when it says that the content is clean.
    """
    if clamd.startswith("/"):
        reader, writer = await asyncio.open_unix_connection(clamd, limit=_ANSWER_OCTETS)
    else:
        address = host_and_port(clamd)
        reader, writer = await asyncio.open_connection(address.host, address.port, limit=_ANSWER_OCTETS)
    # Over its size limit, clamd answers and closes the connection while we still send.
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
            # A normal close would wait until clamd has read everything, which may never happen.
            writer.transport.abort()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """Reads up to the NUL, in any number of segments. A truncated answer counts as no answer."""
    try:
        return (await reader.readuntil(b"\0"))[:-1].strip()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        return b""
