"""Shares of the questions that may be under way at once, so that what one client asks about costs no other."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator

# Clients that asked about what is silent, and zones that are, are remembered for so long.
REMEMBERED_SECONDS = 30.0
_REMEMBERED = 10_000


class Places:
    """A bounded number of places, handed to whichever party that waits holds the fewest.

    A party has a share at most, and a small one for a while after what it asked about took too long.
    """

    def __init__(
        self, total: int, share: int, slow_share: int, waiting: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`waiting`: how many may wait for a place; of one party a tenth of them."""
        self._total = total
        self._share = share
        self._slow_share = slow_share
        self._most_waiting = waiting
        self._clock = clock
        self._held: dict[str, int] = {}
        self._taken = 0
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._waiting_count = 0
        # Party to when its slow questions are forgotten.
        self._slow: OrderedDict[str, float] = OrderedDict()

    def held(self, party: str) -> int:
        return self._held.get(party, 0)

    def take(self, party: str) -> bool:
        """Whether there was a place, which is taken then."""
        if self._taken >= self._total or party in self._waiting or self.held(party) >= self._share_of(party):
            return False
        self._take(party)
        return True

    async def wait(self, party: str, seconds: float) -> bool:
        """As `take`, after waiting for so long at most."""
        if self.take(party):
            return True
        queue = self._waiting.get(party, ())
        if self._waiting_count >= self._most_waiting or len(queue) >= self._most_waiting // 10:
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(party, deque()).append(turn)
        self._waiting_count += 1
        try:
            async with asyncio.timeout(seconds):
                await turn
        except (TimeoutError, asyncio.CancelledError) as error:
            if not turn.done() or turn.cancelled():
                self._forget(party, turn)
            elif isinstance(error, asyncio.CancelledError):
                # Its turn came at the same moment.
                self.release(party)
            else:
                return True
            if isinstance(error, asyncio.CancelledError):
                raise
            return False
        return True

    def release(self, party: str) -> None:
        left = self._held[party] - 1
        if left:
            self._held[party] = left
        else:
            del self._held[party]
        self._taken -= 1
        self._hand_out()

    def slow(self, party: str) -> None:
        """What the party asked about took too long."""
        self._slow[party] = self._clock() + REMEMBERED_SECONDS
        self._slow.move_to_end(party)
        if len(self._slow) > _REMEMBERED:
            self._slow.popitem(last=False)

    def _share_of(self, party: str) -> int:
        return self._slow_share if self._slow.get(party, 0.0) > self._clock() else self._share

    def _take(self, party: str) -> None:
        self._held[party] = self.held(party) + 1
        self._taken += 1

    def _hand_out(self) -> None:
        while self._waiting and self._taken < self._total:
            party = min(self._waiting, key=self.held)
            if self.held(party) >= self._share_of(party):
                party = next((each for each in self._waiting if self.held(each) < self._share_of(each)), "")
                if party not in self._waiting:
                    return
            turn = self._waiting[party][0]
            self._forget(party, turn)
            self._take(party)
            turn.set_result(None)

    def _forget(self, party: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting[party]
        queue.remove(turn)
        self._waiting_count -= 1
        if not queue:
            del self._waiting[party]


class SilentZones:
    """Zones under which questions of late took too long and none was answered.

    Nobody says which part of a name is a zone, so each domain above the name is taken for one. It is silent once
    several different names directly below it were, and no longer as soon as anything below it is answered.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Zone to the labels directly below it that were silent, and when that is forgotten.
        self._zones: OrderedDict[str, tuple[set[str], float]] = OrderedDict()
        self._under_way: dict[str, int] = {}

    def zone_of(self, name: str) -> str:
        """The widest silent zone that the name is in; empty: none."""
        if self._zones:
            now = self._clock()
            for zone, _ in _zones(name):
                labels, until = self._zones.get(zone, (_NONE, 0.0))
                if len(labels) >= _SILENT_NAMES and until > now:
                    return zone
        return ""

    def enter(self, zone: str) -> bool:
        """Whether one more question about a silent zone may be put; `leave` must follow then."""
        count = self._under_way.get(zone, 0)
        if count >= _PLACES_OF_SILENT_ZONE:
            return False
        self._under_way[zone] = count + 1
        return True

    def leave(self, zone: str) -> None:
        count = self._under_way[zone] - 1
        if count:
            self._under_way[zone] = count
        else:
            del self._under_way[zone]

    def took_too_long(self, name: str) -> None:
        until = self._clock() + REMEMBERED_SECONDS
        for zone, label in _zones(name):
            labels, _ = self._zones.get(zone, (set[str](), 0.0))
            if len(labels) < _SILENT_NAMES:
                labels.add(label)
            self._zones[zone] = (labels, until)
            self._zones.move_to_end(zone)
            if len(self._zones) > _REMEMBERED:
                self._zones.popitem(last=False)

    def answered(self, name: str) -> None:
        if self._zones:
            for zone, _ in _zones(name):
                self._zones.pop(zone, None)


# Of different names below a zone; a neighbour's domain under a common suffix must not make it one.
_SILENT_NAMES = 3
# Enough to see that it speaks again.
_PLACES_OF_SILENT_ZONE = 2
# Domains above a name that are looked at, the widest first.
_MOST_ZONES = 10
_NONE: set[str] = set()


def _zones(name: str) -> Iterator[tuple[str, str]]:
    """Each domain above the name, the widest first, with the label of the name directly below it."""
    labels = name.split(".")
    # No zone of one label is silent as a whole, nor one of two in the reverse tree.
    first = len(labels) - (3 if labels[-1] == "arpa" else 2)
    for start in range(first, max(first - _MOST_ZONES, 0), -1):
        yield ".".join(labels[start:]), labels[start - 1]
