"""Destinations: when each one must be checked, which ones are suspended, and the last error of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    update,
)

from services.relay.model.states import FOREVER
from services.relay.queue.statements import Many, Once, upsert
from services.relay.queue.tables import WAITING, deliveries, destinations, messages, waiting_sources

# A time that is later than any real time.
_END: ColumnElement[int] = literal_column(str(2**62))
_LAST_ERROR = Many(
    update(destinations)
    .values(last_error=bindparam("error"), last_error_at=bindparam("at"))
    .where(destinations.c.name == bindparam("destination")),
    ("error", "at", "destination"),
)
_NEXT_WAKE = Once(
    select(waiting_sources.c.wake_at)
    .where(waiting_sources.c.destination == bindparam("destination"))
    .order_by(waiting_sources.c.wake_at)
    .limit(literal_column("1")),
    ("destination",),
)
# Adds the sources of waiting deliveries that have no row in `waiting_sources`, because an older release stored them.
_FORGOTTEN_SOURCES = Once(
    insert(waiting_sources).from_select(
        ["destination", "source", "wake_at"],
        select(deliveries.c.destination, deliveries.c.source, func.min(deliveries.c.due_at))
        # A column of SQLite accepts every type, and sorts text after every number (C140).
        .where(WAITING, deliveries.c.destination == bindparam("destination"), deliveries.c.due_at < _END)
        .group_by(deliveries.c.destination, deliveries.c.source),
    ),
    ("destination",),
)


def _waking(dialect: str) -> Insert:
    insertion = upsert(dialect, destinations)
    new = insertion.excluded.wake_at
    statement: Insert = insertion.on_conflict_do_update(
        index_elements=[destinations.c.name],
        set_={
            "wake_at": case(
                (destinations.c.suspended_until.is_not(None), destinations.c.wake_at),
                (or_(destinations.c.wake_at.is_(None), destinations.c.wake_at > new), new),
                else_=destinations.c.wake_at,
            )
        },
    )
    return statement


_WAKE = Many(_waking, ("name", "wake_at", "suspended_by", "last_error"))


def _waking_source(dialect: str) -> Insert:
    insertion = upsert(dialect, waiting_sources)
    new = insertion.excluded.wake_at
    statement: Insert = insertion.on_conflict_do_update(
        index_elements=[waiting_sources.c.destination, waiting_sources.c.source],
        set_={"wake_at": case((waiting_sources.c.wake_at > new, new), else_=waiting_sources.c.wake_at)},
    )
    return statement


_WAKE_SOURCE = Many(_waking_source, ("destination", "source", "wake_at"))


def wake(connection: Connection, due: Mapping[tuple[str, str], int]) -> None:
    """Makes sure that each destination and source is checked at the given time or earlier.

    A suspended destination is checked when the suspension ends.
    """
    if not due:
        return
    # The rows are sorted, and destinations come before sources, so that two relays that write the same rows cannot
    # cause a deadlock.
    pairs = sorted(due.items())
    first: dict[str, int] = {}
    for (destination, _), at in pairs:
        first[destination] = min(at, first.get(destination, at))
    _WAKE.run(connection, [(name, at, "", "") for name, at in first.items()])
    _WAKE_SOURCE.run(connection, [(destination, source, at) for (destination, source), at in pairs])


def wake_forgotten(connection: Connection) -> int:
    """Adds the missing rows for sources with waiting mail. They are missing when a relay of an older release, which
    runs at the same time, stored the mail.

    Returns the number of sources.
    """
    noted = exists().where(
        waiting_sources.c.destination == deliveries.c.destination, waiting_sources.c.source == deliveries.c.source
    )
    rows = connection.execute(
        select(deliveries.c.destination, deliveries.c.source, func.min(deliveries.c.due_at))
        .where(WAITING, deliveries.c.due_at < _END, ~noted)
        .group_by(deliveries.c.destination, deliveries.c.source)
    ).all()
    wake(connection, {(row[0], row[1]): row[2] for row in rows})
    return len(rows)


def record_errors(connection: Connection, errors: Mapping[str, tuple[str, int]]) -> None:
    """Stores the last error of each destination: its text and its time."""
    _LAST_ERROR.run(connection, [(text, at, name) for name, (text, at) in sorted(errors.items())])


def next_wake(connection: Connection, name: str) -> int | None:
    """Returns the first time at which a source of the destination must be checked, or None when nothing waits."""
    wake_at: int | None = _NEXT_WAKE.value(connection, name)
    if wake_at is None:
        _FORGOTTEN_SOURCES.run(connection, name)
        wake_at = _NEXT_WAKE.value(connection, name)
    return wake_at


@dataclass(frozen=True, slots=True)
class Suspension:
    """The suspension of one destination. `until` is in microseconds since 1970, or FOREVER."""

    name: str
    until: int
    by: str


def suspend(connection: Connection, suspension: Suspension) -> None:
    """Suspends the destination: nothing is claimed for it until the given time. Running attempts continue."""
    wake_at = None if suspension.until >= FOREVER else suspension.until
    values = {"suspended_until": suspension.until, "suspended_by": suspension.by, "wake_at": wake_at}
    statement = upsert(connection.dialect.name, destinations).values(name=suspension.name, last_error="", **values)
    connection.execute(statement.on_conflict_do_update(index_elements=[destinations.c.name], set_=values))


def resume(connection: Connection, name: str, now: int) -> bool:
    """Ends a suspension. Returns whether the destination was suspended."""
    resumed = connection.execute(
        update(destinations)
        .where(destinations.c.name == name, destinations.c.suspended_until > now)
        .values(suspended_until=null(), suspended_by="", wake_at=now)
    )
    return resumed.rowcount > 0


def suspensions(connection: Connection, now: int) -> dict[str, Suspension]:
    """Returns every suspension that is in effect now, by destination."""
    rows = connection.execute(
        select(destinations.c.name, destinations.c.suspended_until, destinations.c.suspended_by).where(
            destinations.c.suspended_until > now
        )
    )
    return {row[0]: Suspension(row[0], row[1], row[2]) for row in rows}


@dataclass(frozen=True, slots=True)
class DestinationView:
    """One destination as operators see it. Times are in microseconds since 1970."""

    name: str
    # The number of unfinished deliveries: active, deferred and held.
    queued: int
    active: int
    deferred: int
    held: int
    oldest_at: int | None
    next_due_at: int | None
    last_error: str
    last_error_at: int | None
    suspension: Suspension | None


# The largest number of names that are read for one page.
_LOOKED_AT = 2000


def view(connection: Connection, after: str, size: int, now: int) -> tuple[list[DestinationView], str]:
    """Returns destinations after the name `after` that have waiting mail or are suspended, in the order of names; and
    the name after which the next page begins, which is empty when there is no next page.
    """
    leased: dict[str, int] = {
        row[0]: row[1]
        for row in connection.execute(
            select(deliveries.c.destination, func.count())
            .where(literal_column("lease_owner IS NOT NULL"))
            .group_by(deliveries.c.destination)
        )
    }
    rows = connection.execute(
        select(destinations).where(destinations.c.name > after).order_by(destinations.c.name).limit(_LOOKED_AT)
    ).all()
    row_by_name = {row.name: row for row in rows}
    last = rows[-1].name if len(rows) == _LOOKED_AT else None
    names = sorted(row_by_name.keys() | {name for name in leased if name > after and (last is None or name <= last)})
    views: list[DestinationView] = []
    for name in names:
        destination_view = _view(connection, name, row_by_name.get(name), leased.get(name, 0), now)
        if destination_view.queued or destination_view.suspension is not None:
            views.append(destination_view)
        if len(views) == size:
            return views, name if name != names[-1] or last is not None else ""
    return views, last or ""


def view_one(connection: Connection, name: str, now: int) -> DestinationView | None:
    """Returns one destination, or None when it is unknown to relay."""
    row = connection.execute(select(destinations).where(destinations.c.name == name)).first()
    leased: int = connection.execute(
        select(func.count()).where(literal_column("lease_owner IS NOT NULL"), deliveries.c.destination == name)
    ).scalar_one()
    return None if row is None and not leased else _view(connection, name, row, leased, now)


def _view(connection: Connection, name: str, row: Any, leased: int, now: int) -> DestinationView:
    # The first waiting delivery is found by its own id, which is in SQLite's index, while the id of its message is not.
    # Both ids grow with time, except that a redirect adds a new delivery to an older message.
    waiting, due, held, next_due_at, first = connection.execute(
        select(
            func.count(),
            func.count().filter(deliveries.c.due_at <= now),
            func.count().filter(deliveries.c.due_at.is_(None)),
            func.min(deliveries.c.due_at),
            func.min(deliveries.c.id),
        ).where(WAITING, deliveries.c.destination == name)
    ).one()
    oldest = connection.execute(
        select(messages.c.stored_at)
        .join(deliveries, deliveries.c.message_id == messages.c.id)
        .where(deliveries.c.id == first)
    ).scalar()
    suspended = row is not None and row.suspended_until is not None and row.suspended_until > now
    return DestinationView(
        name=name,
        queued=waiting + leased,
        active=due + leased,
        deferred=waiting - due - held,
        held=held,
        oldest_at=oldest,
        next_due_at=next_due_at if isinstance(next_due_at, int) else None,
        last_error=row.last_error if row is not None else "",
        last_error_at=row.last_error_at if row is not None else None,
        suspension=Suspension(name, row.suspended_until, row.suspended_by) if suspended else None,
    )
