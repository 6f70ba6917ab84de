"""Exceptions that end the reading from a connection."""

from __future__ import annotations


class GoneError(Exception):
    """The client ended the connection, and nothing that it sent is left unread."""


class LineTooLongError(Exception):
    """A command line is longer than it may be. `verb`: its first word, in part."""

    def __init__(self, line: bytes | bytearray) -> None:
        super().__init__()
        self.verb = bytes(line[:5]).partition(b" ")[0].upper()


class TimedOutError(Exception):
    """The client let a deadline pass."""


class HandshakeError(Exception):
    """TLS could not be agreed on."""
