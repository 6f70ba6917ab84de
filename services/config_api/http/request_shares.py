"""Limits the concurrent requests of each API key, so that a request does not have to wait until many requests of
another key have been handled.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from services.config_api.metrics import REQUESTS_WAITING
from services.config_api.problems import Problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

# All requests without a key or with an unknown key share one limit.
UNAUTHENTICATED = ""
WAITING_PER_KEY = 1_000
_RETRY_SECONDS = 2


class ClientGone(Exception):  # noqa: N818 - it is no error of anybody
    """The client closed its connection while its request waited, so no answer is needed."""


class _Party:
    """The requests of one key: the number that are being handled, and those that wait, in the order of arrival."""

    __slots__ = ("at_work", "waiting")

    def __init__(self) -> None:
        self.at_work = 0
        self.waiting: OrderedDict[asyncio.Future[bool], None] = OrderedDict()


class RequestShares:
    """Counts the requests of each key that are being handled. A key without requests uses no memory.

    Every `enter` that returns must be followed by one `leave` with the same key id.
    """

    def __init__(self, most_at_work: int, most_waiting: int = WAITING_PER_KEY) -> None:
        """`most_at_work` is the number of requests of one key that are handled at the same time. `most_waiting` is the
        number of further requests of the key that may wait.
        """
        self._most_at_work = most_at_work
        self._most_waiting = most_waiting
        self._parties: dict[str, _Party] = {}

    async def enter(self, key_id: str, receive: Receive) -> Receive:
        """Waits until the request may be handled. Returns the `receive` with which its body must be read.

        Raises Problem 429 when too many requests of the key are waiting, and ClientGone when the client has closed the
        connection.
        """
        party = self._parties.get(key_id)
        if party is None:
            party = self._parties[key_id] = _Party()
        # No request can be waiting here, because `leave` passes a free place to the first waiting request.
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
        """Stops counting a request of the key. If another request of the key is waiting, it gets the free place."""
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
        # The result is True when the request may be handled, and False when its client has closed the connection.
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
    """Ends the wait for `turn` when the client closes the connection. Of a long body, only the beginning is read into
    memory, and a later end of the connection is not noticed.
    """
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            if not turn.done():
                turn.set_result(False)
            return
        early_messages.append(message)
        if message.get("more_body", False):
            return
