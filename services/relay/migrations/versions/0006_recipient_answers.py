"""Adds the answers of mailbox servers about recipients, and the number of new recipients that each client has named in
a minute.

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
        "recipient_answers",
        sa.Column("recipient", sa.LargeBinary, primary_key=True),
        sa.Column("is_there", sa.Boolean, nullable=False),
        sa.Column("answered_at", sa.BigInteger, nullable=False),
        sa.Column("known_good_at", sa.BigInteger),
    )
    op.create_index("recipient_answers_by_age", "recipient_answers", ["answered_at"])
    op.create_table(
        "recipient_questions",
        sa.Column("client", sa.String(64), primary_key=True),
        sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("questions", sa.Integer, nullable=False),
    )
