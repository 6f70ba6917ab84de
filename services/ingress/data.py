"""Reads content from the octets of DATA and BDAT in bulk, and checks its lines. This module is pure. It needs linear
time and bounded memory.
"""

from __future__ import annotations

import enum
import re
from typing import Protocol

_ANY_LINE_END = re.compile(rb"\r\n|\r|\n")
# Searches lines, of which the last ends in CRLF. Finds a line after the first that has a leading dot, or a CR that does
# not end a line. The pattern looks for both in one fast pass, from CR to CR.
_DOT_OR_BARE_CR = re.compile(rb"\r(?:\n\.|[^\n])").search


# The largest number of octets between two CRLFs while bare CR and LF are normalised. These octets must fit into the
# buffer of a connection.
_WIRE_LINE_OCTETS = 60_000


class Fault(enum.Enum):
    """The reasons to refuse content."""

    TOO_BIG = "message_too_big"
    LINE_TOO_LONG = "line_too_long"
    BARE_NEWLINE = "bare_newline"
    NUL_OCTET = "nul_octet"
    STORAGE = "storage"


class Sink(Protocol):
    """Receives content."""

    def add(self, octets: bytes) -> None:
        """Adds octets to the content. Raises OSError when there is no space."""

    def discard(self) -> None:
        """Drops the content that has arrived so far."""


class LineReader:
    """Checks whole lines of content, and writes them into a sink. `max_octets` of 0 means no limit. With `normalise`, a
    bare CR or LF becomes CRLF. Otherwise it is a fault (C02). With `remove_nul`, NUL octets are removed from lines
    after their check. Otherwise they are a fault. After a fault, the content is read to its end but not stored, because
    the client gets only one answer, after the end of the content (C08, C10). The fault depends only on the content, and
    not on its division into TCP segments.
    """

    def __init__(
        self, sink: Sink, *, max_octets: int, max_line: int, normalise: bool, remove_nul: bool = False
    ) -> None:
        self._sink = sink
        self._max_octets = max_octets
        self._max_line = max_line
        self._normalise = normalise
        self._remove_nul = remove_nul
        # The longest line between two CRLFs. Lines that result from normalising are measured afterwards.
        self.wire_line = _WIRE_LINE_OCTETS if normalise else max_line
        # The octets of content that were read, whether stored or not.
        self.octets = 0
        self._bare_newline = self._nul_octet = self._line_too_long = self._no_room = False
        self._keeping = True

    @property
    def fault(self) -> Fault | None:
        """Returns the most serious fault of the content so far."""
        if self._max_octets and self.octets > self._max_octets:
            return Fault.TOO_BIG
        if self._bare_newline:
            return Fault.BARE_NEWLINE
        if self._nul_octet:
            return Fault.NUL_OCTET
        if self._line_too_long:
            return Fault.LINE_TOO_LONG
        return Fault.STORAGE if self._no_room else None

    def lines(self, part: bytes, *, crs_paired: bool = False) -> None:
        """Adds whole lines without dot-stuffing, of which the last ends in CRLF. `crs_paired` means that every CR has
        its LF.
        """
        self.octets += len(part)
        if self._max_octets and self.octets > self._max_octets:
            self._give_up()
        # Comparing the lengths after a removal is faster than counting the octets.
        bare = (
            len(part.replace(b"\n", b"")) != len(part.replace(b"\r", b""))
            if crs_paired
            else self._has_bare_newline(part)
        )
        if _has_long_line(part, self.wire_line):
            self._line_too_long = True
        if bare and self._normalise:
            part = _ANY_LINE_END.sub(b"\r\n", part)
        elif bare:
            self._bare_newline = True
        if self._normalise and _has_long_line(part, self._max_line):
            self._line_too_long = True
        if b"\0" in part:
            part = self._without_nul(part)
        if self._bare_newline or self._nul_octet or self._line_too_long:
            self._give_up()
        if self._keeping:
            try:
                self._sink.add(part)
            except OSError:
                self._no_room = True
                self._give_up()

    def skip(self, part: bytes) -> None:
        """Checks and drops a part of a line that is too long. The part does not end between CR and LF."""
        self.octets += len(part)
        self._line_too_long = True
        if b"\0" in part:
            self._without_nul(part)
        if not self._normalise and self._has_bare_newline(part):
            self._bare_newline = True
        self._give_up()

    def _without_nul(self, part: bytes) -> bytes:
        if self._remove_nul:
            return part.replace(b"\0", b"")
        self._nul_octet = True
        return part

    def _give_up(self) -> None:
        if self._keeping:
            self._keeping = False
            self._sink.discard()

    @staticmethod
    def _has_bare_newline(part: bytes) -> bool:
        """Whether a CR or LF is not a part of CRLF. This makes two fast passes, because a pattern takes ten times as
        long.
        """
        return len(part) - len(part.translate(None, b"\r\n")) != 2 * part.count(b"\r\n")


