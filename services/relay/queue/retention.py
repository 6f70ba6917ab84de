"""Removes old messages from the history, and returns their space, in small steps."""

from __future__ import annotations

import sqlite3

from sqlalchemy import Connection, delete, exists, literal_column, or_, select

from services.relay.queue.storing import forget
from services.relay.queue.tables import WAITING, deliveries, destinations, messages

# The number of free pages that SQLite keeps for new mail, and the number that one step returns to the file system.
_KEPT_PAGES = 4_000
_FREED_PAGES = 2_000


def remove_old(connection: Connection, before: int, size: int, *, contents_too: bool = True) -> int:
    """Removes up to `size` messages that were finished before a time. Returns their number. See `forget`."""
    query = (
        select(messages.c.id)
        .where(literal_column("finished_at IS NOT NULL"), messages.c.finished_at < before)
        .order_by(messages.c.finished_at)
        .limit(size)
        .with_for_update(skip_locked=True)
    )
    message_ids = [row[0] for row in connection.execute(query)]
    forget(connection, message_ids, contents_too=contents_too)
    return len(message_ids)


def forget_destinations(connection: Connection, before: int) -> None:
    """Removes destinations that have no waiting mail, are not suspended, and had no error since the given time."""
    waiting = exists().where(
        WAITING,
        deliveries.c.destination == destinations.c.name,
    )
    connection.execute(
        delete(destinations).where(
            destinations.c.wake_at.is_(None),
            destinations.c.suspended_until.is_(None),
            or_(destinations.c.last_error_at.is_(None), destinations.c.last_error_at < before),
            ~waiting,
        )
    )


def shrink(connection: Connection) -> bool:
    """Returns some free pages of an SQLite file to the file system. Returns whether there are more."""
    if connection.dialect.name != "sqlite":
        return False
    free: int = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
    if free <= _KEPT_PAGES:
        return False
    step = min(_FREED_PAGES, free - _KEPT_PAGES)
    # The pragma frees one page each time it is stepped. It has no result column, so the driver steps it only once.
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101
    for _ in range(step):
        driver.execute("PRAGMA incremental_vacuum(1)")
    return free - step > _KEPT_PAGES
