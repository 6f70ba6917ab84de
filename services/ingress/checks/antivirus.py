"""Asks clamd about a message: INSTREAM, in pieces, whole, within a time; only a clear word counts."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator

from services.ingress.findings import ScanOutcome, VirusScan

_ANSWER_OCTETS = 4096
_PIECE_OCTETS = 64 * 1024
_SIGNATURE_OCTETS = 255
_FOUND = re.compile(rb"(?:stream: )?(.+) FOUND").fullmatch
_CLEAN = b"stream: OK"
# Scans that wait for their turn, for each that runs; more would be a pile-up.
_WAITING_PER_RUNNING = 4


class Scanner:
    """Scans with at most `concurrency` at once. aioclamd is not used: it reads a kilobyte per thread and no socket."""

    def __init__(self, concurrency: int) -> None:
        self._room = asyncio.Semaphore(concurrency)
        self._waiting = 0
        self._most_waiting = concurrency * _WAITING_PER_RUNNING

    async def scan(self, clamd: str, pieces: Iterator[bytes], seconds: float) -> VirusScan:
        """`clamd`: host:port, or the path of a socket. Never raises; whatever is not a clear answer is an error."""
        if self._waiting >= self._most_waiting:
            return _error("too many scans waiting")
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds):
                async with self._room:
                    answer = await _ask(clamd, pieces)
        except TimeoutError:
            return _error("timed out")
        except (OSError, ValueError):
            return _error("unreachable")
        finally:
            self._waiting -= 1
        return _judge(answer)


def _error(reason: str) -> VirusScan:
    return VirusScan(ScanOutcome.ERROR, reason=reason)


def _judge(answer: bytes) -> VirusScan:
    """Exactly `stream: OK` is clean, exactly FOUND is a find (C102)."""
    if answer == _CLEAN:
        return VirusScan(ScanOutcome.CLEAN)
    found = _FOUND(answer)
    if found is not None:
        return VirusScan(ScanOutcome.INFECTED, signature=found[1][:_SIGNATURE_OCTETS])
    if answer.endswith(b"size limit exceeded. ERROR"):
        return _error("message over clamd's size")
    return _error("answer not understood" if answer else "no answer")


async def _ask(clamd: str, pieces: Iterator[bytes]) -> bytes:
    """clamd's answer without its NUL. Raises OSError, ValueError for an address that is none."""
    if clamd.startswith("/"):
        reader, writer = await asyncio.open_unix_connection(clamd, limit=_ANSWER_OCTETS)
    else:
        host, _, port = clamd.rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), limit=_ANSWER_OCTETS)
    # Over its size limit clamd answers and closes while we still send.
    answering = asyncio.create_task(_answer(reader))
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
            writer.write(b"\0\0\0\0")
            await writer.drain()
        return await answering
    finally:
        answering.cancel()
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """Up to the NUL, however many segments it comes in; an answer cut short is none."""
    try:
        return (await reader.readuntil(b"\0"))[:-1].strip()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        return b""
