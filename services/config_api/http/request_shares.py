"""Each API key's share of the requests at work: many requests of one key never delay a single one of another."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from services.config_api.metrics import REQUESTS_WAITING
from services.config_api.problems import Problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

# All requests without a key, or with a key that is not in memory, share the places of one party.
UNAUTHENTICATED = ""
WAITING_PER_KEY = 1_000
_RETRY_SECONDS = 2


class ClientGone(Exception):  # noqa: N818 - it is no error of anybody
    """The client closed its connection while its request waited, so nobody is there to be answered."""


class _Party:
    """The requests of one key: how many are at work, and which wait for their turn, in the order in which they came."""

    __slots__ = ("at_work", "waiting")

    def __init__(self) -> None:
        self.at_work = 0
        self.waiting: OrderedDict[asyncio.Future[bool], None] = OrderedDict()


class RequestShares:
    """Counts the requests at work of each key; a key without requests takes no memory.

    Every `enter` that returns must be followed by one `leave` with the same key id.
    """

    def __init__(self, most_at_work: int, most_waiting: int = WAITING_PER_KEY) -> None:
        """`most_at_work`: requests of one key that are handled at once; `most_waiting`: those that wait beside them."""
        self._most_at_work = most_at_work
        self._most_waiting = most_waiting
        self._parties: dict[str, _Party] = {}

    async def enter(self, key_id: str, receive: Receive) -> Receive:
        """Waits for the request's turn. Returns what the request is to be received with from now on.

        Raises Problem 429 where too many requests of the key wait already, ClientGone where the client left the line.
        """
        party = self._parties.get(key_id)
        if party is None:
            party = self._parties[key_id] = _Party()
        # Nobody waits while a place is free: `leave` gives its place to the first in the line.
        if party.at_work < self._most_at_work:
            party.at_work += 1
            return receive
        if len(party.waiting) >= self._most_waiting:
            raise Problem(
                429,
                "too-many-requests",
                "Too many requests wait already.",
                f"{self._most_at_work} requests of one API key are handled at once, and {self._most_waiting} wait.",
                headers={"Retry-After": str(_RETRY_SECONDS)},
            )
        return await self._wait_for_turn(key_id, party, receive)

    def leave(self, key_id: str) -> None:
        """Gives the request's place to the first that waits."""
        party = self._parties[key_id]
        while party.waiting:
            turn, _ = party.waiting.popitem(last=False)
            if not turn.done():
                turn.set_result(True)
                return
        party.at_work -= 1
        if not party.at_work:
            del self._parties[key_id]

    async def _wait_for_turn(self, key_id: str, party: _Party, receive: Receive) -> Receive:
        # True: it is the request's turn. False: its client is gone.
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        party.waiting[turn] = None
        early_messages: deque[Message] = deque()
        listener = asyncio.create_task(_listen(receive, early_messages, turn))
        REQUESTS_WAITING.inc()
        try:
            has_turn = await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.result():
                self.leave(key_id)
            raise
        finally:
            REQUESTS_WAITING.dec()
            party.waiting.pop(turn, None)
            listener.cancel()
        if not has_turn:
            raise ClientGone

        async def receive_in_order() -> Message:
            return early_messages.popleft() if early_messages else await receive()

        return receive_in_order


async def _listen(receive: Receive, early_messages: deque[Message], turn: asyncio.Future[bool]) -> None:
    """Notices that the client goes away, without reading more than the beginning of a long body into memory."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            if not turn.done():
                turn.set_result(False)
            return
        early_messages.append(message)
        if message.get("more_body", False):
            return
