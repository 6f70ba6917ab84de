"""Blocked clients: which are listed, what the metric counts, and what survives a restart."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import grpc
import pytest
from posthouse.policy.v1 import policy_pb2
from prometheus_client import REGISTRY

from services.policy.blocked_clients import count_blocked
from services.policy.state.block_file import BlockFile
from services.policy.state.memory import MemoryStore
from services.policy.state.redis import RedisStore
from services.policy.state.store import Blocked
from tests.peers.redis import Redis
from tests.policy.requests import connect, rcpt, replied, request
from tests.policy.serving import Policy, serving
from tests.policy.state.test_store import NOW, apply, naming
from tests.policy.world import STRANGER, STRANGER_V6, snapshot

LIMIT = {"advanced_security": {"max_unknown_recipients_per_day": 1}}


def shown() -> float | None:
    return REGISTRY.get_sample_value("posthouse_policy_blocked_clients")


async def listed(policy: Policy, **page: Any) -> list[str]:
    response = await policy.stub.ListBlockedClients(policy_pb2.ListBlockedClientsRequest(**page))
    return [client.client for client in response.clients]


async def test_only_blocks_in_effect_are_listed_and_counted() -> None:
    """F33: a block has no effect while the limit is off, nor when its client has become exempt."""
    async with serving(snapshot(LIMIT), clock=lambda: NOW) as policy:
        for client in (STRANGER, "192.0.2.11", "192.0.2.12", STRANGER_V6):
            await policy.decide(rcpt("ghost@local.test", client=client))
        everybody = [STRANGER, "192.0.2.11", "192.0.2.12", "2001:db8:1:2::/64"]
        assert await listed(policy) == everybody
        for changes, left in (
            ({"trusted_networks": [{"networks": ["192.0.2.10/31"]}]}, everybody[2:]),
            ({"general": {"smtp_auth": {"local_networks": ["2001:db8:1::/48"]}}}, everybody[:3]),
            ({"access_rules": [{"id": "a", "list": "allow", "criterion": "ip", "value": STRANGER}]}, everybody[1:]),
            ({"advanced_security": {"max_unknown_recipients_per_day": 0}}, []),
        ):
            policy.engine.use(snapshot({**LIMIT, **changes}))
            assert await listed(policy) == left
            await count_blocked(policy.engine)
            assert shown() == len(left)
            # When a page leaves clients out, it is filled with the clients that follow.
            assert await listed(policy, page_size=1) == left[:1]
        policy.engine.use(snapshot(LIMIT))
        assert await listed(policy) == everybody


async def test_f25_discarded_mail_of_a_blocked_client_is_neither_counted_nor_refused() -> None:
    """F25: discard rules are evaluated before the block, at MAIL and at RCPT."""
    discard = {"id": "d", "list": "block", "criterion": "sender", "value": "joe@sender.test", "action": "discard"}
    async with serving(snapshot({**LIMIT, "access_rules": [discard]}), clock=lambda: NOW) as policy:

        async def verdicts(sender: str) -> list[str]:
            mail = request("mail")
            mail.transaction.sender = sender.encode()
            to_nobody = rcpt("ghost@local.test", sender)
            return [replied(await policy.decide(each)) for each in (mail, to_nobody)]

        for _ in range(2):
            assert await verdicts("joe@sender.test") == ["accept", "discard"]
        assert await listed(policy) == []
        assert await verdicts("eve@sender.test") == ["accept", "550 5.1.1"]
        assert await listed(policy) == [STRANGER]
        assert await verdicts("joe@sender.test") == ["accept", "discard"]
        assert await verdicts("eve@sender.test") == ["421 4.7.0", "421 4.7.0"]


async def test_the_metric_keeps_its_last_value_while_redis_is_down(redis_server: Redis) -> None:
    store = RedisStore(redis_server.url, seconds=30)
    async with serving(snapshot(LIMIT), store=store, clock=lambda: NOW) as policy:
        assert store.unavailable_reason == ""
        await apply(store, naming("a", limit=1))
        await count_blocked(policy.engine)
        assert shown() == 1
        redis_server.kill()
        await count_blocked(policy.engine)
        assert shown() == 1


async def test_f50_an_unreachable_store_differs_from_an_unreachable_policy(redis_server: Redis) -> None:
    """F50: without the store, config_api asks no other replica of policy, and its error names the store."""
    store = RedisStore(redis_server.url, seconds=30)
    async with serving(snapshot(LIMIT), store=store, clock=lambda: NOW) as policy:
        redis_server.kill()
        with pytest.raises(grpc.aio.AioRpcError) as listing:
            await listed(policy)
        with pytest.raises(grpc.aio.AioRpcError) as lifting:
            await policy.stub.UnblockClient(policy_pb2.UnblockClientRequest(client=STRANGER))
        assert {listing.value.code(), lifting.value.code()} == {grpc.StatusCode.ABORTED}


async def test_a_store_that_starts_without_redis_reports_this(redis_server: Redis) -> None:
    redis_server.kill()
    store = RedisStore(redis_server.url, seconds=30)
    await store.start()
    try:
        assert store.unavailable_reason.startswith("away")
    finally:
        await store.stop()


async def test_a_block_outlives_a_restart(tmp_path: Path) -> None:
    """F32: counters in memory keep blocks in a file. A block that was lifted or has ended does not come back."""
    path = tmp_path / "policy" / "blocked-clients"
    now = NOW

    async def restarted(*, expected: list[str], blocks: str = "", lifts: str = "") -> None:
        store = MemoryStore(BlockFile(path), clock=lambda: now)
        async with serving(snapshot(LIMIT), store=store, clock=lambda: now) as policy:
            assert await listed(policy) == expected
            for client in expected:
                assert replied(await policy.decide(connect("", client))) == "421 4.7.0"
            if blocks:
                await policy.decide(rcpt("ghost@local.test", client=blocks))
            if lifts:
                await policy.stub.UnblockClient(policy_pb2.UnblockClientRequest(client=lifts))

    await restarted(expected=[], blocks=STRANGER)
    await restarted(expected=[STRANGER], blocks="192.0.2.11")
    await restarted(expected=[STRANGER, "192.0.2.11"], lifts=STRANGER)
    await restarted(expected=["192.0.2.11"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    now += 86_400
    await restarted(expected=[])
    assert path.read_text() == ""


async def test_a_damaged_line_does_not_affect_other_blocks(tmp_path: Path) -> None:
    """A process that dies while it writes leaves an incomplete line."""
    path = tmp_path / "blocked-clients"
    whole = {"client": STRANGER, "reason": "unknown_recipients", "count": 1, "blocked_at": NOW, "ends_at": NOW + 60}
    path.write_text(f'{json.dumps(whole)}\nnull\n{{"client": 5}}\n{{"lifted": []}}\n{json.dumps(whole)[:40]}')
    assert BlockFile(path).read(NOW) == [Blocked(**whole)]  # type: ignore[arg-type]


async def test_a_file_that_cannot_be_written_delays_no_decision(tmp_path: Path) -> None:
    path = tmp_path / "blocked-clients"
    path.mkdir()
    store = MemoryStore(BlockFile(path), clock=lambda: NOW)
    async with serving(snapshot(LIMIT), store=store, clock=lambda: NOW) as policy:
        assert replied(await policy.decide(rcpt("ghost@local.test"))) == "550 5.1.1"
        assert replied(await policy.decide(connect())) == "421 4.7.0"
