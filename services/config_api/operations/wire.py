"""Small conversions from the messages of all contracts to answers."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.config_api.changes.editor import time_text


def when(message: Message, field: str) -> str | None:
    """Returns a timestamp as RFC 3339, or None when it is not set."""
    if not message.HasField(field):
        return None
    value: Timestamp = getattr(message, field)
    return time_text(value.ToMicroseconds())


def or_none(value: str | int) -> Any:
    """Returns a value of a contract, or None when it is empty."""
    return value or None


def text(raw: bytes) -> str:
    """Returns octets from clients as text. Octets that are not UTF-8 are escaped."""
    return raw.decode("utf-8", "backslashreplace")


def name(enumeration: type, value: int, prefix: str) -> str:
    """Returns the name of a contract's enumeration value without its prefix, in lower case. Returns `unknown` for a
    value that this release does not know.
    """
    try:
        found = str(enumeration.Name(value)).removeprefix(prefix).lower()  # type: ignore[attr-defined]
    except ValueError:
        return "unknown"
    return "unknown" if found == "unspecified" else found
