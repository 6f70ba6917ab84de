"""Entries of the audit log that no revision writes: refused calls, and what operators did to queue and blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, insert, select

from services.config_api.storage.database import Database
from services.config_api.storage.identifiers import Identifiers, first_id
from services.config_api.storage.revision import Actor, audit_row
from services.config_api.storage.tables import audit_log

_TARGET_LIMIT = 300
_BATCH = 500
# An entry's id and its time are made so far apart at most.
_ID_US = 60 * 1_000_000


class AuditLog:
    """Adds and lists entries."""

    def __init__(self, database: Database, identifiers: Identifiers) -> None:
        self._database = database
        self._identifiers = identifiers

    async def add(self, actor: Actor, action: str, target: str, status: int, problem: str) -> None:
        row = audit_row(self._identifiers.new(), actor, action, target[:_TARGET_LIMIT], status, problem, None)
        async with self._database.writing() as connection:
            await connection.execute(insert(audit_log).values(row))

    async def page(
        self, filters: Mapping[str, str | int], since: int | None, until: int | None, before: str | None, limit: int
    ) -> Sequence[Row[Any]]:
        """Newest first, those before the id given; times in microseconds since 1970."""
        conditions: list[ColumnElement[bool]] = [audit_log.c[name] == value for name, value in filters.items()]
        # The database finds the entries by their ids, which are made at nearly the same time.
        if since is not None:
            conditions += [audit_log.c.at >= since, audit_log.c.id >= first_id(since - _ID_US)]
        if until is not None:
            conditions += [audit_log.c.at < until, audit_log.c.id < first_id(until + _ID_US)]
        if before is not None:
            conditions.append(audit_log.c.id < before)
        query = select(audit_log).where(*conditions).order_by(audit_log.c.id.desc()).limit(limit)
        async with self._database.reading() as connection:
            return (await connection.execute(query)).all()

    async def forget(self, before: int) -> int:
        """Drops entries of before this time, some at a time so that nobody waits long; how many."""
        count = 0
        while True:
            old = select(audit_log.c.id).where(audit_log.c.id < first_id(before)).order_by(audit_log.c.id).limit(_BATCH)
            async with self._database.writing() as connection:
                ids = list((await connection.execute(old)).scalars())
                await connection.execute(delete(audit_log).where(audit_log.c.id.in_(ids)))
            count += len(ids)
            if len(ids) < _BATCH:
                return count
