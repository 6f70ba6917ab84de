"""Ids that sort by the time they were made (UUIDv7, RFC 9562 5.7), and the clock in microseconds."""

from __future__ import annotations

import secrets
import time
import uuid


class Identifiers:
    """Strictly increasing within the process, so that a list ordered by id is in order of creation."""

    def __init__(self) -> None:
        self._last = 0

    def new(self) -> str:
        # 48 bits of milliseconds and 12 bits of their fraction (RFC 9562 6.2, method 3), then chance.
        ticks = max((time.time_ns() * 4096) // 1_000_000, self._last + 1)
        self._last = ticks
        value = (ticks >> 12) << 80 | 0x7 << 76 | (ticks & 0xFFF) << 64 | 0b10 << 62 | secrets.randbits(62)
        return str(uuid.UUID(int=value))


def first_id(at: int) -> str:
    """No id that is made at this time or later sorts before it; microseconds since 1970."""
    return str(uuid.UUID(int=max(at // 1000, 0) << 80))


def now_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000
