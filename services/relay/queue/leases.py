"""Workers and their leases: heartbeats, the leases that are freed when a worker dies, and blocks of identifiers.

A worker counts as alive while the number of its heartbeat changes. Each other worker measures this with its own steady
clock. So no wall clock can end a lease (C134). `lease_until` is only for people who read the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, insert, null, select, update

from services.relay.model.states import State
from services.relay.queue.destinations import wake
from services.relay.queue.tables import deliveries, identifiers, workers

# The largest number of deliveries that are freed in one transaction.
_FREED_AT_ONCE = 1000


def reserve(connection: Connection, count: int) -> range:
    """Returns ids that nobody else has or will get."""
    query = select(identifiers.c.next).where(identifiers.c.id == 1).with_for_update()
    first: int = connection.execute(query).scalar_one()
    connection.execute(update(identifiers).where(identifiers.c.id == 1).values(next=first + count))
    return range(first, first + count)


def register(connection: Connection, worker: int, name: str, now: int, lease: int) -> None:
    """Registers a new worker. `lease` is in microseconds."""
    connection.execute(insert(workers).values(id=worker, name=name, beat=0, renewed_at=now, lease_until=now + lease))


def renew(connection: Connection, worker: int, now: int, lease: int) -> dict[int, int] | None:
    """Renews all leases of the worker, and returns the heartbeats of the others. Returns None when it was declared
    dead.
    """
    renewed = connection.execute(
        update(workers)
        .where(workers.c.id == worker)
        .values(beat=workers.c.beat + 1, renewed_at=now, lease_until=now + lease)
    )
    if renewed.rowcount == 0:
        return None
    return {row[0]: row[1] for row in connection.execute(select(workers.c.id, workers.c.beat)) if row[0] != worker}


def others(connection: Connection, worker: int) -> list[int]:
    """Returns the workers other than this one, and the owners of leases that are not registered any more."""
    worker_ids = {row[0] for row in connection.execute(select(workers.c.id))}
    owners = connection.execute(
        select(deliveries.c.lease_owner).where(deliveries.c.lease_owner.is_not(None)).distinct()
    )
    return sorted((worker_ids | {row[0] for row in owners}) - {worker})


def workers_known(connection: Connection) -> set[int]:
    """Returns every registered worker."""
    return {row[0] for row in connection.execute(select(workers.c.id))}


def registered(connection: Connection, worker: int) -> bool:
    """Returns whether the worker may lease. It stays registered until this transaction ends."""
    query = select(workers.c.id).where(workers.c.id == worker).with_for_update(read=True)
    return connection.execute(query).scalar() is not None


def unregister(connection: Connection, worker: int) -> None:
    """Removes the worker, which cannot renew its leases any more."""
    connection.execute(delete(workers).where(workers.c.id == worker))


@dataclass(slots=True)
class Freed:
    """The deliveries that a dead worker had leased, with their messages. They may have been delivered without a record
    (C120).
    """

    deliveries: list[tuple[int, int, bytes]] = field(default_factory=list)

    @property
    def all(self) -> bool:
        return len(self.deliveries) < _FREED_AT_ONCE


def free(connection: Connection, owner: int, now: int, *, untried: bool = False) -> Freed:
    """Frees a bounded number of leases of a removed worker. The deliveries are due at once.

    Without `untried`, each delivery is marked as possibly delivered without a record (C120).
    """
    query = (
        select(
            deliveries.c.id,
            deliveries.c.message_id,
            deliveries.c.recipient,
            deliveries.c.destination,
            deliveries.c.source,
        )
        .where(deliveries.c.lease_owner.is_not(None), deliveries.c.lease_owner == owner)
        .order_by(deliveries.c.id)
        .limit(_FREED_AT_ONCE)
        .with_for_update()
    )
    rows = connection.execute(query).all()
    freed = Freed([(row[0], row[1], row[2]) for row in rows])
    if rows:
        connection.execute(
            update(deliveries)
            .where(deliveries.c.id.in_([row[0] for row in rows]), deliveries.c.state == int(State.QUEUED))
            .values({"lease_owner": null(), "due_at": now} | ({} if untried else {"possible_duplicate": True}))
        )
        wake(connection, {(row[3], row[4]): now for row in rows})
    return freed


def release(connection: Connection, owner: int, delivery_ids: Sequence[int], now: int) -> None:
    """Ends the leases of `owner` on deliveries that were claimed and not tried. Their due times do not change."""
    query = (
        select(deliveries.c.id, deliveries.c.destination, deliveries.c.source)
        .where(deliveries.c.id.in_(delivery_ids), deliveries.c.lease_owner == owner)
        .order_by(deliveries.c.id)
        .with_for_update()
    )
    rows = connection.execute(query).all()
    if rows:
        connection.execute(
            update(deliveries).where(deliveries.c.id.in_([row[0] for row in rows])).values(lease_owner=null())
        )
        wake(connection, {(row[1], row[2]): now for row in rows})
