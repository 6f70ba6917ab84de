"""Small things that every conversion from a contract's message to an answer needs."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.config_api.changes.editor import time_text


def when(message: Message, field: str) -> str | None:
    """RFC 3339 of a timestamp; None where it is not set."""
    if not message.HasField(field):
        return None
    value: Timestamp = getattr(message, field)
    return time_text(value.ToMicroseconds())


def or_none(value: str | int) -> Any:
    """A value of a contract, in which the empty one means none."""
    return value or None


def text(raw: bytes) -> str:
    """Octets from clients as text; octets that are no UTF-8 are escaped."""
    return raw.decode("utf-8", "backslashreplace")


def name(enumeration: type, value: int, prefix: str) -> str:
    """A member's name without its prefix, in lower case; `unknown` for one that this release does not know."""
    try:
        found = str(enumeration.Name(value)).removeprefix(prefix).lower()  # type: ignore[attr-defined]
    except ValueError:
        return "unknown"
    return "unknown" if found == "unspecified" else found
