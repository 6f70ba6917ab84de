"""Stores which revision is in force at each replica of policy and relay, and waits until a revision is in force."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

# When a watch is lost, its replica may continue to use its snapshot. So the watch still counts for the longest time
# that the replica needs to connect again.
LOST_SECONDS = 10.0


@dataclass(slots=True, eq=False)
class Watcher:
    """The watch of one replica. `revision` is the revision in force there, and 0 before the replica has reported it."""

    name: str
    service: str
    revision: int = 0
    # Whether the replica reported that it stops.
    has_left: bool = False
    _advanced: asyncio.Event = field(default_factory=asyncio.Event)

    def advance(self, revision: int) -> None:
        self.revision = revision
        self._advanced.set()

    async def reached(self, revision: int, seconds: float) -> None:
        """Waits until the replica has put this revision in force, at most for `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.revision < revision:
                    self._advanced.clear()
                    await self._advanced.wait()


class Watchers:
    """The watches at this process, and at the other processes that share its database."""

    def __init__(self, expected: Iterable[Watcher] = (), clock: Callable[[], float] = time.monotonic) -> None:
        """`expected` are replicas that may have watched at the previous process, and will connect again."""
        self._clock = clock
        self._open: list[Watcher] = []
        # The lost watches by the name of the replica, each with the time at which it was lost.
        self._lost = {watcher.name: (watcher, clock()) for watcher in expected}
        self._elsewhere: list[Watcher] = []
        self._advanced = asyncio.Event()
        # This event is set when there is something to report to other processes, or to ask them.
        self._changed_event = asyncio.Event()
        self._waiting = 0

    def add(self, watcher: Watcher) -> None:
        self._lost.pop(watcher.name, None)
        self._open.append(watcher)
        self._changed_event.set()

    def remove(self, watcher: Watcher) -> None:
        self._open.remove(watcher)
        if not watcher.has_left and all(other.name != watcher.name for other in self._open):
            self._lost[watcher.name] = (watcher, self._clock())
        self._wake()
        self._changed_event.set()

    def advance(self, watcher: Watcher, revision: int) -> None:
        """Notes that the replica has put this revision in force."""
        watcher.advance(revision)
        self._wake()
        self._changed_event.set()

    def set_elsewhere(self, watchers: list[Watcher]) -> None:
        """Sets the watches at other processes. A watch that was lost here may continue there."""
        self._elsewhere = watchers
        for watcher in watchers:
            self._lost.pop(watcher.name, None)
        self._wake()

    @property
    def waits_elsewhere(self) -> bool:
        """Whether an answer is waiting while replicas watch at other processes."""
        return self._waiting > 0 and bool(self._elsewhere)

    async def wait_for_change(self, seconds: float) -> None:
        """Returns when there is something to report to other processes or to ask them, and at the latest after
        `seconds`.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._changed_event.wait()
        except TimeoutError:
            pass
        self._changed_event.clear()

    def here(self) -> list[Watcher]:
        """Returns every replica that watches at this process, or did so recently."""
        horizon = self._clock() - LOST_SECONDS
        self._lost = {name: lost for name, lost in self._lost.items() if lost[1] > horizon}
        return [*self._open, *(watcher for watcher, _ in self._lost.values())]

    def behind(self, revision: int) -> Sequence[str]:
        """Returns the names of the replicas where an older revision is in force."""
        watchers = [*self.here(), *self._elsewhere]
        return sorted({watcher.name for watcher in watchers if watcher.revision < revision})

    async def wait(self, revision: int, seconds: float) -> Sequence[str]:
        """Waits until the revision is in force at all replicas. Returns the names of the replicas where it is not."""
        self._waiting += 1
        self._changed_event.set()
        try:
            async with asyncio.timeout(seconds):
                while self.behind(revision):
                    await self._advanced.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1
        return self.behind(revision)

    def _wake(self) -> None:
        advanced, self._advanced = self._advanced, asyncio.Event()
        advanced.set()
