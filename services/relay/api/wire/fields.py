"""Conversions of times and texts."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

_NAME_LIMIT = 1024


def microseconds(at: Timestamp) -> int:
    """Returns the microseconds since 1970. The result is 0 for the empty timestamp."""
    return at.seconds * 1_000_000 + at.nanos // 1000


def timestamp(at: int) -> Timestamp:
    """Returns the timestamp for microseconds since 1970."""
    seconds, rest = divmod(at, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def optional(at: int | None) -> Timestamp | None:
    """Returns the timestamp for microseconds since 1970, or None for None."""
    return None if at is None else timestamp(at)


def clean(text: str, limit: int = _NAME_LIMIT) -> str:
    """Returns the text with bounded length and without NUL, which PostgreSQL cannot store."""
    return text[:limit].replace("\x00", "\ufffd")
