"""The wall clock, watched by the steady one: jumps are noticed, told, and kept from ending anything."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from prometheus_client import Counter

log = structlog.get_logger(__name__)

JUMPS = Counter("posthouse_relay_clock_jumps", "Steps of the wall clock by more than a minute.", ["direction"])
# Shown from the start: what rises from nothing at all does not rise for Prometheus.
for _direction in ("forward", "back"):
    JUMPS.labels(_direction)

MICROSECONDS = 1_000_000
# A step of the wall clock against the steady one that counts as a jump, and not as somebody's slow correction.
JUMP_SECONDS = 60.0
# How long the wall clock may go on, by itself, until it is compared with the steady one again.
_COMPARED_EVERY = MICROSECONDS
# After a jump nothing is given up for being too old, for so long: who set the clock has this time to set it right.
SETTLING_SECONDS = 3600.0


def _wall() -> int:
    return time.time_ns() // 1000


class Clock:
    """Microseconds since 1970 for what is stored, seconds of a steady clock for what is waited for."""

    def __init__(self, wall: Callable[[], int] = _wall, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self.steady = steady
        self._compared_at = wall()
        self._offset = self._compared_at - int(steady() * MICROSECONDS)
        self._settled_at = -1.0
        # Called with the jump in seconds.
        self.on_jump: Callable[[float], None] | None = None

    def now(self) -> int:
        """Microseconds since 1970."""
        wall = self._wall()
        # A jump shows in the wall clock alone: it would have to end within this second to go unseen.
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
            # Drift and slewing are followed.
            self._offset = offset

    @property
    def settled(self) -> bool:
        """Whether the wall clock has been without a jump for long enough to give up mail by it."""
        self.now()
        return self.steady() >= self._settled_at
