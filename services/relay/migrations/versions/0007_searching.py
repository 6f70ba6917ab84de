"""Adds columns and indexes for searches by Message-ID and by time of arrival, the verdicts of sessions, and statistics.

Messages that were stored before, or by an older release that runs at the same time, have NULL in these columns.

Revision ID: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_HAS_MESSAGE_ID = "message_id_key IS NOT NULL"


def upgrade() -> None:
    op.add_column("messages", sa.Column("message_id", sa.Text))
    op.add_column("messages", sa.Column("message_id_key", sa.BigInteger))
    op.add_column("messages", sa.Column("subject", sa.Text))
    op.add_column("messages", sa.Column("verdicts", sa.Text))
    op.create_index(
        "messages_message_id",
        "messages",
        ["message_id_key"],
        sqlite_where=sa.text(_HAS_MESSAGE_ID),
        postgresql_where=sa.text(_HAS_MESSAGE_ID),
    )
    op.create_index("messages_received", "messages", ["received_at", "id"])
    op.create_table(
        "statistics",
        sa.Column("starts_at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("reason_id", sa.String(64), primary_key=True),
        sa.Column("rule_id", sa.String(64), primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
