"""Adds a table for listed recipients, and moves the lists of relay domains there.

Revision ID: 0005
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from typing import Any

import sqlalchemy as sa
from alembic import op

from libs.smtp.address import parse_address
from libs.smtp.address_set import bucket_of
from services.config_api.migrations.older_defaults import with_named_recipients

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_DOCUMENTS = sa.table(
    "documents",
    *map(sa.column, ("kind", "id", "body", "version", "created_at", "updated_at")),
)
_CHANGES = sa.table("changes", *map(sa.column, ("revision", "kind", "document_id", "before", "after")))
_KIND = "relay-domains"
_ROWS = 1000


def upgrade() -> None:
    recipients = op.create_table(
        "recipients",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(1024), nullable=False),
        sa.Column("domain", sa.String(255), nullable=False),
        sa.Column("bucket", sa.Integer, nullable=False),
        sa.Column("address", sa.String(1024), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_index("recipients_by_key", "recipients", ["key"], unique=True)
    op.create_index("recipients_by_domain", "recipients", ["domain", "id"])
    op.create_index("recipients_by_bucket", "recipients", ["bucket", "key"])
    op.create_table(
        "recipient_changes",
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("buckets", sa.LargeBinary, nullable=False),
    )
    _move_lists(op.get_bind(), recipients)


def _move_lists(connection: sa.Connection, recipients: sa.Table) -> None:
    """Moves the lists of relay domains. Before this migration, `recipients` of a relay domain was a list of addresses,
    and an empty list stood for any address. Now `recipients` names the source that says which addresses exist.
    """
    now = time.time_ns() // 1000
    rows: dict[str, dict[str, Any]] = {}
    for stored in connection.execute(sa.select(_DOCUMENTS).where(_DOCUMENTS.c.kind == _KIND)).all():
        for address in json.loads(stored.body).get("recipients") or ():
            key = parse_address(address).local_key()
            rows.setdefault(
                key,
                {
                    # Random ids suffice, because all recipients get the same time, so their order has no meaning.
                    "id": str(uuid.uuid4()),
                    "key": key,
                    "domain": key.rpartition("@")[2],
                    "bucket": bucket_of(key.encode()),
                    "address": address,
                    "version": stored.version,
                    "created_at": now,
                    "updated_at": now,
                },
            )
        is_stored = sa.and_(_DOCUMENTS.c.kind == _KIND, _DOCUMENTS.c.id == stored.id)
        connection.execute(sa.update(_DOCUMENTS).where(is_stored).values(body=_rewritten(stored.body)))
    moved = list(rows.values())
    for start in range(0, len(moved), _ROWS):
        connection.execute(sa.insert(recipients), moved[start : start + _ROWS])
    if moved:
        _keep_summary(connection, rows, now)
    for change in connection.execute(sa.select(_CHANGES).where(_CHANGES.c.kind == _KIND)).all():
        where = (
            _CHANGES.c.revision == change.revision,
            _CHANGES.c.kind == _KIND,
            _CHANGES.c.document_id == change.document_id,
        )
        sides = {"before": _rewritten(change.before), "after": _rewritten(change.after)}
        connection.execute(sa.update(_CHANGES).where(*where).values(**sides))


def _keep_summary(connection: sa.Connection, keys: dict[str, Any], now: int) -> None:
    """Stores the number of recipients and the digest of the list, in the form of `storage/recipients.py`."""
    digest = sum(int.from_bytes(hashlib.sha256(key.encode()).digest(), "big") for key in keys) % (1 << 256)
    body = json.dumps({"count": len(keys), "digest": f"{digest:064x}"}, separators=(",", ":"))
    row = {"kind": "internal/recipients", "id": "recipients", "body": body, "version": 0}
    connection.execute(sa.insert(_DOCUMENTS).values(**row, created_at=now, updated_at=now))


def _rewritten(text: str | None) -> str | None:
    if text is None:
        return None
    return json.dumps(with_named_recipients(json.loads(text)), ensure_ascii=False, separators=(",", ":"))
