"""Makes the first tables: documents, the values that must be unique in them, revisions, and the audit log.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    heads = op.create_table(
        "head",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(heads, [{"id": 1, "revision": 0}])
    op.create_table(
        "documents",
        sa.Column("kind", sa.String(64), primary_key=True),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "unique_keys",
        sa.Column("scope", sa.String(64), primary_key=True),
        sa.Column("value", sa.String(1024), primary_key=True),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("document_id", sa.String(64), nullable=False),
    )
    op.create_index("unique_keys_by_document", "unique_keys", ["kind", "document_id"])
    op.create_table(
        "terms",
        sa.Column("kind", sa.String(64), primary_key=True),
        sa.Column("field", sa.String(64), primary_key=True),
        sa.Column("value", sa.String(1024), primary_key=True),
        sa.Column("document_id", sa.String(64), primary_key=True),
    )
    op.create_index("terms_by_document", "terms", ["kind", "document_id"])
    op.create_table(
        "revisions",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("summary", sa.String(500), nullable=False),
    )
    op.create_table(
        "changes",
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(64), primary_key=True),
        sa.Column("document_id", sa.String(64), primary_key=True),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
    )
    op.create_index("changes_by_document", "changes", ["kind", "document_id", "revision"])
    op.create_table(
        "audit_log",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("client_address", sa.String(64), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("target", sa.String(300), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("problem", sa.String(64), nullable=False),
        sa.Column("revision", sa.BigInteger),
        sa.Column("request_id", sa.String(64), nullable=False),
    )
    op.create_index("audit_log_by_actor", "audit_log", ["actor", "id"])
    op.create_index("audit_log_by_action", "audit_log", ["action", "id"])
