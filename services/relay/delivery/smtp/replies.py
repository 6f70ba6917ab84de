"""Reads SMTP replies from a stream of octets, in bounded memory, whatever the peer sends. This module is pure."""

from __future__ import annotations

from services.relay.model.outcome import Reply

# RFC 5321 4.5.3.1.5 allows 512 octets in a line, and real servers send longer lines.
_LINE_LIMIT = 8192
# The octets that are stored of one reply, and the octets of one reply after which the connection is given up: a server
# may send a multi-line reply without an end.
_KEPT = 16_384
_REPLY_LIMIT = 131_072
# Most replies have the same text ("250 2.1.5 Ok"). So a bounded number of short lines is cached.
_KNOWN_LINES = 500
_KNOWN_OCTETS = 80


class MalformedReplyError(Exception):
    """The server sent something that is not an SMTP reply, or a reply without an end."""


class ReplyReader:
    """Collects octets until replies are whole."""

    __slots__ = ("_lines", "_partial", "_size")

    def __init__(self) -> None:
        self._partial = b""
        self._lines: list[bytes] = []
        self._size = 0

    @property
    def empty(self) -> bool:
        """Whether no reply has begun."""
        return not self._partial and not self._lines

    def clear(self) -> None:
        """Forgets the part of a reply that has arrived."""
        self._partial = b""
        self._lines = []
        self._size = 0

    def feed(self, data: bytes) -> list[Reply]:
        """Returns the replies that `data` completes, in order. Raises MalformedReplyError."""
        if self._partial:
            data = self._partial + data
        replies: list[Reply] = []
        lines = data.split(b"\n")
        self._partial = lines.pop()
        for line in lines:
            reply = self._line(line) if self._lines else _known.get(line) or self._line(line)
            if reply is not None:
                replies.append(reply)
        if len(self._partial) > _LINE_LIMIT:
            raise MalformedReplyError("a reply line without an end")
        return replies

    def _line(self, raw: bytes) -> Reply | None:
        line = raw.rstrip(b"\r")
        code, mark = line[:3], line[3:4]
        if len(code) != 3 or not code.isdigit() or mark not in (b" ", b"-", b"") or len(line) > _LINE_LIMIT:
            raise MalformedReplyError("a line that is no reply")
        if mark != b"-" and not self._lines:
            reply = Reply(int(code), line[4:])
            if len(raw) <= _KNOWN_OCTETS:
                _remember(raw, reply)
            return reply
        self._size += len(line)
        if self._size <= _KEPT:
            self._lines.append(line[4:])
        elif self._size > _REPLY_LIMIT:
            raise MalformedReplyError("a reply without an end")
        if mark == b"-":
            return None
        # When the lines have different codes, the last one is used.
        reply = Reply(int(code), b"\n".join(self._lines))
        self._lines, self._size = [], 0
        return reply


# Single-line replies, by their whole line without LF. All connections share this cache.
_known: dict[bytes, Reply] = {}


def _remember(line: bytes, reply: Reply) -> None:
    if len(_known) >= _KNOWN_LINES:
        _known.clear()
    _known[line] = reply
