"""Adds the table of replicas that share the database, and indexes for new filters of the audit log and of lists.

Revision ID: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "replicas",
        sa.Column("holder", sa.String(200), primary_key=True),
        sa.Column("service", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("address", sa.String(300), nullable=False),
        sa.Column("transport", sa.String(32), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
    )
    op.create_index("audit_log_by_target", "audit_log", ["target", "id"])
    op.create_index("audit_log_by_request", "audit_log", ["request_id"])
    op.create_index("documents_by_update", "documents", ["kind", "updated_at"])
