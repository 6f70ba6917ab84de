"""Prepares restored settings before config_api starts: makes a revision that is higher than all that replicas may have
seen.
"""

from __future__ import annotations

import datetime

from sqlalchemy import Connection, delete, insert, select, update

from services.config_api.storage.identifiers import now_us
from services.config_api.storage.tables import head, replicas, revisions, webhook_states

# Fewer revisions than this are made between a backup and the loss of its machine. A replica of policy or relay that
# still has one of those must see the restored settings as newer.
_REVISIONS_LEFT_OUT = 1_000_000


def after_restore(connection: Connection, taken_at: int) -> list[str]:
    """Makes a new revision with the settings of the backup. Returns a text with its number."""
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
    # No process of the former machine is running any more.
    connection.execute(delete(replicas))
    connection.execute(update(webhook_states).values(lease_owner="", lease_until=0))
    return [f"The settings are those of revision {former}; their revision is {number} now."]
