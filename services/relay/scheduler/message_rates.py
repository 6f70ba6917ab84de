"""Counts the messages to a destination in each clock minute, over all relays that share the database."""

from __future__ import annotations

from services.relay.clock import MICROSECONDS, Clock
from services.relay.queue.database import Connection, Database
from services.relay.queue.message_counts import count_message

_MINUTE = 60 * MICROSECONDS


class MessageRates:
    """Counts messages. There is one in each process. The counts are in memory when no other process uses the
    database.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        # The present minute, the number of its messages for each destination, and the destinations that have reached
        # their limit.
        self._minute = 0
        self._counts: dict[str, int] = {}
        self._exhausted: set[str] = set()

    async def take(self, destination: str, limit: int) -> bool:
        """Counts one more message. Returns False when the destination has reached its limit in this minute. Raises
        QueueError.
        """
        minute = self._turn()
        if destination in self._exhausted:
            return False
        if self._database.exclusive:
            count = self._counts[destination] = self._counts.get(destination, 0) + 1
        else:

            def work(connection: Connection) -> int:
                return count_message(connection, destination, minute)

            count = await self._database.write(work)
        if count > limit and minute == self._minute:
            self._exhausted.add(destination)
        return count <= limit

    def is_exhausted(self, destination: str) -> bool:
        """Returns whether the destination gets no more messages in this minute."""
        return bool(self._exhausted) and self._turn() > 0 and destination in self._exhausted

    def until_next(self) -> int:
        """Returns the microseconds until the next minute begins."""
        return _MINUTE - self._clock.now() % _MINUTE

    def _turn(self) -> int:
        """Clears the counts when a new minute has begun. Returns the number of the minute since 1970."""
        minute = self._clock.now() // _MINUTE
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
            self._exhausted.clear()
        return minute
