"""The space for mail: the free space in the file system of an SQLite queue, less a reserve that new mail cannot use."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from services.relay.metrics import STORAGE_ACCEPTING, STORAGE_AVAILABLE

log = structlog.get_logger(__name__)

# The value for a database on another machine, whose space cannot be measured.
UNKNOWN = 2**62
# Smaller changes are not reported to ingress.
_STEP = 16 * 1024 * 1024
_LOOK_SECONDS = 1.0
# Space counts as short below this.
_SHORT = 64 * 1024 * 1024
# For this time after the database reported a full disk, no space counts as available.
_FULL_SECONDS = 10.0
# The space that a message needs in pages and in the log, as a multiple of its content.
_OVERHEAD = 3


@dataclass(frozen=True, slots=True)
class StorageState:
    accepting: bool
    # Octets that are available for mail.
    available: int


class Storage:
    """Measures the space for mail. There is one in each process, for as long as the process lives."""

    def __init__(self, folder: Path | None, reserve: int, steady: Callable[[], float]) -> None:
        """`folder` contains the queue. It is None when the queue is on another machine. `reserve` is in octets."""
        self._folder = folder
        self._reserve = reserve
        self._steady = steady
        self._full_until = -1.0
        self._state = StorageState(True, UNKNOWN)
        self._told = self._state
        # These functions are called when something changed that must be reported to ingress.
        self.on_change: list[Callable[[StorageState], None]] = []
        self.look()

    @property
    def state(self) -> StorageState:
        return self._state

    @property
    def space_is_short(self) -> bool:
        """Whether so little space is left that only mail may use it, and not records of refusals."""
        return self._state.available < _SHORT

    def takes(self, octets: int) -> bool:
        return self._state.accepting and octets <= self._state.available

    def ran_full(self) -> None:
        """Notes that the database reported a full disk."""
        self._full_until = self._steady() + _FULL_SECONDS
        self.look()

    def look(self) -> None:
        """Measures the space, and reports a large change, or a change of `accepting`, to the listeners."""
        available = self._measure()
        if self._steady() < self._full_until:
            available = 0
        self._state = StorageState(available > 0, available)
        STORAGE_AVAILABLE.set(available if available < UNKNOWN else float("inf"))
        STORAGE_ACCEPTING.set(available > 0)
        told = self._told
        near = min(available, told.available)
        if told.accepting != self._state.accepting or (
            abs(available - told.available) >= _STEP and abs(available - told.available) * 4 > near
        ):
            if told.accepting != self._state.accepting:
                log.warning("storage_accepting", accepting=self._state.accepting, available=available)
            self._told = self._state
            for tell in self.on_change:
                tell(self._state)

    async def run(self) -> None:
        """Measures again and again, without end."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.look()

    def _measure(self) -> int:
        if self._folder is None:
            return UNKNOWN
        try:
            file_system = os.statvfs(self._folder)
        except OSError as error:
            log.error("storage_unknown", error=error.strerror)
            return 0
        free = file_system.f_bavail * file_system.f_frsize - self._reserve
        return max(0, free // _OVERHEAD)
