"""Reads content from the octets of DATA and BDAT in bulk, and judges its lines. Pure, linear, bounded."""

from __future__ import annotations

import enum
import re
from typing import Protocol

_ANY_LINE_END = re.compile(rb"\r\n|\r|\n")


class Fault(enum.Enum):
    """Why a message can't be taken; the first one found stands."""

    TOO_BIG = "too_big"
    LINE_TOO_LONG = "line_too_long"
    BARE_NEWLINE = "bare_newline"
    STORAGE = "storage"


class Sink(Protocol):
    """Where content goes."""

    def add(self, octets: bytes) -> None:
        """Raises OSError when there is no room."""

    def discard(self) -> None:
        """What came so far is not wanted."""


class LineReader:
    """Whole lines of content, checked, into a sink.

    `max_octets` of 0: no limit. With `normalise`, a bare CR or LF becomes CRLF; else it is a fault (C02). After a fault
    the content is still read to its end, but not kept: the answer comes once, after the end (C08, C10).
    """

    def __init__(self, sink: Sink, *, max_octets: int, max_line: int, normalise: bool) -> None:
        self._sink = sink
        self._max_octets = max_octets
        self._max_line = max_line
        self._normalise = normalise
        # Octets of content seen, kept or not.
        self.octets = 0
        self.fault: Fault | None = None

    def lines(self, part: bytes) -> None:
        """Takes whole lines, the last one ended by CRLF, without dot-stuffing."""
        self.octets += len(part)
        if self.fault is not None:
            return
        if self._max_octets and self.octets > self._max_octets:
            self.fail(Fault.TOO_BIG)
            return
        ends = part.count(b"\r\n")
        if part.count(b"\n") != ends or part.count(b"\r") != ends:
            if not self._normalise:
                self.fail(Fault.BARE_NEWLINE)
                return
            part = _ANY_LINE_END.sub(b"\r\n", part)
        if self._has_long_line(part):
            self.fail(Fault.LINE_TOO_LONG)
            return
        try:
            self._sink.add(part)
        except OSError:
            self.fail(Fault.STORAGE)

    def skipped(self, octets: int) -> None:
        """Octets of a line that is too long, thrown away."""
        self.octets += octets
        if self._max_octets and self.octets > self._max_octets:
            self.fail(Fault.TOO_BIG)

    def fail(self, fault: Fault) -> None:
        if self.fault is None:
            self.fault = fault
            self._sink.discard()

    def _has_long_line(self, part: bytes) -> bool:
        """Jumps from one line end to the last one in reach of it, so that ordinary lines are hardly looked at."""
        window = self._max_line + 2
        position, end = 0, len(part)
        while end - position > window:
            found = part.rfind(b"\n", position, position + window)
            if found < 0:
                return True
            position = found + 1
        return False

    @property
    def max_line(self) -> int:
        return self._max_line


class DotReader:
    """Content of DATA (RFC 5321 4.5.2): ends at CRLF.CRLF and nowhere else (C01), one leading dot taken off (C06)."""

    def __init__(self, lines: LineReader) -> None:
        self._lines = lines
        # In the middle of a line whose beginning was thrown away.
        self._in_long_line = False

    def feed(self, buffer: bytearray) -> tuple[int, bool]:
        """Reads from the front of `buffer`; how many octets are done with, and whether the end was among them.

        What is left is less than a line: at most `max_line` and a few octets.
        """
        if self._in_long_line:
            return self._leave_long_line(buffer)
        whole = buffer.rfind(b"\r\n") + 2
        if whole < 2:
            return self._enter_long_line(buffer, 0)
        if buffer.startswith(b".\r\n"):
            return 3, True
        end = buffer.find(b"\r\n.\r\n", 0, whole)
        if end >= 0:
            self._take(bytes(buffer[: end + 2]))
            return end + 5, True
        self._take(bytes(buffer[:whole]))
        return self._enter_long_line(buffer, whole)

    def _take(self, part: bytes) -> None:
        if part.startswith(b"."):
            part = part[1:]
        if b"\r\n." in part:
            part = part.replace(b"\r\n.", b"\r\n")
        self._lines.lines(part)

    def _enter_long_line(self, buffer: bytearray, taken: int) -> tuple[int, bool]:
        rest = len(buffer) - taken
        # A leading dot and a CR may come on top.
        if rest <= self._lines.max_line + 2:
            return taken, False
        self._lines.fail(Fault.LINE_TOO_LONG)
        self._in_long_line = True
        kept = 1 if buffer.endswith(b"\r") else 0
        self._lines.skipped(rest - kept)
        return len(buffer) - kept, False

    def _leave_long_line(self, buffer: bytearray) -> tuple[int, bool]:
        end = buffer.find(b"\r\n")
        if end >= 0:
            self._in_long_line = False
            self._lines.skipped(end + 2)
            return end + 2, False
        kept = 1 if buffer.endswith(b"\r") else 0
        self._lines.skipped(len(buffer) - kept)
        return len(buffer) - kept, False


class ChunkReader:
    """Content of BDAT (RFC 3030): octets as they are, cut into whole lines, whatever the chunks' borders."""

    def __init__(self, lines: LineReader) -> None:
        self._lines = lines
        self._partial = bytearray()

    def feed(self, octets: bytes) -> None:
        partial = self._partial
        partial += octets
        whole = partial.rfind(b"\r\n") + 2
        if whole >= 2:
            self._lines.lines(bytes(partial[:whole]))
            del partial[:whole]
        if len(partial) > self._lines.max_line + 1:
            kept = 1 if partial.endswith(b"\r") else 0
            self._lines.fail(Fault.LINE_TOO_LONG)
            self._lines.skipped(len(partial) - kept)
            del partial[: len(partial) - kept]

    def finish(self) -> None:
        """After the last chunk. A last line without its CRLF is given one, which is how relay must send it anyway."""
        if self._partial:
            partial = bytes(self._partial)
            self._partial.clear()
            self._lines.lines(partial + b"\r\n")
