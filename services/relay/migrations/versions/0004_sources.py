"""Adds the source that each waiting message counts against, so that the mail of one sender does not delay that of
others to the same destination.

Mail that was stored before has the empty source, so all of it counts as one source. Rows of `waiting_sources` are added
when a destination is checked (queue/claiming.py), which also covers mail that an older release stores while this
release runs.

Revision ID: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_IS_WAITING = "lease_owner IS NULL AND state <= 3"


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("source", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "waiting_sources",
        sa.Column("destination", sa.Text, primary_key=True),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("wake_at", sa.BigInteger, nullable=False),
    )
    op.create_index("waiting_sources_wake", "waiting_sources", ["destination", "wake_at"])
    op.create_index("waiting_sources_source", "waiting_sources", ["source", "wake_at"])
    # The new index serves every query for which the index by destination and due time was made.
    op.drop_index("deliveries_waiting", "deliveries")
    op.create_index(
        "deliveries_waiting_of_source",
        "deliveries",
        ["destination", "source", "due_at"],
        sqlite_where=sa.text(_IS_WAITING),
        postgresql_where=sa.text(_IS_WAITING),
    )