def _has_long_line(part: bytes, limit: int) -> bool:
    """Whether a line is longer than the limit. The search jumps from a line end to the last line end within the limit,
    so that ordinary lines need almost no time.
    """
    window = limit + 2
    position, end = 0, len(part)
    while end - position > window:
        line_end = part.rfind(b"\r\n", position, position + window)
        if line_end < 0:
            return True
        position = line_end + 2
    return False


class DotReader:
    """The content of DATA (RFC 5321 4.5.2). It ends only at CRLF.CRLF (C01), and one leading dot is removed (C06)."""

    def __init__(self, lines: LineReader) -> None:
        self._lines = lines
        # Whether the position is within a line whose beginning was thrown away.
        self._in_long_line = False

    def feed(self, buffer: bytearray) -> tuple[int, bool]:
        """Reads from the front of `buffer`. Returns how many octets were processed, and whether the end was among them.

        Call this method, and remove the processed octets, until it processes none. The remaining octets are then less
        than a line: at most `LineReader.wire_line` and a few more.
        """
        if self._in_long_line:
            return self._leave_long_line(buffer)
        whole = buffer.rfind(b"\r\n") + 2
        if whole < 2:
            return self._enter_long_line(buffer, 0)
        if buffer.startswith(b".\r\n"):
            return 3, True
        if whole == len(buffer) and buffer.endswith(b"\r\n.\r\n"):
            part = _front(buffer, whole - 3)
            if _DOT_OR_BARE_CR(part) is None:
                # This is the usual case: nothing follows the end, and no line begins with a dot.
                self._lines.lines(part.removeprefix(b"."), crs_paired=True)
                return whole, True
        end = buffer.find(b"\r\n.\r\n", 0, whole)
        if end >= 0:
            self._take(_front(buffer, end + 2))
            return end + 5, True
        self._take(_front(buffer, whole))
        return self._enter_long_line(buffer, whole)

    def _take(self, part: bytes) -> None:
        if part.startswith(b"."):
            part = part[1:]
        if b"\r\n." in part:
            part = part.replace(b"\r\n.", b"\r\n")
        self._lines.lines(part)

    def _enter_long_line(self, buffer: bytearray, taken: int) -> tuple[int, bool]:
        # The buffer may have a leading dot and a CR in addition to the longest line.
        if len(buffer) - taken <= self._lines.wire_line + 2:
            return taken, False
        self._in_long_line = True
        end = _before_cr(buffer)
        start = taken + 1 if buffer.startswith(b".", taken) else taken
        self._lines.skip(bytes(buffer[start:end]))
        return end, False

    def _leave_long_line(self, buffer: bytearray) -> tuple[int, bool]:
        end = buffer.find(b"\r\n") + 2
        if end >= 2:
            self._in_long_line = False
        else:
            end = _before_cr(buffer)
        self._lines.skip(bytes(buffer[:end]))
        return end, False


def _front(buffer: bytearray, octets: int) -> bytes:
    """Returns the first octets of the buffer. They are copied once, while a slice of a bytearray would be
    copied twice.
    """
    with memoryview(buffer) as view:
        return bytes(view[:octets])


def _before_cr(buffer: bytearray) -> int:
    """Returns the end of the buffer, or the position of a CR at its end, whose LF may still arrive."""
    return len(buffer) - 1 if buffer.endswith(b"\r") else len(buffer)


class ChunkReader:
    """The content of BDAT (RFC 3030): unchanged octets, divided into whole lines, wherever chunks begin and end."""

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
        if len(partial) > self._lines.wire_line + 1:
            end = _before_cr(partial)
            self._lines.skip(bytes(partial[:end]))
            del partial[:end]

    def finish(self) -> None:
        """Ends the content after the last chunk. Adds CRLF to a last line without it, because relay must send whole
        lines.
        """
        if self._partial:
            partial = bytes(self._partial)
            self._partial.clear()
            self._lines.lines(partial + b"\r\n")
