"""The wall clock, which is compared with the steady clock. A jump of the wall clock is detected and reported, and no
mail is given up because of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from prometheus_client import Counter

log = structlog.get_logger(__name__)

JUMPS = Counter("posthouse_relay_clock_jumps", "Steps of the wall clock by more than a minute.", ["direction"])
# The series exists from the start, because Prometheus sees no increase when a series appears with its first count.
for _direction in ("forward", "back"):
    JUMPS.labels(_direction)

MICROSECONDS = 1_000_000
# A change of the wall clock by at least this time is a jump.
JUMP_SECONDS = 60.0
# The two clocks are compared again after this time.
_COMPARED_EVERY = MICROSECONDS
# For this time after a jump no message expires, so that whoever set the clock can correct it.
SETTLING_SECONDS = 3600.0


def _wall() -> int:
    return time.time_ns() // 1000


class Clock:
    """Gives microseconds since 1970 for times that are stored, and seconds of a steady clock for waits."""

    def __init__(self, wall: Callable[[], int] = _wall, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self.steady = steady
        self._compared_at = wall()
        self._offset = self._compared_at - int(steady() * MICROSECONDS)
        self._settled_at = -1.0
        # This function is called with the jump in seconds.
        self.on_jump: Callable[[float], None] | None = None

    def now(self) -> int:
        """Returns microseconds since 1970."""
        wall = self._wall()
        # A jump changes the wall clock alone. A jump stays undetected only if it is undone before the next comparison.
        if not 0 <= wall - self._compared_at < _COMPARED_EVERY:
            self._compare(wall)
        return wall

    def _compare(self, wall: int) -> None:
        steady = self.steady()
        self._compared_at = wall
        offset = wall - int(steady * MICROSECONDS)
        moved = (offset - self._offset) / MICROSECONDS
        if abs(moved) >= JUMP_SECONDS:
            self._settled_at = steady + SETTLING_SECONDS
            JUMPS.labels("forward" if moved > 0 else "back").inc()
            log.error("clock_jumped", seconds=round(moved, 3), nothing_expires_for_seconds=SETTLING_SECONDS)
            self._offset = offset
            if self.on_jump is not None:
                self.on_jump(moved)
        else:
            # Small differences, such as drift, are accepted: from now on the clocks are compared with this difference.
            self._offset = offset

    @property
    def settled(self) -> bool:
        """Whether the wall clock had no jump for long enough, so that messages may expire by it."""
        self.now()
        return self.steady() >= self._settled_at
