"""Puts deliveries aside that can't be read, so that the rest goes on (C140)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, null, select, update

from services.relay.queue.settling import Event, close, record_events
from services.relay.queue.tables import deliveries, messages
from services.relay.states import State


def quarantine(connection: Connection, rows: Sequence[tuple[int, int, int, str]], now: int) -> None:
    """`rows`: identifier of the event, delivery, its message, and what is wrong with it."""
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
            # What is left of the content stays for whoever looks into it: it goes with the history.
            close(connection, {message: 1}, now, keep_content=True)
