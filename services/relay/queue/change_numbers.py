"""Numbers that put all changes of the queue into one order, which readers of events follow by a cursor.

A reader must never see a number while a lower one may still be committed. SQLite has one writer, so a counter in memory
is enough; each start of relay continues in a range of its own. On PostgreSQL several relays write at once, so the
number is that of the transaction itself, and PostgreSQL knows below which number every transaction has ended.
"""

from __future__ import annotations

import threading

from sqlalchemy import Connection, func, select, text, update

from services.relay.queue.statements import Once
from services.relay.queue.tables import NUMBERED, identifiers

# The row of `identifiers` that keeps the numbering going.
_ROW = 2
# The numbers of one start of relay on SQLite.
_RANGE = 2**40
_OFFSET = "(SELECT next FROM identifiers WHERE id = 2)"
# A database that was restored elsewhere begins its transactions anew; the offset keeps the numbers growing.
_OF_TRANSACTION = Once(text(f"SELECT pg_current_xact_id()::text::bigint + {_OFFSET}"))
# The lowest transaction under way, or the next one. Transactions of other databases of the server are left out, which
# only a role that may read pg_stat_activity can tell (its own sessions, or the role pg_read_all_stats): they would hold
# back all events until they end.
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
    """SQLite's counter. Its connections share it by their execution option `change_counter`."""

    def __init__(self) -> None:
        self.last = 0
        self._lock = threading.Lock()

    def next(self) -> int:
        with self._lock:
            self.last += 1
            return self.last


def continue_numbering(connection: Connection) -> None:
    """At the start, in a transaction that writes: makes sure that new numbers are higher than all of before."""
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
    # Asked for afterwards: nothing that is committed has a number as high, unless the database was restored.
    missing = highest - offset - int(_FIRST_FREE.value(connection))
    if missing >= 0:
        connection.execute(update(identifiers).where(identifiers.c.id == _ROW).values(next=offset + missing + 1))


def change_number(connection: Connection) -> int:
    """The number for what the present transaction writes."""
    if connection.dialect.name == "sqlite":
        return _counter(connection).next()
    return int(_OF_TRANSACTION.value(connection))


def ended_below(connection: Connection) -> int:
    """Every change with a lower number is committed, and visible in this transaction, or will never be."""
    if connection.dialect.name == "sqlite":
        return _counter(connection).last + 1
    return int(_ENDED_BELOW.value(connection))


def change_limit(connection: Connection) -> int:
    """Higher than every number that was given out for this database."""
    if connection.dialect.name == "sqlite":
        return _counter(connection).last + 1
    return int(_LIMIT.value(connection))


def _counter(connection: Connection) -> ChangeCounter:
    counter: ChangeCounter = connection.get_execution_options()["change_counter"]
    return counter
