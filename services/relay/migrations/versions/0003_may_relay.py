"""Adds whether a message's session may send to any domain, so that the message may be signed. NULL means that this is
not known, and counts as no.

Revision ID: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("messages", sa.Column("may_relay", sa.Boolean))
