"""Adds entries to the audit log that do not belong to a revision: refused calls, and actions that change no settings,
such as those on the queue. Lists and removes all entries.
"""

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
# The largest difference between the time in an entry's id and the time of the entry, in microseconds.
_ID_US = 60 * 1_000_000


class AuditLog:
    """Adds, lists and removes entries of the audit log."""

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
        """Returns entries before the given id, the newest first. Times are in microseconds since 1970."""
        conditions: list[ColumnElement[bool]] = [audit_log.c[name] == value for name, value in filters.items()]
        # The indexes contain ids and not times. So a range of ids is compared, too: the time in an id is nearly that of
        # the entry.
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
        """Removes entries that are older than this time (microseconds since 1970). Returns the number of removed
        entries. It works in small steps, so that other writers do not wait long.
        """
        count = 0
        while True:
            old = select(audit_log.c.id).where(audit_log.c.id < first_id(before)).order_by(audit_log.c.id).limit(_BATCH)
            async with self._database.writing() as connection:
                ids = list((await connection.execute(old)).scalars())
                await connection.execute(delete(audit_log).where(audit_log.c.id.in_(ids)))
            count += len(ids)
            if len(ids) < _BATCH:
                return count
