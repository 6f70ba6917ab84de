"""The revision in force at each replica of policy and relay that watches, and waiting for a revision to be in force."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

# A watch that ended without a farewell may be one whose replica goes on deciding by what it has. It counts for as long
# as the replica needs to come back at most.
LOST_SECONDS = 10.0


@dataclass(slots=True, eq=False)
class Watcher:
    """The watch of one replica. `revision`: in force at the replica; 0 before it has said so."""

    name: str
    service: str
    revision: int = 0
    # The replica said that it stops.
    has_left: bool = False


class Watchers:
    """The watches of this process, and of the others that share its database."""

    def __init__(self, expected: Iterable[Watcher] = (), clock: Callable[[], float] = time.monotonic) -> None:
        """`expected`: replicas that may have watched at the process that was here before, and will come back."""
        self._clock = clock
        self._open: list[Watcher] = []
        # By name of the replica, with the time at which each watch was lost.
        self._lost = {watcher.name: (watcher, clock()) for watcher in expected}
        self._elsewhere: list[Watcher] = []
        self._advanced = asyncio.Event()
        # Something has happened that other processes are to be told, or are to be asked about.
        self._stirred = asyncio.Event()
        self._waiting = 0

    def add(self, watcher: Watcher) -> None:
        self._lost.pop(watcher.name, None)
        self._open.append(watcher)
        self._stirred.set()

    def remove(self, watcher: Watcher) -> None:
        self._open.remove(watcher)
        if not watcher.has_left and all(other.name != watcher.name for other in self._open):
            self._lost[watcher.name] = (watcher, self._clock())
        self._wake()
        self._stirred.set()

    def advance(self, watcher: Watcher, revision: int) -> None:
        """The replica has put this revision in force."""
        watcher.revision = revision
        self._wake()
        self._stirred.set()

    def set_elsewhere(self, watchers: list[Watcher]) -> None:
        """The replicas that watch at other processes; one that was lost here may have come back there."""
        self._elsewhere = watchers
        for watcher in watchers:
            self._lost.pop(watcher.name, None)
        self._wake()

    @property
    def waits_elsewhere(self) -> bool:
        """Whether an answer waits while replicas watch at other processes."""
        return self._waiting > 0 and bool(self._elsewhere)

    async def stirred(self, seconds: float) -> None:
        """Returns when something happens that other processes are concerned with, and after so long at the latest."""
        try:
            async with asyncio.timeout(seconds):
                await self._stirred.wait()
        except TimeoutError:
            pass
        self._stirred.clear()

    def here(self) -> list[Watcher]:
        """Every replica that holds a watch of this process, or held one a moment ago."""
        horizon = self._clock() - LOST_SECONDS
        self._lost = {name: lost for name, lost in self._lost.items() if lost[1] > horizon}
        return [*self._open, *(watcher for watcher, _ in self._lost.values())]

    def behind(self, revision: int) -> Sequence[str]:
        """Names of the replicas at which neither this revision nor a later one is in force."""
        watchers = [*self.here(), *self._elsewhere]
        return sorted({watcher.name for watcher in watchers if watcher.revision < revision})

    async def wait(self, revision: int, seconds: float) -> Sequence[str]:
        """Waits until the revision is in force everywhere; returns the names of the replicas where it is not."""
        self._waiting += 1
        self._stirred.set()
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
