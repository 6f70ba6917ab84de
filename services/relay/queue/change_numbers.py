"""Numbers that put all changes of the queue into one order, which readers of events follow by a cursor.

A reader must never see a number while a change with a lower number may still be committed. SQLite has one writer, so a
counter in memory is enough, and each start of relay uses a new range of numbers. On PostgreSQL several replicas write
at once, so the number is that of the transaction itself, and PostgreSQL knows below which number every transaction has
ended.
"""

from __future__ import annotations

import threading

from sqlalchemy import Connection, func, select, text, update

from services.relay.queue.statements import Once
from services.relay.queue.tables import NUMBERED, identifiers

# The row of `identifiers` that stores where the numbering continues.
_ROW = 2
# The size of the range of numbers that one start of relay has on SQLite.
_RANGE = 2**40
_OFFSET = "(SELECT next FROM identifiers WHERE id = 2)"
# A database that was restored on another server counts its transactions from the beginning. The offset makes sure that
# the numbers still grow.
_OF_TRANSACTION = Once(text(f"SELECT pg_current_xact_id()::text::bigint + {_OFFSET}"))
# The number of the oldest transaction that is running, or of the next one. Transactions of other databases on the same
# server are left out, because they would hold back all events until they end. pg_stat_activity shows the transaction of
# a session only to the role of the session and to members of pg_read_all_stats.
_ENDED_BELOW = Once(
    text(
        "SELECT least(coalesce(min(number::text::bigint), pg_snapshot_xmax(pg_current_snapshot())::text::bigint),"
        " pg_current_xact_id_if_assigned()::text::bigint) + (SELECT next FROM identifiers WHERE id = 2)"
        " FROM pg_snapshot_xip(pg_current_snapshot()) AS number"
        " WHERE NOT EXISTS (SELECT FROM pg_stat_activity AS session"
        " WHERE session.datname <> current_database() AND session.backend_xid = number::xid)"
    )
)
_LIMIT = Once(text(f"SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint + {_OFFSET}"))
_FIRST_FREE = Once(text("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"))


class ChangeCounter:
    """The counter for SQLite. The connections share it by their execution option `change_counter`."""

    def __init__(self) -> None:
        self.last = 0
        self._lock = threading.Lock()

    def next(self) -> int:
        with self._lock:
            self.last += 1
            return self.last


def continue_numbering(connection: Connection) -> None:
    """Makes sure that new numbers are higher than all earlier ones. Call it at the start, in a transaction that
    writes.
    """
    if connection.dialect.name == "sqlite":
        connection.execute(update(identifiers).where(identifiers.c.id == _ROW).values(next=identifiers.c.next + _RANGE))
        _counter(connection).last = connection.execute(
            select(identifiers.c.next).where(identifiers.c.id == _ROW)
        ).scalar_one()
        return
    offset: int = connection.execute(
        select(identifiers.c.next).where(identifiers.c.id == _ROW).with_for_update()
    ).scalar_one()
    highest = max(connection.execute(select(func.max(table.c.change_number))).scalar() or 0 for table in NUMBERED)
    # The first free number is read after `highest`. So it is higher than all committed numbers, unless the database was
    # restored.
    missing = highest - offset - int(_FIRST_FREE.value(connection))
    if missing >= 0:
        connection.execute(update(identifiers).where(identifiers.c.id == _ROW).values(next=offset + missing + 1))


def change_number(connection: Connection) -> int:
    """Returns the number for the changes of the present transaction."""
    if connection.dialect.name == "sqlite":
        return _counter(connection).next()
    return int(_OF_TRANSACTION.value(connection))


def ended_below(connection: Connection) -> int:
    """Returns a number. Every change with a lower number is either committed and visible in this transaction, or was
    rolled back.
    """
    if connection.dialect.name == "sqlite":
        return _counter(connection).last + 1
    return int(_ENDED_BELOW.value(connection))


def change_limit(connection: Connection) -> int:
    """Returns a number that is higher than every number of this database so far."""
    if connection.dialect.name == "sqlite":
        return _counter(connection).last + 1
    return int(_LIMIT.value(connection))


def _counter(connection: Connection) -> ChangeCounter:
    counter: ChangeCounter = connection.get_execution_options()["change_counter"]
    return counter
