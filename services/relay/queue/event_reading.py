"""Reads the events about messages from the tables of the queue, in the order of their change numbers.

No row is written for readers only: the outcome of a delivery is in its row, in an attempt or in the timeline, and a
refusal is in the row of its message. A cursor names the last row that was read, and tables are merged by the number of
the change.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, Connection, or_, select

from services.relay.model.states import State
from services.relay.queue.change_numbers import change_limit, ended_below
from services.relay.queue.tables import NUMBERED, attempts, deliveries, events, messages

# The tables, numbered as in a cursor. This order must never change, because cursors are stored by clients.
_TABLES = (messages, deliveries, attempts, events)
_MOST = 2**63 - 1
_CLIENT_BLOCKED = "client_blocked"


class EventKind(Enum):
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    HELD = "held"
    REFUSED = "refused"
    CLIENT_BLOCKED = "client_blocked"


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row that was read: the number of the change, the number of the table, and the id in this table."""

    number: int = 0
    place: int = 0
    identifier: int = 0

    def text(self) -> str:
        return f"{self.number}-{self.place}-{self.identifier}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Reads a cursor from its text. Raises ValueError."""
        parts = text.split("-")
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts):
            raise ValueError("the text is not a cursor")
        cursor = cls(*map(int, parts))
        if max(cursor.number, cursor.identifier) > _MOST or cursor.place >= len(_TABLES):
            raise ValueError("the text is not a cursor")
        return cursor

    def before(self) -> Cursor:
        """Returns the position directly before this row."""
        return Cursor(self.number, self.place, self.identifier - 1)


@dataclass(slots=True)
class StoredEvent:
    """One event, with the data that describes it. `attempt` is JSON. `message` is the row of the message."""

    cursor: Cursor
    kind: EventKind
    at: int
    message: Any
    recipients: tuple[bytes, ...] = ()
    attempt: str | None = None
    detail: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class EventPage:
    """A bounded number of events. `next` is the cursor for the next call, even when there are no events. `more` tells
    that more events exist already.
    """

    events: tuple[StoredEvent, ...]
    next: Cursor
    more: bool


def end(connection: Connection) -> Cursor:
    """Returns the cursor after all present events.

    Call it in a transaction that writes, since SQLite allows only one such transaction at a time.
    """
    return Cursor(ended_below(connection) - 1, len(_TABLES) - 1, _MOST)


def event_page(connection: Connection, after: Cursor, size: int) -> EventPage:
    """Returns the events after a cursor, in order.

    A cursor whose number is higher than all numbers of this database comes from another database. Then the events are
    read from the beginning.
    """
    if after.number >= change_limit(connection):
        after = Cursor()
    bound = ended_below(connection)
    rows: list[tuple[Cursor, Any]] = []
    for place, table in enumerate(_TABLES):
        identifier = NUMBERED[table]
        query = (
            select(table)
            .where(table.c.change_number.is_not(None), table.c.change_number < bound)
            .where(*_behind(table.c.change_number, identifier, after, place))
            .order_by(table.c.change_number, identifier)
            .limit(size + 1)
        )
        rows += [(Cursor(row.change_number, place, _identifier(row, place)), row) for row in connection.execute(query)]
    rows.sort(key=lambda pair: (pair[0].number, pair[0].place, pair[0].identifier))
    more = len(rows) > size
    rows = rows[:size]
    return EventPage(tuple(_events(connection, rows)), rows[-1][0] if rows else after, more)


def _identifier(row: Any, place: int) -> int:
    number: int = row.delivery_id if _TABLES[place] is attempts else row.id
    return number


def _behind(number: Any, identifier: Any, after: Cursor, place: int) -> list[ColumnElement[bool]]:
    """Returns the condition for rows after a cursor, in a form for which both databases use the index."""
    if place > after.place:
        return [number >= after.number]
    if place < after.place:
        return [number > after.number]
    return [number >= after.number, or_(number > after.number, identifier > after.identifier)]


def _events(connection: Connection, rows: Sequence[tuple[Cursor, Any]]) -> Iterable[StoredEvent]:
    tried = [row.delivery_id for cursor, row in rows if _TABLES[cursor.place] is attempts]
    of_attempts = {row.id: row for row in _by_id(connection, deliveries, tried)}
    refused = [row.id for cursor, row in rows if _TABLES[cursor.place] is messages]
    recipients = _recipients(connection, refused)
    message_ids = {row.message_id for cursor, row in rows if _TABLES[cursor.place] in (deliveries, events)} | {
        row.message_id for row in of_attempts.values()
    }
    of_messages = {row.id: row for row in _by_id(connection, messages, message_ids)}
    for cursor, row in rows:
        table = _TABLES[cursor.place]
        event: StoredEvent | None
        if table is messages:
            event = _refusal(cursor, row, recipients.get(row.id, ()))
        elif table is deliveries:
            event = _end_of_delivery(cursor, row, of_messages.get(row.message_id))
        elif table is attempts:
            event = _attempt(cursor, row, of_attempts.get(row.delivery_id), of_messages)
        else:
            event = StoredEvent(
                cursor,
                EventKind(row.event),
                row.at,
                of_messages.get(row.message_id),
                (row.recipient,),
                detail=row.detail,
                actor=row.actor,
            )
        # A row without its message is damaged, so it gives no event (C140).
        if event is not None and event.message is not None:
            yield event


def _refusal(cursor: Cursor, row: Any, recipients: tuple[bytes, ...]) -> StoredEvent:
    blocked = _fields(row.refusal).get("reason_id") == _CLIENT_BLOCKED
    kind = EventKind.CLIENT_BLOCKED if blocked else EventKind.REFUSED
    return StoredEvent(cursor, kind, row.received_at, row, recipients)


def _end_of_delivery(cursor: Cursor, row: Any, message: Any) -> StoredEvent:
    if row.state == State.DELIVERED:
        kind = EventKind.DELIVERED
    else:
        # When the last attempt of a bounced delivery was a deferral, the message has expired.
        deferred = _fields(row.last_attempt).get("result") == "deferred"
        kind = EventKind.EXPIRED if deferred else EventKind.BOUNCED
    return StoredEvent(cursor, kind, row.finished_at, message, (row.recipient,), row.last_attempt)


def _attempt(cursor: Cursor, row: Any, delivery: Any, of_messages: dict[int, Any]) -> StoredEvent | None:
    if delivery is None:
        return None
    was_held = _fields(row.attempt).get("result") == "held"
    kind = EventKind.HELD if was_held else EventKind.DEFERRED
    at = _fields(row.attempt).get("ended_at", row.started_at)
    message = of_messages.get(delivery.message_id)
    return StoredEvent(cursor, kind, at, message, (delivery.recipient,), row.attempt)


def _fields(kept: str | None) -> dict[str, Any]:
    """Returns the fields of stored JSON, or none when it cannot be read (C140)."""
    try:
        fields = json.loads(kept or "{}")
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _by_id(connection: Connection, table: Any, wanted: Iterable[int]) -> Sequence[Any]:
    identifiers = list(wanted)
    return connection.execute(select(table).where(table.c.id.in_(identifiers))).all() if identifiers else ()


def _recipients(connection: Connection, refused: Sequence[int]) -> dict[int, tuple[bytes, ...]]:
    recipients: dict[int, tuple[bytes, ...]] = {}
    if refused:
        query = (
            select(deliveries.c.message_id, deliveries.c.recipient)
            .where(deliveries.c.message_id.in_(refused))
            .order_by(deliveries.c.id)
        )
        for message, recipient in connection.execute(query):
            recipients[message] = (*recipients.get(message, ()), recipient)
    return recipients
