"""Counts the messages that all relays together send to a destination in each minute."""

from __future__ import annotations

from sqlalchemy import Connection, delete

from services.relay.queue.statements import upsert
from services.relay.queue.tables import message_counts


def count_message(connection: Connection, destination: str, minute: int) -> int:
    """Counts one message, and returns the count of this minute. The minutes are counted since 1970. Counts of earlier
    minutes are removed.
    """
    statement = upsert(connection.dialect.name, message_counts).values(
        destination=destination, minute=minute, messages=1
    )
    counted = statement.on_conflict_do_update(
        index_elements=[message_counts.c.destination, message_counts.c.minute],
        set_={"messages": message_counts.c.messages + 1},
    ).returning(message_counts.c.messages)
    count = int(connection.execute(counted).scalar_one())
    if count == 1:
        connection.execute(
            delete(message_counts).where(message_counts.c.destination == destination, message_counts.c.minute < minute)
        )
    return count
