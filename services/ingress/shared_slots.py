"""A bounded number of slots for work, shared so that no party (such as a client's network) blocks the others."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


class NoSlotError(Exception):
    """Too many callers are waiting for a slot."""


@dataclass(eq=False, slots=True)
class _Waiter:
    parties: tuple[str, ...]
    granted: asyncio.Future[None]


class SharedSlots:
    """Lets `slots` callers work at the same time, and at most `share` of them for one party. `under_way` is the largest
    number of callers that work or wait.

    Waiting parties get slots in turns. The callers of a party get slots in the order of their arrival. When too many
    wait, the newest caller of the party with the most callers is refused, if the new caller's party has fewer. Work may
    count for two parties, for example a client and the server that is asked. Then the turns are those of the first
    party.
    """

    def __init__(self, slots: int, *, share: int, under_way: int) -> None:
        self._free = slots
        self._share = share
        self._places = slots
        self._most_under_way = under_way
        self._held: Counter[str] = Counter()
        # The queues of the parties, in the order of their turns. The key is the first party.
        self._queues: dict[str, deque[_Waiter]] = {}
        self._waiting = 0

    @asynccontextmanager
    async def held(self, *parties: str) -> AsyncIterator[None]:
        """Waits for a slot, and keeps it during the block. Raises NoSlotError."""
        await self._take(parties)
        try:
            yield
        finally:
            self._give_back(parties)

    async def _take(self, parties: tuple[str, ...]) -> None:
        if self._may_hold(parties):
            self._hold(parties)
            return
        working = self._places - self._free
        if working + self._waiting >= self._most_under_way and not self._make_way(parties[0]):
            raise NoSlotError
        waiter = _Waiter(parties, asyncio.get_running_loop().create_future())
        self._queues.setdefault(parties[0], deque()).append(waiter)
        self._waiting += 1
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.cancelled():
                self._remove(waiter)
            elif waiter.granted.exception() is None:
                self._give_back(parties)
            raise

    def _may_hold(self, parties: tuple[str, ...]) -> bool:
        return self._free > 0 and all(self._held[party] < self._share for party in parties)

    def _hold(self, parties: tuple[str, ...]) -> None:
        self._free -= 1
        self._held.update(parties)

    def _give_back(self, parties: tuple[str, ...]) -> None:
        self._free += 1
        for party in parties:
            self._held[party] -= 1
            if not self._held[party]:
                del self._held[party]
        while self._free and (waiter := self._next()) is not None:
            self._remove(waiter)
            self._hold(waiter.parties)
            waiter.granted.set_result(None)

    def _next(self) -> _Waiter | None:
        """Returns the caller whose turn it is, and puts its party behind the others."""
        for party, queue in self._queues.items():
            for waiter in queue:
                # A cancelled caller is removed by its own task a moment later.
                if not waiter.granted.done() and self._may_hold(waiter.parties):
                    self._queues[party] = self._queues.pop(party)
                    return waiter
        return None

    def _make_way(self, party: str) -> bool:
        """Refuses a waiting caller of the party with the most callers, if that party has more than `party` would
        have.
        """
        own = len(self._queues.get(party, ()))
        greediest = max(self._queues.values(), key=len, default=deque[_Waiter]())
        if len(greediest) <= own + 1:
            return False
        waiter = greediest[-1]
        if not waiter.granted.done():
            self._remove(waiter)
            waiter.granted.set_exception(NoSlotError())
        return True

    def _remove(self, waiter: _Waiter) -> None:
        party = waiter.parties[0]
        queue = self._queues[party]
        queue.remove(waiter)
        self._waiting -= 1
        if not queue:
            del self._queues[party]
