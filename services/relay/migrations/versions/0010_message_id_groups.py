"""Changes the keys of Message-IDs. They begin with the group of the message's number, and no longer with the hour in
which the message arrived.

Revision ID: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        sa.text(
            "UPDATE messages SET message_id_key = ((id >> 10) % 2147483648 << 32) | (message_id_key & 4294967295)"
            " WHERE message_id_key IS NOT NULL"
        )
    )
