"""Reads the body of a request that contains mail. A long body is written into a file while it arrives, so that it uses
little memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import BinaryIO

from starlette.requests import ClientDisconnect, Request

from services.config_api.problems import Problem, malformed

MEGABYTE = 1_048_576
# The largest body that stays in memory.
_MEMORY_OCTETS = 256 * 1024
_PIECE_OCTETS = 64 * 1024
# JSON is parsed in memory. These are the largest numbers of octets that are parsed at the same time: for all API keys,
# and for one key.
MOST_JSON_OCTETS = 256 * MEGABYTE
JSON_OCTETS_PER_KEY = 128 * MEGABYTE


class Spool:
    """Stores octets in memory, or in an unnamed file when there are many. It must be closed."""

    def __init__(self) -> None:
        self.file: BinaryIO = tempfile.SpooledTemporaryFile(_MEMORY_OCTETS)  # type: ignore[assignment]  # noqa: SIM115
        self.size = 0
        self._digest = hashlib.sha256()

    def write(self, piece: bytes) -> int:
        self.size += len(piece)
        self._digest.update(piece)
        return self.file.write(piece)

    def digest(self) -> bytes:
        """Returns the SHA-256 of the octets."""
        return self._digest.digest()

    def content(self) -> bytes:
        self.file.seek(0)
        return self.file.read()

    def pieces(self) -> Iterator[bytes]:
        self.file.seek(0)
        while piece := self.file.read(_PIECE_OCTETS):
            yield piece

    def close(self) -> None:
        self.file.close()


async def read(request: Request, spool: Spool, limit: int) -> None:
    """Writes the whole body into the spool. Raises Problem 413 above `limit` octets."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_large(limit)
    try:
        async for piece in request.stream():
            if spool.size + len(piece) > limit:
                raise too_large(limit)
            spool.write(piece)
    except ClientDisconnect:
        raise malformed("The request ended early.") from None


def too_large(limit: int) -> Problem:
    return Problem(413, "too-large", "The body is too large.", f"{limit} octets are allowed.")


class LineEnds:
    """Changes each LF without CR to CRLF, as SMTP clients must do before they send (RFC 5321 2.3.8). The content is
    converted piece by piece.
    """

    def __init__(self) -> None:
        self._ends_in_cr = False

    def convert(self, piece: bytes) -> bytes:
        if not piece:
            return piece
        begins_with_end = self._ends_in_cr and piece.startswith(b"\n")
        self._ends_in_cr = piece.endswith(b"\r")
        if len(piece) - len(piece.replace(b"\n", b"")) == piece.count(b"\r\n") + begins_with_end:
            return piece
        if begins_with_end:
            return b"\n" + _converted(piece[1:])
        return _converted(piece)


def _converted(piece: bytes) -> bytes:
    return piece.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


async def crlf(spool: Spool) -> AsyncIterator[bytes]:
    """Yields the content with the line ends of SMTP."""
    ends = LineEnds()
    for piece in spool.pieces():
        yield ends.convert(piece)


class JsonShares:
    """Limits the memory that JSON bodies use, for each API key and in total. A key without bodies uses no memory."""

    def __init__(self) -> None:
        self._octets: Counter[str] = Counter()

    @contextlib.contextmanager
    def reserve(self, key_id: str, octets: int) -> Iterator[None]:
        """Counts octets while the block runs. Raises Problem 429 when they would exceed a limit."""
        if self._octets[key_id] + octets > JSON_OCTETS_PER_KEY or self._octets.total() + octets > MOST_JSON_OCTETS:
            raise Problem(
                429,
                "too-many-octets",
                "Too much mail is being read already.",
                "Send long messages as message/rfc822, which uses no memory, or send them one after the other.",
                headers={"Retry-After": "2"},
            )
        self._octets[key_id] += octets
        try:
            yield
        finally:
            self._octets[key_id] -= octets
            if not self._octets[key_id]:
                del self._octets[key_id]
