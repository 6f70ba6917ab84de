"""Conversions that are needed for the gRPC messages of several services: from their values to those of answers."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.config_api.changes.editor import time_text


def when(message: Message, field: str) -> str | None:
    """Returns the timestamp in a field of a message as RFC 3339, or None when the field is not set."""
    if not message.HasField(field):
        return None
    value: Timestamp = getattr(message, field)
    return time_text(value.ToMicroseconds())


def or_none(value: str | int) -> Any:
    """Returns a value of a gRPC message, or None when the value is empty or 0."""
    return value or None


def text(raw: bytes) -> str:
    """Returns octets from clients as text. Octets that are not UTF-8 are escaped."""
    return raw.decode("utf-8", "backslashreplace")


def name(enumeration: type, value: int, prefix: str) -> str:
    """Returns the name of a value of a protobuf enumeration, without its prefix and in lower case. Returns `unknown`
    for UNSPECIFIED, and for a value that this release does not know.
    """
    try:
        found = str(enumeration.Name(value)).removeprefix(prefix).lower()  # type: ignore[attr-defined]
    except ValueError:
        return "unknown"
    return "unknown" if found == "unspecified" else found
