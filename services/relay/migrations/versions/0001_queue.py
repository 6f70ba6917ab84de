"""Makes the first tables of the queue.

Revision ID: 0001
"""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_IDENTIFIER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _messages()
    _deliveries()
    _others()


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", _IDENTIFIER, primary_key=True, autoincrement=False),
        sa.Column("submission_id", sa.String(64)),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        sa.Column("sender", sa.LargeBinary, nullable=False),
        sa.Column("sender_domain", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("stored_at", sa.BigInteger, nullable=False),
        sa.Column("sweep_at", sa.BigInteger),
        sa.Column("delay_noticed", sa.Boolean, nullable=False),
        sa.Column("open", sa.Integer, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("ret", sa.String(8), nullable=False),
        sa.Column("envelope_id", sa.LargeBinary, nullable=False),
        sa.Column("smtputf8", sa.Boolean, nullable=False),
        sa.Column("body_8bitmime", sa.Boolean, nullable=False),
        sa.Column("quarantine", sa.Boolean, nullable=False),
        sa.Column("session_id", sa.String(64), nullable=False),
        sa.Column("client_address", sa.String(64), nullable=False),
        sa.Column("helo_name", sa.LargeBinary, nullable=False),
        sa.Column("account_login", sa.Text, nullable=False),
        sa.Column("listener", sa.String(16), nullable=False),
        sa.Column("tls", sa.Boolean, nullable=False),
        sa.Column("refusal", sa.Text),
    )
    op.create_index("messages_submission", "messages", ["submission_id"], unique=True)
    _partial_index("messages_queued", "messages", ["stored_at", "id"], "open > 0")
    _partial_index("messages_sweep", "messages", ["sweep_at"], "open > 0")
    _partial_index("messages_finished", "messages", ["finished_at", "id"], "finished_at IS NOT NULL")
    op.create_table(
        "contents",
        sa.Column("message_id", _IDENTIFIER, primary_key=True, autoincrement=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Compression would save little space for its time, and mail is read only once.
        op.execute("ALTER TABLE contents ALTER COLUMN content SET STORAGE EXTERNAL")


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", _IDENTIFIER, primary_key=True, autoincrement=False),
        sa.Column("message_id", sa.BigInteger, nullable=False),
        sa.Column("recipient", sa.LargeBinary, nullable=False),
        sa.Column("recipient_domain", sa.Text, nullable=False),
        sa.Column("submitted_recipient", sa.LargeBinary, nullable=False),
        sa.Column("notify", sa.String(32), nullable=False),
        sa.Column("orcpt", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("lease_owner", sa.BigInteger),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("possible_duplicate", sa.Boolean, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("last_attempt", sa.Text),
        sa.Column("last_reply", sa.Text, nullable=False),
    )
    op.create_index("deliveries_message", "deliveries", ["message_id"])
    _partial_index("deliveries_waiting", "deliveries", ["destination", "due_at"], "lease_owner IS NULL AND state <= 3")
    _partial_index("deliveries_leased", "deliveries", ["lease_owner"], "lease_owner IS NOT NULL")
    op.create_table(
        "attempts",
        sa.Column("delivery_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("started_at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Text, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("id", _IDENTIFIER, primary_key=True, autoincrement=False),
        sa.Column("message_id", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("recipient", sa.LargeBinary, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
    )
    op.create_index("events_message", "events", ["message_id"])


def _others() -> None:
    op.create_table(
        "destinations",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("wake_at", sa.BigInteger),
        sa.Column("suspended_until", sa.BigInteger),
        sa.Column("suspended_by", sa.Text, nullable=False),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("last_error_at", sa.BigInteger),
    )
    _partial_index("destinations_wake", "destinations", ["wake_at"], "wake_at IS NOT NULL")
    op.create_table(
        "workers",
        sa.Column("id", _IDENTIFIER, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
        sa.Column("renewed_at", sa.BigInteger, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
    )
    identifiers = op.create_table(
        "identifiers",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("next", sa.BigInteger, nullable=False),
    )
    # The first identifier is made from the clock, so that a new database repeats no identifier of a former one.
    op.bulk_insert(identifiers, [{"id": 1, "next": int(time.time()) << 20}])


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
