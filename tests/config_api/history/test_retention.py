"""Revisions and the audit log are deleted after their retention. The rest can be shown, compared and rolled back to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update

from services.config_api.history.revisions.repository import RevisionRetention
from services.config_api.settings import Settings
from services.config_api.storage.audit_log import AuditLog
from services.config_api.storage.database import Database
from services.config_api.storage.identifiers import Identifiers, first_id, now_us
from services.config_api.storage.tables import audit_log, changes, revisions
from tests.config_api.service import ANY_VERSION, Service, writing

DAY_US = 24 * 3600 * 1_000_000


async def test_old_revisions_are_removed_except_the_newest(service: Service) -> None:
    for number in range(4):
        await service.make("trusted-networks", {"name": f"n{number}", "networks": ["192.0.2.0/24"]})
    numbers = [each["number"] for each in (await service.get("/v1/revisions"))["items"]]
    old = now_us() - 10 * DAY_US
    async with writing(service) as connection:
        await connection.execute(update(revisions).where(revisions.c.number < numbers[1]).values(created_at=old))
    database = Database(service.url)
    retention = RevisionRetention(database)
    assert await retention.forget(now_us() - 5 * DAY_US) == numbers[2]
    assert [each["number"] for each in (await service.get("/v1/revisions"))["items"]] == numbers[:2]
    async with database.reading() as connection:
        left = set((await connection.execute(select(changes.c.revision))).scalars())
    assert left == set(numbers[:2])
    assert (await service.api.get(f"/v1/revisions/{numbers[2]}")).status_code == 404
    path = f"/v1/revisions/{numbers[2]}:rollback"
    assert (await service.api.post(path, headers=ANY_VERSION)).status_code == 404
    back = await service.api.post(f"/v1/revisions/{numbers[1]}:rollback", headers=ANY_VERSION)
    assert (back.status_code, len(back.json()["changes"])) == (200, 1)
    # By this time all revisions are too old, but the newest one is always kept.
    await retention.forget(now_us() + DAY_US)
    assert len((await service.get("/v1/revisions"))["items"]) == 1
    assert len((await service.get("/v1/trusted-networks"))["items"]) == 3
    await database.close()


async def test_old_entries_of_the_audit_log_are_removed(service: Service) -> None:
    await service.make("trusted-networks", {"name": "n", "networks": ["192.0.2.0/24"]})
    database = Database(service.url)
    audit = AuditLog(database, Identifiers())
    before = len((await service.get("/v1/audit-log"))["items"])
    async with database.writing() as connection:
        rows = [dict(row._mapping) for row in await connection.execute(select(audit_log))]
        old = [
            {**rows[0], "id": first_id(now_us() - 10 * DAY_US)[:-4] + f"{number:04x}", "at": now_us() - 10 * DAY_US}
            for number in range(1200)
        ]
        await connection.execute(audit_log.insert(), old)
    assert await audit.forget(now_us() - 5 * DAY_US) == 1200
    assert len((await service.get("/v1/audit-log"))["items"]) == before
    await database.close()


def test_the_default_retention_is_a_year() -> None:
    assert (Settings.model_fields["revision_days"].default, Settings.model_fields["audit_days"].default) == (365, 365)


def test_the_id_for_a_time_is_not_higher_than_ids_made_after_it() -> None:
    at = int((datetime.now(UTC) - timedelta(seconds=1)).timestamp() * 1_000_000)
    assert first_id(at) < Identifiers().new() < first_id(at + 10_000_000)
