"""What may happen to a connection instead of more octets."""

from __future__ import annotations


class GoneError(Exception):
    """The client ended the connection, and nothing that it sent is left unread."""


class LineTooLongError(Exception):
    """More octets than a command may have, with no line end in sight or before it."""


class TimedOutError(Exception):
    """The client let a deadline pass."""


class HandshakeError(Exception):
    """TLS could not be agreed on."""
