"""The ids of messages and deliveries. They are taken from blocks, each of which the database gives out only once."""

from __future__ import annotations

import asyncio
import threading

import structlog

from services.relay.queue.database import Database, QueueError
from services.relay.queue.leases import reserve

log = structlog.get_logger(__name__)

_BLOCK = 200_000
_LOW = 100_000
_RETRY_SECONDS = 1.0


class ExhaustedError(QueueError):
    """No id is left, and the database gives no new block at present."""


class Identifiers:
    """Gives ids without waiting, because a new block is fetched long before the present one is used up."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._blocks: list[range] = []
        self._next = 0
        self._end = 0
        self._low = asyncio.Event()
        # Transactions also take ids, in other threads.
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()

    async def open(self) -> None:
        """Fetches the first block. Raises QueueError."""
        block = await self._database.write(lambda connection: reserve(connection, _BLOCK))
        self._next, self._end = block.start, block.stop

    def next(self) -> int:
        """Returns an id. This may be called in any thread. Raises ExhaustedError."""
        with self._lock:
            number = self._next
            if number == self._end:
                if not self._blocks:
                    self._loop.call_soon_threadsafe(self._low.set)
                    raise ExhaustedError("no ids are left")
                block = self._blocks.pop(0)
                number, self._end = block.start, block.stop
            self._next = number + 1
        if self._end - number == _LOW:
            self._loop.call_soon_threadsafe(self._low.set)
        return number

    async def run(self) -> None:
        """Fetches blocks, without end."""
        while True:
            await self._low.wait()
            try:
                self._blocks.append(await self._database.write(lambda connection: reserve(connection, _BLOCK)))
                self._low.clear()
            except QueueError as error:
                log.warning("identifiers_unavailable", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
