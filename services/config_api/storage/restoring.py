"""Prepares restored settings before config_api starts: makes a revision whose number is higher than any that replicas
may have seen.
"""

from __future__ import annotations

import datetime

from sqlalchemy import Connection, delete, insert, select, update

from services.config_api.storage.identifiers import now_us
from services.config_api.storage.tables import head, replicas, revisions, webhook_states

# Fewer revisions than this are made between a backup and the loss of the machine. A replica of policy or relay may
# still have one of these lost revisions, and the restored settings must be newer for it.
_REVISIONS_LEFT_OUT = 1_000_000


def after_restore(connection: Connection, taken_at: int) -> list[str]:
    """Makes a new revision with the settings of the backup. Returns a text that names both revisions."""
    former = connection.execute(select(head.c.revision)).scalar_one()
    number = former + _REVISIONS_LEFT_OUT
    time = datetime.datetime.fromtimestamp(taken_at / 1_000_000, datetime.UTC).isoformat(timespec="seconds")
    connection.execute(update(head).values(revision=number))
    connection.execute(
        insert(revisions).values(
            number=number,
            created_at=now_us(),
            actor="posthouse",
            action="restore",
            summary=f"restored revision {former} from the backup of {time}",
        )
    )
    # The processes of the former machine no longer exist, so their rows and leases are removed.
    connection.execute(delete(replicas))
    connection.execute(update(webhook_states).values(lease_owner="", lease_until=0))
    return [f"The settings are those of revision {former}; their revision is {number} now."]
