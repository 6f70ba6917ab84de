"""Sets aside deliveries that cannot be read, so that the other mail is delivered (C140)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, null, select, update

from services.relay.model.states import State
from services.relay.queue.settling import Event, close, record_events
from services.relay.queue.tables import deliveries, messages

_FINISHED = [int(state) for state in State if not state.open]


def quarantine(connection: Connection, rows: Sequence[tuple[int, int, int, str]], now: int) -> None:
    """Sets deliveries aside. Each of `rows` has the id for the event, the delivery, its message, and what is wrong with
    it.
    """
    for event, delivery, message, reason in rows:
        changed = connection.execute(
            update(deliveries)
            .where(deliveries.c.id == delivery, deliveries.c.state <= int(State.HELD))
            .values(
                state=int(State.QUARANTINED),
                lease_owner=null(),
                due_at=null(),
                finished_at=now,
                last_reply=f"quarantined: {reason}",
            )
        )
        if changed.rowcount == 0:
            continue
        record_events(connection, [Event(event, message, now, "quarantined", b"", reason)])
        if connection.execute(select(messages.c.id).where(messages.c.id == message)).scalar() is not None:
            # The damaged content is kept for an investigation, and is removed with the history.
            close(connection, {message: 1}, now, keep_content=True)


def quarantine_message(connection: Connection, event: int, message: int, reason: str, now: int, again: int) -> int:
    """Sets aside all deliveries of a message that are not finished and not being tried, whatever state their rows have.

    Returns their number. If some deliveries are being tried, the message is checked again at the time `again`.
    """
    rows = connection.execute(
        update(deliveries)
        .where(
            deliveries.c.message_id == message, deliveries.c.lease_owner.is_(None), deliveries.c.state.not_in(_FINISHED)
        )
        .values(state=int(State.QUARANTINED), due_at=null(), finished_at=now, last_reply=f"quarantined: {reason}")
    )
    tried: int = connection.execute(
        select(func.count()).where(deliveries.c.message_id == message, deliveries.c.lease_owner.is_not(None))
    ).scalar_one()
    connection.execute(
        update(messages)
        .where(messages.c.id == message)
        .values(open=tried, finished_at=None if tried else now, sweep_at=again if tried else None)
    )
    record_events(connection, [Event(event, message, now, "quarantined", b"", reason)])
    return int(rows.rowcount)
