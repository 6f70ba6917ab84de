"""Sets `quarantine` to mailbox if a local domain has a quarantine mailbox, because quarantined mail went to this
mailbox before the setting existed.

Revision ID: 0008
"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_DOCUMENTS = sa.table("documents", sa.column("kind"), sa.column("id"), sa.column("body"))


def upgrade() -> None:
    connection = op.get_bind()
    domains = connection.execute(sa.select(_DOCUMENTS.c.body).where(_DOCUMENTS.c.kind == "local-domains")).scalars()
    if not any(json.loads(body).get("quarantine_mailbox") for body in domains):
        return
    of_checks = _DOCUMENTS.c.kind == "settings/content-checks"
    for row in connection.execute(sa.select(_DOCUMENTS).where(of_checks)).all():
        text = json.dumps({**json.loads(row.body), "quarantine": "mailbox"}, ensure_ascii=False, separators=(",", ":"))
        connection.execute(sa.update(_DOCUMENTS).where(of_checks, _DOCUMENTS.c.id == row.id).values(body=text))
