"""Counts the messages and recipients that were accepted, refused, delivered, deferred and bounced, by time and reason.

The counts are kept in memory and written every few seconds, so that no commit and no replica waits for them. A process
that is killed loses the counts of those seconds.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import structlog
from sqlalchemy import Connection, bindparam, delete, func, select

from services.relay.clock import MICROSECONDS, Clock
from services.relay.model.message import NewMessage, SessionVerdict, Settled
from services.relay.model.states import Kind, State
from services.relay.queue.database import Database, QueueError
from services.relay.queue.statements import Many, upsert
from services.relay.queue.tables import statistics

log = structlog.get_logger(__name__)

# The shortest period for which counts are stored.
PERIOD_SECONDS = 300
_PERIOD = PERIOD_SECONDS * MICROSECONDS
_WRITE_SECONDS = 10.0
# The largest number of rows of one write. Further reasons are counted together as one.
_MOST_ROWS = 1_000
_OTHER = "other"


class CountedEvent(Enum):
    """The events that are counted."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    # A refusal that a rule in shadow mode would have made.
    SHADOW = "shadow"


@dataclass(frozen=True, slots=True)
class Count:
    """The number of times that something happened in a period. The period begins at `starts_at`, in microseconds since
    1970.
    """

    starts_at: int
    event: str
    reason_id: str
    rule_id: str
    count: int


def _adding(dialect: str) -> Any:
    columns: dict[str, Any] = {column.name: bindparam(column.name) for column in statistics.c}
    statement = upsert(dialect, statistics).values(columns)
    return statement.on_conflict_do_update(
        index_elements=[column.name for column in statistics.primary_key],
        set_={"count": statistics.c.count + statement.excluded.count},
    )


_ADD = Many(_adding, statistics.c.keys())


class Statistics:
    """Counts, and writes the counts. There is one in each process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        # The count for each (period, event, reason, rule).
        self._counts: Counter[tuple[int, str, str, str]] = Counter()
        # Transactions also count, in other threads.
        self._lock = threading.Lock()

    def count(self, event: CountedEvent, number: int = 1, reason_id: str = "", rule_id: str = "") -> None:
        """Counts an event. This may be called in any thread."""
        if not number:
            return
        key = (self._clock.now() // _PERIOD * _PERIOD, event.value, reason_id, rule_id)
        with self._lock:
            if key not in self._counts and len(self._counts) >= _MOST_ROWS:
                key = (key[0], key[1], _OTHER, "")
            self._counts[key] += number

    def accepted(self, messages: Iterable[NewMessage]) -> None:
        """Counts messages that were just stored."""
        number = 0
        for message in messages:
            if message.kind is Kind.MAIL:
                number += 1
                if message.verdicts:
                    self.shadow(message.verdicts)
        self.count(CountedEvent.ACCEPTED, number)

    def settled(self, settlements: Iterable[Sequence[Settled]], lost: Collection[int]) -> None:
        """Counts the outcomes of one commit. `lost` has the deliveries whose leases this relay had lost."""
        delivered = deferred = bounced = 0
        for deliveries in settlements:
            for each in deliveries:
                if each.delivery_id in lost:
                    continue
                if each.state is State.DELIVERED:
                    delivered += 1
                elif each.state is State.BOUNCED:
                    bounced += 1
                elif each.state is State.QUEUED and each.attempt is not None and each.due_at is not None:
                    deferred += 1
        self.count(CountedEvent.DELIVERED, delivered)
        self.count(CountedEvent.DEFERRED, deferred)
        self.count(CountedEvent.BOUNCED, bounced)

    def shadow(self, verdicts: Sequence[SessionVerdict]) -> None:
        """Counts each rule in shadow mode once, even if several verdicts of a message contain it."""
        for reason_id, rule_id in {outcome for verdict in verdicts for outcome in verdict.shadow}:
            self.count(CountedEvent.SHADOW, 1, reason_id, rule_id)

    async def run(self) -> None:
        """Writes the counts, without end."""
        while True:
            await asyncio.sleep(_WRITE_SECONDS)
            try:
                await self.write()
            except QueueError as error:
                log.warning("statistics_not_written", reason=str(error))

    async def write(self) -> None:
        """Writes the counts since the last write. Raises QueueError. The counts are then kept for the next write."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if not counts:
            return
        rows = [(*key, number) for key, number in sorted(counts.items())]
        try:
            await self._database.write(lambda connection: _ADD.run(connection, rows))
        except QueueError:
            with self._lock:
                self._counts.update(counts)
            raise


def read(connection: Connection, after: int, before: int, width: int) -> list[Count]:
    """Returns the counts of periods of `width`, in order of time. Times are in microseconds, and `width` is a multiple
    of a period.
    """
    starts_at = (statistics.c.starts_at // width * width).label("starts_at")
    keys = (starts_at, statistics.c.kind, statistics.c.reason_id, statistics.c.rule_id)
    query = (
        select(*keys, func.sum(statistics.c.count))
        .where(statistics.c.starts_at >= after // width * width, statistics.c.starts_at < before)
        .group_by(*keys)
        .order_by(*keys)
    )
    return [Count(*row[:4], int(row[4])) for row in connection.execute(query)]


def remove_before(connection: Connection, before: int) -> None:
    """Removes periods that ended before a time."""
    connection.execute(delete(statistics).where(statistics.c.starts_at < before - _PERIOD))
