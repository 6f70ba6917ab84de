"""Stores which revision is in force at each replica of policy and relay, and waits until a revision is in force."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

# When a watch is lost, its replica may continue to use its snapshot. So a lost watch still counts for this time, within
# which the replica should have connected again.
LOST_SECONDS = 10.0


@dataclass(slots=True, eq=False)
class Watcher:
    """The watch of one replica. `revision` is the revision in force at the replica, or 0 before the first report."""

    name: str
    service: str
    revision: int = 0
    # Whether the replica has reported that it is stopping.
    has_left: bool = False
    _advanced: asyncio.Event = field(default_factory=asyncio.Event)

    def advance(self, revision: int) -> None:
        self.revision = revision
        self._advanced.set()

    async def reached(self, revision: int, seconds: float) -> None:
        """Waits until the replica has put this revision in force, but at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.revision < revision:
                    self._advanced.clear()
                    await self._advanced.wait()


class Watchers:
    """The watches at this process, and those at other config_api processes that share its database."""

    def __init__(self, expected: Iterable[Watcher] = (), clock: Callable[[], float] = time.monotonic) -> None:
        """`expected` are the watches of replicas that may still use a snapshot of an earlier process. They count as
        lost watches.
        """
        self._clock = clock
        self._open: list[Watcher] = []
        # The lost watches, each with the time when it was lost, by the name of the replica.
        self._lost = {watcher.name: (watcher, clock()) for watcher in expected}
        self._elsewhere: list[Watcher] = []
        self._advanced = asyncio.Event()
        # This event is set when there is something to report to other processes, or something to ask about their
        # watches.
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
        """Stores that the replica has put this revision in force."""
        watcher.advance(revision)
        self._wake()
        self._changed_event.set()

    def set_elsewhere(self, watchers: list[Watcher]) -> None:
        """Sets the watches at other processes. A replica whose watch was lost at this process may now watch at another
        one.
        """
        self._elsewhere = watchers
        for watcher in watchers:
            self._lost.pop(watcher.name, None)
        self._wake()

    @property
    def waits_elsewhere(self) -> bool:
        """Whether the answer to a request is waiting, and replicas watch at other processes."""
        return self._waiting > 0 and bool(self._elsewhere)

    async def wait_for_change(self, seconds: float) -> None:
        """Waits until there is something to report to other processes or to ask about their watches, but at most
        `seconds`.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._changed_event.wait()
        except TimeoutError:
            pass
        self._changed_event.clear()

    def here(self) -> list[Watcher]:
        """Returns the watches at this process, also those that were lost recently."""
        horizon = self._clock() - LOST_SECONDS
        self._lost = {name: lost for name, lost in self._lost.items() if lost[1] > horizon}
        return [*self._open, *(watcher for watcher, _ in self._lost.values())]

    def behind(self, revision: int) -> Sequence[str]:
        """Returns the names of the replicas where an older revision is in force."""
        watchers = [*self.here(), *self._elsewhere]
        return sorted({watcher.name for watcher in watchers if watcher.revision < revision})

    async def wait(self, revision: int, seconds: float) -> Sequence[str]:
        """Waits until the revision is in force at all replicas, but at most `seconds`. Returns the names of the
        replicas where it is not.
        """
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
