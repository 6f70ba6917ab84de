"""Adds to each event the number of the change that caused it, so that readers can follow events in their order. Rows
that were stored before have no number, and are not events for readers. Row 2 of `identifiers` continues the numbering
after a restart (queue/change_numbers.py).

Revision ID: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_HAS_NUMBER = sa.text("change_number IS NOT NULL")
_IDENTIFIERS = {"messages": "id", "deliveries": "id", "attempts": "delivery_id", "events": "id"}


def upgrade() -> None:
    for table, identifier in _IDENTIFIERS.items():
        op.add_column(table, sa.Column("change_number", sa.BigInteger))
        op.create_index(
            f"{table}_changed",
            table,
            ["change_number", identifier],
            sqlite_where=_HAS_NUMBER,
            postgresql_where=_HAS_NUMBER,
        )
    identifiers = sa.table("identifiers", sa.column("id", sa.Integer), sa.column("next", sa.BigInteger))
    op.bulk_insert(identifiers, [{"id": 2, "next": 0}])
