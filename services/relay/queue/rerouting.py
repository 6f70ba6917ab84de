"""Gives waiting mail another destination when a new configuration routes it elsewhere (C138)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from services.relay.model.states import State
from services.relay.queue.destinations import wake
from services.relay.queue.statements import Many
from services.relay.queue.tables import WAITING, deliveries, destinations, messages

# Returns the destination for the sender, the recipient, the mark of quarantine, and the next hop that an operator set,
# as JSON.
Resolve = Callable[[bytes, bytes, bool, str | None], str]

_MOVE = Many(
    update(deliveries)
    .where(deliveries.c.id == bindparam("delivery"))
    .values(destination=bindparam("new_destination"), due_at=bindparam("new_due")),
    ("new_destination", "new_due", "delivery"),
)


@dataclass(frozen=True, slots=True)
class Moved:
    """The result of one batch. `after` is the position where the next batch begins. It is None at the end."""

    count: int
    after: int | None


def names(connection: Connection) -> list[str]:
    """Returns the names of all destinations that are stored."""
    rows = connection.execute(select(destinations.c.name).order_by(destinations.c.name))
    return [row[0] for row in rows]


def differs(connection: Connection, name: str, resolve: Resolve) -> bool:
    """Returns whether the first waiting delivery of a destination now has another destination."""
    row = connection.execute(_waiting(name, 0, 1)).first()
    return row is not None and resolve(row.sender, row.recipient, bool(row.quarantine), row.next_hop) != name


def move(connection: Connection, name: str, resolve: Resolve, after: int, size: int, now: int) -> Moved:
    """Moves one batch. Of the deliveries that move, those that an operator holds stay held, and all others are due at
    once.
    """
    rows = connection.execute(_waiting(name, after, size)).all()
    moved = []
    woken: dict[tuple[str, str], int] = {}
    for row in rows:
        destination = resolve(row.sender, row.recipient, bool(row.quarantine), row.next_hop)
        if destination == name:
            continue
        due_at = None if row.state == State.HELD else now
        moved.append((destination, due_at, row.id))
        if due_at is not None:
            woken[destination, row.source] = now
    _MOVE.run(connection, moved)
    wake(connection, woken)
    return Moved(len(moved), rows[-1].id if len(rows) == size else None)


def make_due(connection: Connection, name: str, after: int, size: int, now: int) -> Moved:
    """Makes one batch of a destination's deferred mail due at once. Held mail stays held."""
    query = (
        select(deliveries.c.id, deliveries.c.source)
        .where(WAITING, deliveries.c.destination == name, deliveries.c.id > after, deliveries.c.due_at > now)
        .order_by(deliveries.c.id)
        .limit(size)
        .with_for_update(of=deliveries, skip_locked=True)
    )
    rows = connection.execute(query).all()
    if rows:
        connection.execute(update(deliveries).where(deliveries.c.id.in_([row.id for row in rows])).values(due_at=now))
        wake(connection, {(name, row.source): now for row in rows})
    return Moved(len(rows), rows[-1].id if len(rows) == size else None)


def _waiting(name: str, after: int, size: int) -> Any:
    return (
        select(
            deliveries.c.id,
            deliveries.c.recipient,
            deliveries.c.state,
            deliveries.c.source,
            deliveries.c.next_hop,
            messages.c.sender,
            messages.c.quarantine,
        )
        .join(messages, messages.c.id == deliveries.c.message_id)
        .where(
            WAITING,
            deliveries.c.destination == name,
            deliveries.c.id > after,
        )
        .order_by(deliveries.c.id)
        .limit(size)
        .with_for_update(of=deliveries, skip_locked=True)
    )
