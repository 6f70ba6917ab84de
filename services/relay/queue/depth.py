"""Counts the waiting deliveries in the whole queue and at each destination, and finds how long they wait. Only the
indexes of open mail are read.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, literal_column, select

from services.relay.queue.tables import WAITING, deliveries, messages


@dataclass(frozen=True, slots=True)
class Depth:
    """The number of deliveries that are `leased` by a relay, `due`, `deferred` to a later time, or `held`."""

    leased: int
    due: int
    deferred: int
    held: int
    # The time at which the oldest message was stored, in microseconds since 1970. It is None when the queue is empty.
    oldest_at: int | None


@dataclass(frozen=True, slots=True)
class DestinationDepth:
    """The number of deliveries to one destination that wait: `due`, `deferred` to a later time, or `held`."""

    destination: str
    due: int
    deferred: int
    held: int


def longest(connection: Connection, now: int, limit: int) -> list[DestinationDepth]:
    """Returns the destinations with the most waiting deliveries, the longest queue first."""
    waiting = func.count()
    rows = connection.execute(
        select(
            deliveries.c.destination,
            waiting,
            func.count().filter(deliveries.c.due_at <= now),
            func.count().filter(deliveries.c.due_at.is_(None)),
        )
        .where(literal_column("lease_owner IS NULL"), literal_column("state <= 3"))
        .group_by(deliveries.c.destination)
        .order_by(waiting.desc(), deliveries.c.destination)
        .limit(limit)
    ).tuples()
    return [DestinationDepth(str(name), due, count - due - held, held) for name, count, due, held in rows]


def depth(connection: Connection, now: int) -> Depth:
    leased: int = connection.execute(
        select(func.count()).select_from(deliveries).where(literal_column("lease_owner IS NOT NULL"))
    ).scalar_one()
    waiting, due, held = connection.execute(
        select(
            func.count(),
            func.count().filter(deliveries.c.due_at <= now),
            func.count().filter(deliveries.c.due_at.is_(None)),
        )
        .select_from(deliveries)
        .where(WAITING)
    ).one()
    oldest = connection.execute(
        select(messages.c.stored_at).where(literal_column("open > 0")).order_by(messages.c.stored_at).limit(1)
    ).scalar()
    return Depth(leased, due, waiting - due - held, held, oldest)
