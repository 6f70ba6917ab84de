"""Ends or changes waiting deliveries without an attempt: for operators, and when time makes something due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, null, select, update

from services.relay.model.message import QueuedMessage, source_of
from services.relay.model.states import Kind, State
from services.relay.queue.claiming import read_content
from services.relay.queue.destinations import wake
from services.relay.queue.filters import MessageFilter
from services.relay.queue.settling import close
from services.relay.queue.statements import Many
from services.relay.queue.tables import HAS_OPEN_DELIVERIES, deliveries, messages

_END = Many(
    update(deliveries)
    .where(deliveries.c.id == bindparam("delivery"))
    .values(
        state=bindparam("new_state"),
        due_at=null(),
        finished_at=bindparam("finished"),
        last_reply=bindparam("reply"),
    ),
    ("new_state", "finished", "reply", "delivery"),
)
_CHANGE = Many(
    update(deliveries)
    .where(deliveries.c.id == bindparam("delivery"))
    .values(state=bindparam("new_state"), due_at=bindparam("new_due")),
    ("new_state", "new_due", "delivery"),
)


@dataclass(slots=True)
class Open:
    """A message with those of its deliveries that match."""

    message: QueuedMessage
    delay_noticed: bool
    # The locked rows of the waiting deliveries, and the number of the other open deliveries, which a relay has leased.
    waiting: list[Any] = field(default_factory=list)
    others: int = 0


def chosen(connection: Connection, message_ids: Sequence[int], wanted: MessageFilter, now: int) -> list[Open]:
    """Returns those of the messages that are still in the queue, with the deliveries that match."""
    rows = connection.execute(select(messages).where(messages.c.id.in_(message_ids), messages.c.open > 0)).all()
    return lock(connection, rows, wanted.of_deliveries(now))


def ids_due_for_sweep(connection: Connection, now: int, size: int) -> list[int]:
    """Returns the ids of the messages that `due_for_sweep` finds."""
    query = (
        select(messages.c.id)
        .where(HAS_OPEN_DELIVERIES, messages.c.sweep_at <= now)
        .order_by(messages.c.sweep_at)
        .limit(size)
    )
    return list(connection.execute(query).scalars())


def due_for_sweep(connection: Connection, now: int, size: int, only: int | None = None) -> list[Open]:
    """Returns the messages whose `sweep_at` is reached. `only` limits this to one message."""
    only_this = [] if only is None else [messages.c.id == only]
    rows = connection.execute(
        select(messages)
        .where(HAS_OPEN_DELIVERIES, messages.c.sweep_at <= now, *only_this)
        .order_by(messages.c.sweep_at)
        .limit(size)
        .with_for_update(skip_locked=True)
    ).all()
    return lock(connection, rows, [])


def lock(connection: Connection, rows: Sequence[Any], conditions: Sequence[Any]) -> list[Open]:
    """Locks the open deliveries of messages, and returns the messages with them. The waiting deliveries cannot be
    claimed before the transaction ends.
    """
    if not rows:
        return []
    by_id = {row.id: Open(_message(row), bool(row.delay_noticed)) for row in rows}
    query = (
        select(deliveries)
        .where(deliveries.c.message_id.in_(list(by_id)), deliveries.c.state <= int(State.HELD), *conditions)
        .order_by(deliveries.c.id)
        .with_for_update()
    )
    for row in connection.execute(query):
        if row.lease_owner is None:
            by_id[row.message_id].waiting.append(row)
        else:
            by_id[row.message_id].others += 1
    return list(by_id.values())


def with_content(connection: Connection, message: QueuedMessage) -> QueuedMessage:
    """Reads the content, which reports need. A missing content must not prevent the end of a message."""
    return message.with_content(read_content(connection, message.id) or b"")


def end(connection: Connection, rows: Sequence[tuple[Any, State, str]], now: int) -> None:
    """Finishes locked deliveries. Each entry has the row, its new state and the text for the last reply. An empty text
    leaves the last reply unchanged.
    """
    _END.run(connection, [(int(state), now, reply or row.last_reply, row.id) for row, state, reply in rows])
    closed: dict[int, int] = {}
    for row, _, _ in rows:
        closed[row.message_id] = closed.get(row.message_id, 0) + 1
    close(connection, closed, now)


def change(connection: Connection, rows: Sequence[tuple[Any, State, int | None]]) -> None:
    """Sets another state and due time for locked deliveries."""
    _CHANGE.run(connection, [(int(state), due_at, row.id) for row, state, due_at in rows])
    woken: dict[tuple[str, str], int] = {}
    for row, _, due_at in rows:
        if due_at is not None:
            pair = row.destination, row.source
            woken[pair] = min(due_at, woken.get(pair, due_at))
    wake(connection, woken)


def lift_quarantine(connection: Connection, message_id: int) -> None:
    """Removes the mark of quarantine, so that the message takes the route that it would have without the mark."""
    connection.execute(update(messages).where(messages.c.id == message_id).values(quarantine=False))


def swept(connection: Connection, message_id: int, sweep_at: int | None, *, delay_noticed: bool) -> None:
    """Sets the time of the next sweep of the message, and whether its sender was told of a delay."""
    connection.execute(
        update(messages).where(messages.c.id == message_id).values(sweep_at=sweep_at, delay_noticed=delay_noticed)
    )


def _message(row: Any) -> QueuedMessage:
    return QueuedMessage(
        row.id,
        Kind(row.kind),
        row.sender,
        row.size,
        row.stored_at,
        None,
        row.ret,
        row.envelope_id,
        bool(row.smtputf8),
        bool(row.body_8bitmime),
        bool(row.quarantine),
        row.account_login,
        row.helo_name,
        row.session_id,
        row.traceparent or "",
        bool(row.may_relay),
        source_of(row.account_login, row.client_address),
    )
