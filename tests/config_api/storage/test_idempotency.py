"""Idempotency-Key of requests that create no object: queue actions, rollback, import."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from services.config_api.storage import idempotency, tables
from tests.config_api.peers import FakeRelay, peers
from tests.config_api.service import ANY_VERSION, START_SECONDS, Service, running, writing

KEY = {"Idempotency-Key": "once"}
Operated = tuple[Service, FakeRelay]


@pytest.fixture
async def operated(begun_url: str, begun: Path, resolver: str) -> AsyncIterator[Operated]:
    async with (
        peers() as (_, fake_relay, targets),
        running(begun_url, begun, nameservers=resolver, **targets) as service,
    ):
        yield service, fake_relay


async def test_a_request_with_two_idempotency_keys_is_refused(on_sqlite: Service) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = await on_sqlite.api.post("/v1/accounts", json={"login": "a"}, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "twice")
    assert (await on_sqlite.get("/v1/accounts"))["items"] == []


async def test_an_action_is_done_once(operated: Operated) -> None:
    service, relay = operated
    resume = "/v1/queue/destinations/relay:smart.example:587:resume"
    calls: list[tuple[str, dict[str, Any] | None]] = [
        ("/v1/queue/messages/q1:retry", None),
        ("/v1/queue/messages:hold", {"filter": {"destination": "domain:c.example"}}),
        ("/v1/queue/destinations/domain:c.example:suspend", {}),
        (resume, None),
    ]
    for number, (path, body) in enumerate(calls):
        headers = {"Idempotency-Key": f"key-{number}"}
        first = await service.api.post(path, json=body, headers=headers)
        asked = len(relay.asked)
        again = await service.api.post(path, json=body, headers=headers)
        assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json()), again.text
        assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
        assert again.headers["content-type"] == first.headers["content-type"]
        assert len(relay.asked) == asked
        other = await service.api.post("/v1/queue/messages/q2:retry", headers=headers)
        assert (other.status_code, other.json()["errors"][0]["code"]) == (409, "key_reused")
        assert len(relay.asked) == asked
    # The audit log has one entry for each action that was really done, and none for a repeated answer.
    assert len((await service.get("/v1/audit-log?action=resumeDestination"))["items"]) == 1
    # A key that one kind of request has used cannot be used by another kind.
    taken = await service.api.post("/v1/accounts", json={"login": "a"}, headers={"Idempotency-Key": "key-0"})
    assert (taken.status_code, taken.json()["errors"][0]["code"]) == (409, "key_reused")


async def test_a_dry_run_uses_no_key(operated: Operated) -> None:
    service, relay = operated
    body = {"filter": {"destination": "domain:c.example"}}
    await service.api.post("/v1/queue/messages:hold?dry_run=true", json=body, headers=KEY)
    asked = len(relay.asked)
    done = await service.api.post("/v1/queue/messages:hold", json=body, headers=KEY)
    assert (done.status_code, len(relay.asked)) == (200, asked + 1)


async def test_a_failed_action_can_be_repeated_with_its_key(operated: Operated) -> None:
    service, _ = operated
    for _ in range(2):
        failed = await service.api.post("/v1/queue/destinations/domain:x.example:resume", headers=KEY)
        assert (failed.status_code, failed.json()["type"]) == (409, "urn:posthouse:problem:nothing-done")
        assert "errors" not in failed.json()


async def test_the_repetition_of_a_running_request_is_refused(operated: Operated) -> None:
    service, relay = operated
    relay.go_on.clear()

    async def post() -> httpx.Response:
        return await service.api.post("/v1/queue/destinations/domain:c.example:suspend", json={}, headers=KEY)

    first = asyncio.create_task(post())
    async with asyncio.timeout(START_SECONDS):
        await relay.suspending.wait()
    second = await post()
    assert (second.status_code, second.json()["type"]) == (409, "urn:posthouse:problem:in-progress")
    assert second.headers["retry-after"]
    relay.go_on.set()
    assert (await first).status_code == 200
    assert (await post()).headers["idempotency-replayed"] == "true"
    assert len(relay.asked) == 1


async def test_the_key_of_a_request_that_a_crash_ended_can_be_used_again(operated: Operated) -> None:
    service, _ = operated
    path = "/v1/queue/messages/q1:retry"
    await service.api.post(path, headers=KEY)
    async with writing(service) as connection:
        await connection.execute(update(tables.idempotency).values(status=idempotency._BEGUN))
    assert (await service.api.post(path, headers=KEY)).status_code == 409
    async with writing(service) as connection:
        began = (await connection.execute(select(tables.idempotency.c.created_at))).scalar_one()
        await connection.execute(update(tables.idempotency).values(created_at=began - idempotency._ABANDONED_US))
    done = await service.api.post(path, headers=KEY)
    assert (done.status_code, "idempotency-replayed" in done.headers) == (200, False)


async def test_a_rollback_is_done_once(service: Service) -> None:
    point = (await service.get("/v1/revisions?limit=1"))["items"][0]["number"]
    await service.make("trusted-networks", {"name": "office", "networks": ["192.0.2.0/24"]})
    path = f"/v1/revisions/{point}:rollback"
    dry = await service.api.post(f"{path}?dry_run=true", headers=KEY)
    first = await service.api.post(path, headers={**KEY, **ANY_VERSION})
    assert first.json() == {"revision": point + 2, "changes": dry.json()["changes"]}
    await service.make("trusted-networks", {"name": "office", "networks": ["192.0.2.0/24"]})
    again = await service.api.post(path, headers={**KEY, **ANY_VERSION})
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    assert len((await service.get("/v1/trusted-networks"))["items"]) == 1


async def test_an_import_is_made_once(service: Service) -> None:
    document = await service.get("/v1/config:export")
    document["trusted_networks"] = [{"name": "office", "networks": ["192.0.2.0/24"]}]
    first = await service.api.post("/v1/config:import", json=document, headers={**KEY, **ANY_VERSION})
    assert first.json()["made"] == 1
    [found] = (await service.get("/v1/trusted-networks"))["items"]
    await service.api.delete(f"/v1/trusted-networks/{found['id']}", headers={"If-Match": "*"})
    again = await service.api.post("/v1/config:import", json=document, headers={**KEY, **ANY_VERSION})
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    assert (await service.get("/v1/trusted-networks"))["items"] == []


async def test_an_idempotency_key_belongs_to_one_caller(service: Service) -> None:
    other = (await service.make("api-keys", {"name": "other", "role": "admin"}))["key"]
    body = {"name": "office", "networks": ["192.0.2.0/24"]}
    await service.api.post("/v1/trusted-networks", json=body, headers=KEY)
    mine = await service.api.post(
        "/v1/trusted-networks", json=body, headers={**KEY, "Authorization": f"Bearer {other}"}
    )
    # This request does not get the first one's answer, but finds that the name is taken.
    assert (mine.status_code, mine.json()["errors"][0]["code"]) == (409, "taken")


@pytest.mark.parametrize("key", ["", "with blank", "x" * 256])
async def test_invalid_idempotency_keys_are_refused(on_sqlite: Service, key: str) -> None:
    answer = await on_sqlite.api.post("/v1/accounts", json={"login": "a"}, headers={"Idempotency-Key": key})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["location"] == "header"
