"""Figures of the whole queue. They are read from the database at intervals, so that a request for the metrics costs the
database nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import structlog

from services.relay.clock import MICROSECONDS, Clock
from services.relay.metrics import QUEUE_DELIVERIES, QUEUE_DESTINATION_DELIVERIES, QUEUE_OLDEST_AGE, without_login
from services.relay.queue.database import Database, QueueError
from services.relay.queue.depth import DestinationDepth, depth, longest

log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 10.0
# Reading the figures takes at most this share of the time, however long the queue is.
_SHARE = 0.01
_STATES = ("leased", "due", "deferred", "held")
_DESTINATIONS = 20
_WAITING_STATES = ("due", "deferred", "held")


class QueueGauges:
    """Sets the gauges. There is one in each process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """Reads the figures again and again, without end."""
        while True:
            began = self._clock.steady()
            try:
                await self.look()
            except QueueError as error:
                log.warning("queue_gauges_unavailable", reason=str(error))
            await asyncio.sleep(max(_PAUSE_SECONDS, (self._clock.steady() - began) / _SHARE))

    async def look(self) -> None:
        """Reads the figures once. Raises QueueError."""
        now = self._clock.now()
        total, destinations = await self._database.view(
            lambda connection: (depth(connection, now), longest(connection, now, _DESTINATIONS))
        )
        for state in _STATES:
            QUEUE_DELIVERIES.labels(state).set(getattr(total, state))
        QUEUE_OLDEST_AGE.set(0 if total.oldest_at is None else max(0, now - total.oldest_at) / MICROSECONDS)
        # No request for the metrics can come between these lines, because the same event loop answers it.
        QUEUE_DESTINATION_DELIVERIES.clear()
        for (destination, state), deliveries in _by_label(destinations).items():
            QUEUE_DESTINATION_DELIVERIES.labels(destination, state).set(deliveries)


def _by_label(depths: list[DestinationDepth]) -> Counter[tuple[str, str]]:
    deliveries: Counter[tuple[str, str]] = Counter()
    for depth_there in depths:
        for state in _WAITING_STATES:
            deliveries[without_login(depth_there.destination), state] += getattr(depth_there, state)
    return deliveries
