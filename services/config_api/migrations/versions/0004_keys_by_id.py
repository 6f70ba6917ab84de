"""Makes the audit log and revisions refer to API keys by id, and makes stored answers belong to the id of a key.

Revision ID: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit_log", sa.Column("actor_id", sa.String(64)))
    op.create_index("audit_log_by_actor_id", "audit_log", ["actor_id", "id"])
    op.add_column("revisions", sa.Column("actor_id", sa.String(64)))
    # The stored answers belong to names of keys. Another key may have such a name now, and some answers contain a key.
    # So all of them are removed.
    op.execute("DELETE FROM idempotency")
