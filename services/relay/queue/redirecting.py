"""Stores the redirects of operators: gives a message other deliveries, or gives deliveries another next hop."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from services.relay.model.message import NewDelivery, NewMessage, QueuedMessage
from services.relay.model.states import State
from services.relay.queue.destinations import wake
from services.relay.queue.statements import Many
from services.relay.queue.storing import store_deliveries
from services.relay.queue.tables import deliveries, messages

_PRESENT = (int(State.QUEUED), int(State.HELD), int(State.DELIVERED))
_SEND_BY = Many(
    update(deliveries)
    .where(deliveries.c.id == bindparam("delivery"))
    .values(next_hop=bindparam("new_next_hop"), destination=bindparam("new_destination"), due_at=bindparam("new_due")),
    ("new_next_hop", "new_destination", "new_due", "delivery"),
)


def recipients_present(connection: Connection, message_id: int, without: Collection[int]) -> list[bytes]:
    """Returns the recipients that have got the message or wait for it, apart from those of the deliveries `without`."""
    rows = connection.execute(
        select(deliveries.c.recipient).where(
            deliveries.c.message_id == message_id,
            deliveries.c.state.in_(_PRESENT),
            deliveries.c.id.not_in(list(without)),
        )
    )
    return [bytes(row[0]) for row in rows]


def add_deliveries(connection: Connection, message: QueuedMessage, new: Sequence[NewDelivery], now: int) -> None:
    """Adds deliveries to a message that has an open and locked delivery. The new deliveries wait until they are
    claimed.
    """
    addition = NewMessage(
        message.id,
        message.kind,
        message.sender,
        b"",
        now,
        tuple(new),
        unleased=frozenset(each.destination for each in new),
        source=message.source,
    )
    opened = store_deliveries(connection, addition, now)
    if opened:
        connection.execute(update(messages).where(messages.c.id == message.id).values(open=messages.c.open + opened))


def send_by(
    connection: Connection, rows: Sequence[tuple[Any, str, int | None]], next_hop: str | None, now: int
) -> None:
    """Sets the next hop (JSON, or None) of locked deliveries, each with its new destination and due time."""
    _SEND_BY.run(connection, [(next_hop, destination, due_at, row.id) for row, destination, due_at in rows])
    wake(connection, {(destination, row.source): now for row, destination, due_at in rows if due_at is not None})
