"""Makes ids whose order is that of their creation (UUIDv7, RFC 9562 5.7), and reads the clock in microseconds."""

from __future__ import annotations

import secrets
import time
import uuid


class Identifiers:
    """Makes ids that strictly increase within the process, so that the order of ids is the order of creation."""

    def __init__(self) -> None:
        self._last = 0

    def new(self) -> str:
        # The id has 48 bits of milliseconds and 12 bits of their fraction (RFC 9562 6.2, method 3), and then random
        # bits.
        ticks = max((time.time_ns() * 4096) // 1_000_000, self._last + 1)
        self._last = ticks
        value = (ticks >> 12) << 80 | 0x7 << 76 | (ticks & 0xFFF) << 64 | 0b10 << 62 | secrets.randbits(62)
        return str(uuid.UUID(int=value))


def first_id(at: int) -> str:
    """Returns the lowest id for this time (microseconds since 1970). All ids that are made later are higher."""
    return str(uuid.UUID(int=max(at // 1000, 0) << 80))


def now_us() -> int:
    """Returns the present time in microseconds since 1970."""
    return time.time_ns() // 1000
