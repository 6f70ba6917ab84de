"""Exceptions that end the reading from a connection."""

from __future__ import annotations


class GoneError(Exception):
    """The client ended the connection, or the connection broke, and nothing more can be read."""


class LineTooLongError(Exception):
    """A command line is longer than allowed. `verb` is its first word, perhaps truncated."""

    def __init__(self, line: bytes | bytearray) -> None:
        super().__init__()
        self.verb = bytes(line[:5]).partition(b" ")[0].upper()


class TimedOutError(Exception):
    """The client let a deadline pass."""


class HandshakeError(Exception):
    """The TLS handshake failed."""
