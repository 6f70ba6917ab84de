"""The audit log and revisions know a key by its id; answers that are kept belong to an id.

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
    # Answers of the day before belong to names, which may have changed hands, and some hold a key.
    op.execute("DELETE FROM idempotency")
