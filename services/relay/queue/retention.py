"""The end of the history, in small steps, and of the space that it took."""

from __future__ import annotations

import sqlite3

from sqlalchemy import Connection, delete, exists, literal_column, or_, select

from services.relay.queue.storing import forget
from services.relay.queue.tables import WAITING, deliveries, destinations, messages

# Free pages that SQLite keeps for the next mail, and those given back to the file system in one step.
_KEPT_PAGES = 4_000
_FREED_PAGES = 2_000


def remove_old(connection: Connection, before: int, size: int, *, contents_too: bool = True) -> int:
    """Removes messages finished before a time; how many, up to `size`. See `forget`."""
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
    """Removes destinations where nothing waits and nothing went wrong since a time."""
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
    """Gives some free pages of a SQLite file back; whether there are more to give."""
    if connection.dialect.name != "sqlite":
        return False
    free: int = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
    if free <= _KEPT_PAGES:
        return False
    step = min(_FREED_PAGES, free - _KEPT_PAGES)
    # The pragma frees one page each time it is stepped, and has no column, for which the driver steps it once.
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101
    for _ in range(step):
        driver.execute("PRAGMA incremental_vacuum(1)")
    return free - step > _KEPT_PAGES
