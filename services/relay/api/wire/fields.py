"""Times and texts."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

_NAME_LIMIT = 1024


def microseconds(at: Timestamp) -> int:
    """Microseconds since 1970; 0 for the empty timestamp."""
    return at.seconds * 1_000_000 + at.nanos // 1000


def timestamp(at: int) -> Timestamp:
    """Of microseconds since 1970."""
    seconds, rest = divmod(at, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def optional(at: int | None) -> Timestamp | None:
    """The timestamp of microseconds since 1970; absent for None."""
    return None if at is None else timestamp(at)


def clean(text: str, limit: int = _NAME_LIMIT) -> str:
    """Text of bounded length without NUL, which PostgreSQL has no place for."""
    return text[:limit].replace("\x00", "\ufffd")
