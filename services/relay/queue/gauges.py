"""Figures of the whole queue, looked up every now and then, so that a scrape costs the database nothing."""

from __future__ import annotations

import asyncio

import structlog

from services.relay.clock import MICROSECONDS, Clock
from services.relay.metrics import QUEUE_DELIVERIES, QUEUE_OLDEST_AGE
from services.relay.queue.database import Database, QueueError
from services.relay.queue.depth import depth

log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 10.0
# Looking takes at most this share of the time, however long the queue is.
_SHARE = 0.01
_STATES = ("leased", "due", "deferred", "held")


class QueueFigures:
    """One for the process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """Looks, for ever."""
        while True:
            began = self._clock.steady()
            try:
                await self.look()
            except QueueError as error:
                log.warning("queue_figures_unavailable", reason=str(error))
            await asyncio.sleep(max(_PAUSE_SECONDS, (self._clock.steady() - began) / _SHARE))

    async def look(self) -> None:
        """Once. Raises QueueError."""
        now = self._clock.now()
        found = await self._database.read(lambda connection: depth(connection, now))
        for state in _STATES:
            QUEUE_DELIVERIES.labels(state).set(getattr(found, state))
        QUEUE_OLDEST_AGE.set(0 if found.oldest_at is None else max(0, now - found.oldest_at) / MICROSECONDS)
