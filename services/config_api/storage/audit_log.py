"""Entries of the audit log that no revision writes: refused calls, and what operators did to queue and blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, insert, select

from services.config_api.storage.database import Database
from services.config_api.storage.identifiers import Identifiers
from services.config_api.storage.revision import Actor, audit_row
from services.config_api.storage.tables import audit_log

_TARGET_LIMIT = 300


class AuditLog:
    """Adds and lists entries."""

    def __init__(self, database: Database, identifiers: Identifiers) -> None:
        self._database = database
        self._identifiers = identifiers

    async def add(self, actor: Actor, action: str, target: str, status: int, problem: str) -> None:
        row = audit_row(self._identifiers.new(), actor, action, target[:_TARGET_LIMIT], status, problem, None)
        async with self._database.writing() as connection:
            await connection.execute(insert(audit_log).values(row))

    async def page(self, filters: Mapping[str, str | int], before: str | None, limit: int) -> Sequence[Row[Any]]:
        """Newest first, those before the id given."""
        conditions: list[ColumnElement[bool]] = [audit_log.c[name] == value for name, value in filters.items()]
        if before is not None:
            conditions.append(audit_log.c.id < before)
        query = select(audit_log).where(*conditions).order_by(audit_log.c.id.desc()).limit(limit)
        async with self._database.reading() as connection:
            return (await connection.execute(query)).all()
