"""What may happen to a connection instead of more octets."""

from __future__ import annotations


class GoneError(Exception):
    """The client ended the connection, and nothing that it sent is left unread."""


class LineTooLongError(Exception):
    """More octets than a command may have, with no line end in sight or before it. `verb`: its first word, in part."""

    def __init__(self, line: bytes | bytearray) -> None:
        super().__init__()
        self.verb = bytes(line[:5]).partition(b" ")[0].upper()


class TimedOutError(Exception):
    """The client let a deadline pass."""


class HandshakeError(Exception):
    """TLS could not be agreed on."""
