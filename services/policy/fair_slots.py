"""A bounded number of slots, with a share for each client, so that the requests of one client do not delay the
others.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable

# A party whose question was slow is remembered for this time.
REMEMBERED_SECONDS = 30.0
_REMEMBERED = 10_000


class FairSlots:
    """A bounded number of slots for parties, such as the networks of clients. A free slot goes to the waiting party
    that has the fewest slots. A party may have at most `share` slots, and for a while after a slow question at most
    `slow_share`.
    """

    def __init__(
        self, total: int, share: int, slow_share: int, waiting: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`waiting` is the number of callers that may wait for a slot. One party may have a tenth of them."""
        self._total = total
        self._share = share
        self._slow_share = slow_share
        self._most_waiting = waiting
        self._clock = clock
        self._held: dict[str, int] = {}
        self._taken = 0
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._waiting_count = 0
        # For each party, the time at which its slow questions are forgotten.
        self._slow: OrderedDict[str, float] = OrderedDict()

    def held(self, party: str) -> int:
        return self._held.get(party, 0)

    def take(self, party: str) -> bool:
        """Takes a slot if one is free for the party. Returns whether a slot was taken."""
        if self._taken >= self._total or party in self._waiting or self.held(party) >= self._share_of(party):
            return False
        self._take(party)
        return True

    async def wait(self, party: str, seconds: float) -> bool:
        """Takes a slot, after waiting for at most the given time. Returns whether a slot was taken."""
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
                # The slot was given to this caller just before the caller was cancelled.
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
        """Notes that a question of the party took too long."""
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
                party = next(
                    (
                        waiting_party
                        for waiting_party in self._waiting
                        if self.held(waiting_party) < self._share_of(waiting_party)
                    ),
                    "",
                )
                if party not in self._waiting:
                    return
            turn = self._waiting[party][0]
            self._forget(party, turn)
            # If the time of a caller has ended in this round of the event loop, its turn is cancelled.
            if not turn.cancelled():
                self._take(party)
                turn.set_result(None)

    def _forget(self, party: str, turn: asyncio.Future[None]) -> None:
        """Removes a turn from its queue. Does nothing if the turn was removed before."""
        queue = self._waiting.get(party, deque())
        if turn not in queue:
            return
        queue.remove(turn)
        self._waiting_count -= 1
        if not queue:
            del self._waiting[party]
