"""Adds the stored answers to requests, the hit counters of access rules, and the last use of API keys.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "idempotency",
        sa.Column("actor", sa.String(200), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary(32), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("idempotency_by_age", "idempotency", ["created_at"])
    op.create_table(
        "rule_hits",
        sa.Column("rule_id", sa.String(64), primary_key=True),
        sa.Column("hits", sa.BigInteger, nullable=False),
        sa.Column("last_hit_at", sa.BigInteger),
    )
    op.create_table(
        "hit_reports",
        sa.Column("report_id", sa.String(128), primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("hit_reports_by_age", "hit_reports", ["created_at"])
    op.create_table(
        "key_uses",
        sa.Column("key_id", sa.String(64), primary_key=True),
        sa.Column("last_used_at", sa.BigInteger, nullable=False),
    )
