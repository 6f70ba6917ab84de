"""Adds tables for webhooks: the position of each webhook, the replica that serves it, and its last attempts.

Revision ID: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhook_states",
        sa.Column("webhook_id", sa.String(64), primary_key=True),
        sa.Column("cursor", sa.String(100), nullable=False),
        sa.Column("failing_since", sa.BigInteger),
        sa.Column("lease_owner", sa.String(64), nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("webhook_id", sa.String(64), primary_key=True),
        sa.Column("event_id", sa.String(100), primary_key=True),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("queue_id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_attempt_at", sa.BigInteger, nullable=False),
        sa.Column("http_status", sa.Integer),
        sa.Column("error", sa.String(200), nullable=False),
        sa.Column("took_us", sa.BigInteger, nullable=False),
    )
    op.create_index("webhook_deliveries_newest", "webhook_deliveries", ["webhook_id", "last_attempt_at", "event_id"])
