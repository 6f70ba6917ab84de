"""The stored state of webhooks: leases, cursors, and the last attempts to deliver."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, func, literal_column, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from services.config_api.storage.database import Database
from services.config_api.storage.identifiers import now_us
from services.config_api.storage.tables import webhook_deliveries, webhook_states

LEASE_SECONDS = 30.0
# The number of deliveries that are stored for each webhook. Older deliveries are removed.
DELIVERIES_KEPT = 200
_LEASE_US = int(LEASE_SECONDS * 1_000_000)


@dataclass(frozen=True, slots=True)
class Progress:
    """The position of a webhook. `failing_since` is the time from which the failures of its oldest event count, in
    microseconds since 1970, or None.
    """

    cursor: str
    failing_since: int | None


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """The last attempt to deliver one event. `last_attempt_at` is in microseconds since 1970."""

    event_id: str
    event: str
    queue_id: str
    delivered: bool
    attempts: int
    last_attempt_at: int
    http_status: int | None
    error: str
    took_us: int


class WebhookStates:
    """Stores the states of webhooks. Each process has one object, which leases webhooks under the name `owner`."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner
        self._insert = sqlite.insert if database.is_sqlite else postgresql.insert
        # All replicas must use one clock, that of the database. With SQLite there is only one replica.
        self._now: ColumnElement[int] = literal_column(
            "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"
            if database.is_sqlite
            else "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"
        )

    async def known(self) -> set[str]:
        """Returns the ids of the webhooks that have a state."""
        async with self._database.reading() as connection:
            return set((await connection.execute(select(webhook_states.c.webhook_id))).scalars())

    async def begin(self, webhook_id: str, cursor: str) -> None:
        """Stores the cursor after which a new webhook begins, unless another replica has already done so."""
        row = self._insert(webhook_states).values(
            webhook_id=webhook_id, cursor=cursor, failing_since=None, lease_owner="", lease_until=0
        )
        async with self._database.writing() as connection:
            await connection.execute(row.on_conflict_do_nothing())

    async def take(self, webhook_ids: Collection[str]) -> dict[str, Progress]:
        """Leases those of the webhooks that no replica has leased. Returns the position of each leased webhook."""
        if not webhook_ids:
            return {}
        # With SQLite, the owner of another lease no longer exists, because only one process can use the file.
        free = or_(
            webhook_states.c.lease_until < self._now,
            webhook_states.c.lease_owner == self._owner,
            *([webhook_states.c.lease_owner != self._owner] if self._database.is_sqlite else []),
        )
        statement = (
            update(webhook_states)
            .where(webhook_states.c.webhook_id.in_(list(webhook_ids)), free)
            .values(lease_owner=self._owner, lease_until=self._now + _LEASE_US)
            .returning(webhook_states)
        )
        async with self._database.writing() as connection:
            rows = (await connection.execute(statement)).all()
        return {row.webhook_id: Progress(row.cursor, row.failing_since) for row in rows}

    async def renew(self, webhook_ids: Collection[str]) -> set[str]:
        """Renews leases. Returns the ids of the webhooks whose lease was renewed. The leases of the others have expired
        or belong to another replica, or the webhooks were removed.
        """
        if not webhook_ids:
            return set()
        statement = (
            update(webhook_states)
            .where(webhook_states.c.webhook_id.in_(list(webhook_ids)), self._is_mine())
            .values(lease_until=self._now + _LEASE_US)
            .returning(webhook_states.c.webhook_id)
        )
        async with self._database.writing() as connection:
            return set((await connection.execute(statement)).scalars())

    async def give_back(self, webhook_ids: Collection[str]) -> None:
        """Ends leases, so that another replica does not have to wait until they expire."""
        statement = (
            update(webhook_states)
            .where(webhook_states.c.webhook_id.in_(list(webhook_ids)), self._is_mine())
            .values(lease_owner="", lease_until=0)
        )
        async with self._database.writing() as connection:
            await connection.execute(statement)

    async def record(self, webhook_id: str, progress: Progress, deliveries: Sequence[DeliveryRecord]) -> bool:
        """Stores the position of the webhook, and its last attempts. When this replica no longer has the lease, stores
        nothing and returns False.
        """
        async with self._database.writing() as connection:
            held = await connection.execute(
                update(webhook_states)
                .where(webhook_states.c.webhook_id == webhook_id, self._is_mine())
                .values(cursor=progress.cursor, failing_since=progress.failing_since)
            )
            if held.rowcount != 1:
                return False
            await self._add(connection, webhook_id, deliveries)
        return True

    async def record_one(self, webhook_id: str, delivery: DeliveryRecord) -> None:
        """Stores an attempt that a client asked for."""
        async with self._database.writing() as connection:
            await self._add(connection, webhook_id, [delivery])

    async def forget(self, webhook_ids: Collection[str]) -> None:
        """Removes the states of webhooks that were removed."""
        async with self._database.writing() as connection:
            for table in (webhook_deliveries, webhook_states):
                await connection.execute(delete(table).where(table.c.webhook_id.in_(list(webhook_ids))))

    async def progress(self, webhook_id: str) -> Progress | None:
        async with self._database.reading() as connection:
            query = select(webhook_states).where(webhook_states.c.webhook_id == webhook_id)
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Progress(row.cursor, row.failing_since)

    async def deliveries(self, webhook_id: str, before: tuple[int, str] | None, limit: int) -> Sequence[Row[Any]]:
        """Returns deliveries whose last attempt was before a time and event id, the newest first."""
        at, event_id = webhook_deliveries.c.last_attempt_at, webhook_deliveries.c.event_id
        query = select(webhook_deliveries).where(webhook_deliveries.c.webhook_id == webhook_id)
        if before is not None:
            query = query.where(or_(at < before[0], and_(at == before[0], event_id < before[1])))
        async with self._database.reading() as connection:
            return (await connection.execute(query.order_by(at.desc(), event_id.desc()).limit(limit))).all()

    def _is_mine(self) -> ColumnElement[bool]:
        return and_(webhook_states.c.lease_owner == self._owner, webhook_states.c.lease_until >= self._now)

    async def _add(self, connection: AsyncConnection, webhook_id: str, records: Sequence[DeliveryRecord]) -> None:
        if not records:
            return
        added = self._insert(webhook_deliveries)
        replaced: dict[str, ColumnElement[Any]] = {
            name: added.excluded[name] for name in ("state", "last_attempt_at", "http_status", "error", "took_us")
        }
        # A record counts only the attempts since the event was last stored, so its number is added to the stored
        # number.
        replaced["attempts"] = webhook_deliveries.c.attempts + added.excluded.attempts
        await connection.execute(
            added.on_conflict_do_update(index_elements=["webhook_id", "event_id"], set_=replaced),
            [_row(webhook_id, each) for each in records],
        )
        at = webhook_deliveries.c.last_attempt_at
        of_webhook = webhook_deliveries.c.webhook_id == webhook_id
        oldest = select(at).where(of_webhook).order_by(at.desc()).offset(DELIVERIES_KEPT).limit(1).scalar_subquery()
        await connection.execute(delete(webhook_deliveries).where(of_webhook, at <= func.coalesce(oldest, 0)))


def _row(webhook_id: str, of: DeliveryRecord) -> dict[str, Any]:
    return {
        "webhook_id": webhook_id,
        "event_id": of.event_id,
        "event": of.event,
        "queue_id": of.queue_id,
        "state": "delivered" if of.delivered else "failing",
        "attempts": of.attempts,
        "last_attempt_at": of.last_attempt_at or now_us(),
        "http_status": of.http_status,
        "error": of.error[:200],
        "took_us": of.took_us,
    }
