"""The answer to a write waits until the change is in force. The field Posthouse-In-Force says whether it is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.config_api.http import middleware
from services.config_api.snapshot.in_force import LOST_SECONDS, Watcher, Watchers
from tests.config_api.service import Service, running

IN_FORCE = "posthouse-in-force"
NETWORK = {"name": "office", "networks": ["192.0.2.0/24"]}


def post(service: Service, name: str = "office", **more: Any) -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(service.api.post("/v1/trusted-networks", json={**NETWORK, "name": name}, **more))


async def test_a_write_does_not_wait_when_no_replica_watches(service: Service) -> None:
    created = await post(service)
    assert (created.status_code, created.headers[IN_FORCE]) == (201, "true")
    assert IN_FORCE not in (await service.api.get("/v1/accounts")).headers


async def test_the_answer_waits_for_every_replica(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "IN_FORCE_SECONDS", 60.0)
    async with service.watch_policy("policy-1") as policy, service.watch_relay("relay-1") as relay:
        for watch in (policy, relay):
            await watch.next()
            await watch.put_in_force()
        request = post(service)
        for watch in (policy, relay):
            await watch.next()
            assert not request.done()
            await watch.put_in_force()
        answer = await request
        assert (answer.status_code, answer.headers[IN_FORCE]) == (201, "true")


async def test_every_kind_of_write_says_whether_it_is_in_force(service: Service) -> None:
    created = await post(service)
    path = created.headers["location"]
    match = {"If-Match": "*"}
    repeated = {"Idempotency-Key": "k"}
    export = (await service.api.get("/v1/config:export")).json()
    answers = [
        created,
        await service.api.put(path, json=NETWORK, headers=match),
        await service.api.patch(path, json={"enabled": False}, headers=match),
        await service.api.delete(path, headers=match),
        await service.api.post("/v1/config:import", json=export, headers=match),
        await service.api.post("/v1/revisions/1:rollback", headers={**match, **repeated}),
        await service.api.patch("/v1/settings/queue", json={"retention_days": 3}, headers=match),
        await service.api.post("/v1/api-keys", json={"name": "k", "role": "reader"}),
    ]
    assert [(answer.status_code < 300, answer.headers.get(IN_FORCE)) for answer in answers] == [(True, "true")] * 8


async def test_after_two_seconds_the_answer_names_the_replicas_that_are_behind(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert middleware.IN_FORCE_SECONDS == 2.0
    monkeypatch.setattr(middleware, "IN_FORCE_SECONDS", 0.05)
    async with service.watch_policy("policy-2") as policy, service.watch_relay("relay-1"):
        await policy.next()
        answer = await post(service)
        assert (answer.status_code, answer.headers[IN_FORCE]) == (201, "false; waiting=policy-2,relay-1")
        await policy.next()
        await policy.put_in_force()
        answer = await post(service, "other")
        # policy-2 has put only the revision before this one in force, and relay-1 none.
        assert answer.headers[IN_FORCE] == "false; waiting=policy-2,relay-1"
    # Both consumers have left the watch.
    assert (await post(service, "third")).headers[IN_FORCE] == "true"


@pytest.mark.parametrize("prefer", ["respond-async", "return=minimal, Respond-Async; x=1"])
async def test_a_request_that_prefers_respond_async_does_not_wait(
    service: Service, monkeypatch: pytest.MonkeyPatch, prefer: str
) -> None:
    monkeypatch.setattr(middleware, "IN_FORCE_SECONDS", 3600.0)
    async with service.watch_policy("policy-2") as policy:
        await policy.next()
        answer = await post(service, headers={"Prefer": prefer})
        assert (answer.status_code, answer.headers[IN_FORCE]) == (201, "false; waiting=policy-2")
        assert answer.headers["preference-applied"] == "respond-async"


async def test_a_write_that_waits_does_not_count_among_the_requests_of_its_key(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten writes wait at the same time, while a key may have only eight requests handled at the same time."""
    monkeypatch.setattr(middleware, "IN_FORCE_SECONDS", 3600.0)
    async with service.watch_policy("policy-1") as policy:
        await policy.next()
        writes = [post(service, f"n{number}") for number in range(10)]
        begun = policy.revision
        while policy.revision < begun + 10:
            await policy.next()
        assert (await service.api.get("/v1/accounts")).status_code == 200
        assert not any(write.done() for write in writes)
        await policy.put_in_force()
        assert {answer.headers[IN_FORCE] for answer in await asyncio.gather(*writes)} == {"true"}


async def test_writes_still_wait_for_a_replica_whose_watch_was_lost_a_short_time_ago() -> None:
    now = 1000.0
    watchers = Watchers(clock=lambda: now)
    lost, left = Watcher("policy-1", "policy", 3), Watcher("policy-2", "policy", 3)
    for watcher in (lost, left):
        watchers.add(watcher)
    left.has_left = True
    for watcher in (lost, left):
        watchers.remove(watcher)
    assert list(watchers.behind(4)) == ["policy-1"]
    assert list(watchers.behind(3)) == []
    back = Watcher("policy-1", "policy", 4)
    watchers.add(back)
    assert list(watchers.behind(4)) == []
    watchers.remove(back)
    now += LOST_SECONDS
    assert list(watchers.behind(5)) == []


async def test_writes_wait_for_a_replica_that_watched_before_the_restart(begun: Path, resolver: str) -> None:
    """config_api knows the replica by its socket. Until the replica is back, it may decide by an old revision."""
    now = 1000.0
    watchers = Watchers([Watcher("policy-2", "policy")], lambda: now)
    assert list(watchers.behind(1)) == ["policy-2"]
    watchers.add(Watcher("policy-2", "policy", 5))
    assert list(watchers.behind(5)) == []
    targets = {"policy_target": f"unix:{begun / 'policy-2.sock'}", "relay_target": f"unix:{begun / 'relay.sock'}"}
    url = f"sqlite:///{begun / 'config.sqlite3'}"
    async with running(url, begun, nameservers=resolver, **targets) as service:
        answer = await post(service, headers={"Prefer": "respond-async"})
        assert answer.headers[IN_FORCE] == "false; waiting=policy-2,relay"
        async with service.watch_policy("policy-2") as policy, service.watch_relay("relay") as relay:
            for watch in (policy, relay):
                await watch.next()
                await watch.put_in_force()
            answer = await post(service, "other", headers={"Prefer": "respond-async"})
            for watch in (policy, relay):
                await watch.next()
                await watch.put_in_force()
        assert (await post(service, "third")).headers[IN_FORCE] == "true"


async def test_a_wait_ends_when_the_last_replica_that_is_behind_leaves() -> None:
    watchers = Watchers()
    one, other = Watcher("policy-1", "policy"), Watcher("relay-1", "relay")
    for watcher in (one, other):
        watchers.add(watcher)
    waiting = asyncio.create_task(watchers.wait(7, 3600))
    watchers.advance(one, 9)
    await asyncio.sleep(0)
    assert not waiting.done()
    other.has_left = True
    watchers.remove(other)
    assert list(await waiting) == []
