"""Destinations: when each wants to be looked at, which are suspended, and what last went wrong there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, case, literal_column, null, or_, select, update

from services.relay.queue.statements import Many, upsert
from services.relay.queue.tables import deliveries, destinations
from services.relay.states import FOREVER

_LAST_ERROR = Many(
    update(destinations)
    .values(last_error=bindparam("error"), last_error_at=bindparam("at"))
    .where(destinations.c.name == bindparam("destination")),
    ("error", "at", "destination"),
)
_NEXT_DUE = (
    select(deliveries.c.due_at)
    .where(
        literal_column("deliveries.lease_owner IS NULL"),
        literal_column("deliveries.state <= 3"),
        deliveries.c.destination == bindparam("destination"),
        deliveries.c.due_at.is_not(None),
    )
    .order_by(deliveries.c.due_at)
    .limit(1)
)


def wake(connection: Connection, due: Mapping[str, int]) -> None:
    """Makes sure that each destination is looked at by its time at the latest; a suspended one when that ends."""
    if not due:
        return
    insertion = upsert(connection, destinations)
    new = insertion.excluded.wake_at
    statement = insertion.on_conflict_do_update(
        index_elements=[destinations.c.name],
        set_={
            "wake_at": case(
                (destinations.c.suspended_until.is_not(None), destinations.c.wake_at),
                (or_(destinations.c.wake_at.is_(None), destinations.c.wake_at > new), new),
                else_=destinations.c.wake_at,
            )
        },
    )
    # In order: two relays that wake the same ones must not wait for each other.
    rows = [{"name": name, "wake_at": at, "suspended_by": "", "last_error": ""} for name, at in sorted(due.items())]
    connection.execute(statement, rows)


def record_errors(connection: Connection, errors: Mapping[str, tuple[str, int]]) -> None:
    """The last error of each destination: text and time."""
    _LAST_ERROR.run(connection, [(text, at, name) for name, (text, at) in sorted(errors.items())])


def next_due(connection: Connection, name: str) -> int | None:
    """When the first delivery that waits for a destination is due."""
    due: int | None = connection.execute(_NEXT_DUE, {"destination": name}).scalar()
    return due


@dataclass(frozen=True, slots=True)
class Suspension:
    """Of one destination, `until` in microseconds since 1970 or FOREVER."""

    name: str
    until: int
    by: str


def suspend(connection: Connection, suspension: Suspension) -> None:
    """Nothing is claimed for the destination until then. What is being tried goes on to its end."""
    wake_at = None if suspension.until >= FOREVER else suspension.until
    values = {"suspended_until": suspension.until, "suspended_by": suspension.by, "wake_at": wake_at}
    statement = upsert(connection, destinations).values(name=suspension.name, last_error="", **values)
    connection.execute(statement.on_conflict_do_update(index_elements=[destinations.c.name], set_=values))


def resume(connection: Connection, name: str, now: int) -> bool:
    """Ends a suspension; whether there was such a destination."""
    found = connection.execute(
        update(destinations)
        .where(destinations.c.name == name)
        .values(suspended_until=null(), suspended_by="", wake_at=now)
    )
    return found.rowcount > 0


def suspensions(connection: Connection, now: int) -> dict[str, Suspension]:
    """Every suspension that holds now, by destination."""
    rows = connection.execute(
        select(destinations.c.name, destinations.c.suspended_until, destinations.c.suspended_by).where(
            destinations.c.suspended_until > now
        )
    )
    return {row[0]: Suspension(row[0], row[1], row[2]) for row in rows}
