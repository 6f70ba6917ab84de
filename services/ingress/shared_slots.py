"""SharedSlots for work under way: bounded in number, and shared so that no party keeps the others from theirs."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


class NoSlotError(Exception):
    """Too many wait already for a slot."""


@dataclass(eq=False, slots=True)
class _Waiter:
    parties: tuple[str, ...]
    granted: asyncio.Future[None]


class SharedSlots:
    """`slots`: how many may work at once, `share` of them for one party. `under_way`: how many may work or wait.

    Parties that wait get their slots in turns, each in the order in which it came. When too many wait, the newest
    waiter of the party with the most waiters is refused in favour of a party with fewer. Work for two parties, such as
    the client that causes it and the server that is asked, counts for both, and takes turns by the first.
    """

    def __init__(self, slots: int, *, share: int, under_way: int) -> None:
        self._free = slots
        self._share = share
        self._places = slots
        self._most_under_way = under_way
        self._held: Counter[str] = Counter()
        # The queues of the parties, in the order in which they have their turns. The key is the first party.
        self._queues: dict[str, deque[_Waiter]] = {}
        self._waiting = 0

    @asynccontextmanager
    async def held(self, *parties: str) -> AsyncIterator[None]:
        """Waits for a slot and holds it. Raises NoSlotError."""
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
        """Whose turn it is; the party waits behind the others for its next one."""
        for party, queue in self._queues.items():
            for waiter in queue:
                # A waiter that was cancelled is removed by its own task a moment later.
                if not waiter.granted.done() and self._may_hold(waiter.parties):
                    self._queues[party] = self._queues.pop(party)
                    return waiter
        return None

    def _make_way(self, party: str) -> bool:
        """Turns away one that waits, of the party with the most waiting, if that has more than `party` would have."""
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
