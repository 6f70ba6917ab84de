"""SMTP replies out of a stream of octets, bounded whatever the peer sends. Pure."""

from __future__ import annotations

from services.relay.outcome import Reply

# RFC 5321 4.5.3.1.5 allows 512 octets a line; real servers pass that.
_LINE_LIMIT = 8192
# Text that is kept of one reply, and all that is read of it before the peer is given up (endless multi-line replies).
_KEPT = 16_384
_REPLY_LIMIT = 131_072


class MalformedReplyError(Exception):
    """What came is no SMTP reply, or has no end."""


class ReplyReader:
    """Collects octets until replies are whole."""

    __slots__ = ("_lines", "_partial", "_size")

    def __init__(self) -> None:
        self._partial = b""
        self._lines: list[bytes] = []
        self._size = 0

    @property
    def empty(self) -> bool:
        """No reply has begun."""
        return not self._partial and not self._lines

    def clear(self) -> None:
        """Forgets what has come of a reply."""
        self._partial = b""
        self._lines = []
        self._size = 0

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that `data` completes, in order. Raises MalformedReplyError."""
        if self._partial:
            data = self._partial + data
        replies: list[Reply] = []
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            line = data[start:end].rstrip(b"\r")
            start = end + 1
            reply = self._line(line)
            if reply is not None:
                replies.append(reply)
        self._partial = data[start:]
        if len(self._partial) > _LINE_LIMIT:
            raise MalformedReplyError("a reply line without an end")
        return replies

    def _line(self, line: bytes) -> Reply | None:
        code, mark = line[:3], line[3:4]
        if len(code) != 3 or not code.isdigit() or mark not in (b" ", b"-", b"") or len(line) > _LINE_LIMIT:
            raise MalformedReplyError("a line that is no reply")
        if mark != b"-" and not self._lines:
            return Reply(int(code), line[4:])
        self._size += len(line)
        if self._size <= _KEPT:
            self._lines.append(line[4:])
        elif self._size > _REPLY_LIMIT:
            raise MalformedReplyError("a reply without an end")
        if mark == b"-":
            return None
        # The last line's code counts when they differ, as in every client.
        reply = Reply(int(code), b"\n".join(self._lines))
        self._lines, self._size = [], 0
        return reply
