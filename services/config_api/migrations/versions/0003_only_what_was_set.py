"""Keeps only the members that somebody set, so that all other members follow the current defaults.

Revision ID: 0003
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

from services.config_api.migrations.older_defaults import without_followed_tls, without_recipients_over_limit

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_DOCUMENTS = sa.table("documents", sa.column("kind"), sa.column("id"), sa.column("body"))
_CHANGES = sa.table(
    "changes",
    sa.column("revision"),
    sa.column("kind"),
    sa.column("document_id"),
    sa.column("before"),
    sa.column("after"),
)


def upgrade() -> None:
    connection = op.get_bind()
    for kind in ("settings/delivery", "relay-rules"):
        _rewrite_documents(connection, kind, without_followed_tls)
        for row in connection.execute(sa.select(_CHANGES).where(_CHANGES.c.kind == kind)).all():
            sides = {side: _rewritten(getattr(row, side), without_followed_tls) for side in ("before", "after")}
            _write_change(connection, row, sides)
    _general(connection)


def _general(connection: sa.Connection) -> None:
    """Removes `recipients_over_limit` from all revisions before the first revision that changed its value."""
    query = sa.select(_CHANGES).where(_CHANGES.c.kind == "settings/general").order_by(_CHANGES.c.revision)
    is_operators = False
    for row in connection.execute(query).all():
        sides = {"before": row.before, "after": row.after}
        if not is_operators:
            sides["before"] = _rewritten(row.before, without_recipients_over_limit)
            is_operators = row.before is not None and _over_limit(row.before) != _over_limit(row.after)
        if not is_operators:
            sides["after"] = _rewritten(row.after, without_recipients_over_limit)
        _write_change(connection, row, sides)
    if not is_operators:
        _rewrite_documents(connection, "settings/general", without_recipients_over_limit)


def _over_limit(text: str | None) -> Any:
    return None if text is None else json.loads(text)["profile"].get("recipients_over_limit")


def _rewrite_documents(connection: sa.Connection, kind: str, rewrite: Callable[[Any], Any]) -> None:
    for row in connection.execute(sa.select(_DOCUMENTS).where(_DOCUMENTS.c.kind == kind)).all():
        text = _rewritten(row.body, rewrite)
        if text != row.body:
            where = (_DOCUMENTS.c.kind == kind, _DOCUMENTS.c.id == row.id)
            connection.execute(sa.update(_DOCUMENTS).where(*where).values(body=text))


def _write_change(connection: sa.Connection, row: Any, sides: dict[str, str | None]) -> None:
    if (sides["before"], sides["after"]) == (row.before, row.after):
        return
    where = (
        _CHANGES.c.revision == row.revision,
        _CHANGES.c.kind == row.kind,
        _CHANGES.c.document_id == row.document_id,
    )
    connection.execute(sa.update(_CHANGES).where(*where).values(**sides))


def _rewritten(text: str | None, rewrite: Callable[[Any], Any]) -> str | None:
    if text is None:
        return None
    return json.dumps(rewrite(json.loads(text)), ensure_ascii=False, separators=(",", ":"))
