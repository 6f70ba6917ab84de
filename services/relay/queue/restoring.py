"""Prepares a restored queue before relay starts: it skips used numbers, and marks deliveries that may be duplicates."""

from __future__ import annotations

import datetime

from sqlalchemy import Connection, distinct, func, select, update

from services.relay.queue.tables import deliveries, identifiers

# Relay uses fewer ids than this between a backup and the loss of the machine. Skipping them makes sure that no queue id
# is used twice.
_IDENTIFIERS_LEFT_OUT = 2**30
# The numbers of changes after the backup, which are skipped because readers of events may have seen them.
_CHANGES_LEFT_OUT = 2**40


def after_restore(connection: Connection, taken_at: int) -> list[str]:
    """Prepares the restored rows, and returns a text that says how much mail waits."""
    for row, left_out in ((1, _IDENTIFIERS_LEFT_OUT), (2, _CHANGES_LEFT_OUT)):
        connection.execute(
            update(identifiers).where(identifiers.c.id == row).values(next=identifiers.c.next + left_out)
        )
    waiting = deliveries.c.finished_at.is_(None)
    count = connection.execute(select(func.count(), func.count(distinct(deliveries.c.message_id))).where(waiting)).one()
    # The former relay may have delivered this mail after the backup was taken.
    connection.execute(update(deliveries).where(waiting).values(possible_duplicate=True))
    if not count[0]:
        return ["No mail waits in the queue, so none will be sent twice."]
    time = datetime.datetime.fromtimestamp(taken_at / 1_000_000, datetime.UTC).isoformat(timespec="seconds")
    note = (
        f"Mail that waits in the queue: messages {count[1]}, deliveries {count[0]}. What the former machine delivered "
        f"after {time} will be delivered a second time; each is marked as a possible duplicate in log and timeline."
    )
    return [note]
