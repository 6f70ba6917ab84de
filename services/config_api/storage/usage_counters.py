"""Stores the hits of access rules and the last use of API keys. Policy and the API collect these in memory, and this
module adds them to the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from services.config_api.storage.database import Database
from services.config_api.storage.identifiers import now_us
from services.config_api.storage.tables import documents, hit_reports, idempotency, key_uses, rule_hits

_IN_LIMIT = 500
_KEPT_US = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Hits:
    """The hits of one rule since the last report. `last_hit_at` is in microseconds since 1970."""

    rule_id: str
    hits: int
    last_hit_at: int | None


class HitStore:
    """Adds reports about hits. A report that arrives twice within a day is counted once, even at different replicas."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = sqlite.insert if database.is_sqlite else postgresql.insert

    async def add(self, report_id: str, hits: Sequence[Hits]) -> None:
        async with self._database.writing() as connection:
            report = self._insert(hit_reports).values(report_id=report_id, created_at=now_us())
            if (await connection.execute(report.on_conflict_do_nothing())).rowcount == 0:
                return
            merged = _merged(hits)
            ids = sorted(merged)
            for start in range(0, len(ids), _IN_LIMIT):
                known = select(documents.c.id).where(
                    documents.c.kind == "access-rules", documents.c.id.in_(ids[start : start + _IN_LIMIT])
                )
                # The rules are sorted by their ids, so that two reports cannot cause a deadlock.
                rows = [
                    {"rule_id": rule_id, "hits": merged[rule_id].hits, "last_hit_at": merged[rule_id].last_hit_at}
                    for rule_id in sorted((await connection.execute(known)).scalars())
                ]
                if not rows:
                    continue
                added = self._insert(rule_hits)
                largest = func.max if self._database.is_sqlite else func.greatest
                await connection.execute(
                    added.on_conflict_do_update(
                        index_elements=["rule_id"],
                        set_={
                            "hits": rule_hits.c.hits + added.excluded.hits,
                            "last_hit_at": largest(
                                func.coalesce(rule_hits.c.last_hit_at, 0), func.coalesce(added.excluded.last_hit_at, 0)
                            ),
                        },
                    ),
                    rows,
                )

    async def record_uses(self, uses: Mapping[str, int]) -> None:
        """Stores the time of the last use (microseconds since 1970) of API keys, by id."""
        if not uses:
            return
        async with self._database.writing() as connection:
            added = self._insert(key_uses)
            await connection.execute(
                added.on_conflict_do_update(
                    index_elements=["key_id"], set_={"last_used_at": added.excluded.last_used_at}
                ),
                [{"key_id": key_id, "last_used_at": uses[key_id]} for key_id in sorted(uses)],
            )

    async def forget_old(self) -> None:
        """Removes ids of reports, and stored answers, that are older than a day."""
        before = now_us() - _KEPT_US
        async with self._database.writing() as connection:
            await connection.execute(delete(hit_reports).where(hit_reports.c.created_at < before))
            await connection.execute(delete(idempotency).where(idempotency.c.created_at < before))


def _merged(hits: Sequence[Hits]) -> dict[str, Hits]:
    merged: dict[str, Hits] = {}
    for entry in hits:
        known = merged.get(entry.rule_id)
        if known is not None:
            last = max(known.last_hit_at or 0, entry.last_hit_at or 0) or None
            entry = Hits(entry.rule_id, known.hits + entry.hits, last)  # noqa: PLW2901 - the sum takes its place
        merged[entry.rule_id] = entry
    return merged
