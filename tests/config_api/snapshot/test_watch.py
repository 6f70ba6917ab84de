"""A watch gets the whole snapshot first and then each change, from every replica of config_api."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from posthouse.config.v1 import config_pb2 as pb

from libs.runtime.snapshot_pages import SnapshotPages, serialised
from services.config_api.http import middleware
from services.config_api.resources.catalogue import RESOURCES
from services.config_api.secrets.sealing import Sealer
from services.config_api.snapshot import configuration_cache, publisher
from services.config_api.snapshot.configuration_cache import ConfigurationCache
from services.config_api.storage.database import Database
from services.config_api.storage.documents import Store
from services.config_api.storage.revision import Actor, Write
from tests.config_api.service import START_SECONDS, Service, running


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns off the wait of writes: the watches in these tests never report a revision as in force."""
    monkeypatch.setattr(middleware, "IN_FORCE_SECONDS", 0.0)


async def test_a_change_is_pushed(service: Service) -> None:
    async with service.watch_policy() as watch:
        await watch.next()
        assert watch.is_whole
        assert watch.merged(pb.PolicySnapshot()).general.profile.hostname
        revision, digest = watch.revision, watch.digest
        await service.change("/v1/settings/general", {"profile": {"banner": "Changed"}})
        await watch.next()
        # The update contains only the piece of the object that changed.
        assert not watch.is_whole
        assert [piece.key for part in watch.parts for piece in part.pieces] == ["settings/general"]
        assert watch.merged(pb.PolicySnapshot()).general.profile.banner == "Changed"
        assert watch.revision > revision
        assert watch.digest != digest


async def test_removed_and_disabled_objects_are_removed_from_the_snapshot(service: Service) -> None:
    async with service.watch_policy() as watch:
        await watch.next()
        network = await service.make("trusted-networks", {"name": "office", "networks": ["192.0.2.0/24"]})
        await watch.next()
        key = f"trusted-networks/{network['id']}"
        assert key in dict(watch.pages.pieces())
        await service.change(f"/v1/{key}", {"enabled": False})
        await watch.next()
        assert key not in dict(watch.pages.pieces())
        await service.change(f"/v1/{key}", {"enabled": True})
        await watch.next()
        assert (await service.api.delete(f"/v1/{key}", headers={"If-Match": "*"})).status_code == 204
        await watch.next()
        assert key not in dict(watch.pages.pieces())
        assert not watch.is_whole


async def test_revisions_during_the_processing_of_an_earlier_one_are_sent_as_one_change(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_TAKING_SECONDS", 60.0)
    async with service.watch_policy() as watch:
        await watch.next()
        for number in range(3):
            await service.make("trusted-networks", {"name": f"office {number}", "networks": [f"192.0.2.{number}"]})
        published = {"service": "config_api", "revision": watch.revision + 3}
        while not any(published.items() <= each.items() for each in (await service.get("/v1/status"))["services"]):
            pass
        await watch.put_in_force()
        await watch.next()
        assert len([piece for part in watch.parts for piece in part.pieces]) == 3
        assert not watch.is_whole


async def test_revisions_in_quick_succession_are_published_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "_PUBLISH_SECONDS", 3600.0)

    class Snapshots:
        """Counts the reads and the publications. Each read finds a new revision."""

        def __init__(self) -> None:
            self.cache = self
            self.reads = self.publications = 0

        async def catch_up(self, on_answer: Callable[[], None]) -> bool:
            on_answer()
            self.reads += 1
            return True

        def refresh(self) -> None:
            self.publications += 1

    snapshots, wake = Snapshots(), asyncio.Event()
    following = asyncio.create_task(publisher.follow(snapshots, wake, lambda _: None))  # type: ignore[arg-type]
    for _ in range(50):
        wake.set()
        await asyncio.sleep(0)
    assert (snapshots.reads, snapshots.publications) == (1, 1)
    following.cancel()
    await asyncio.wait({following})


async def test_a_consumer_that_refuses_a_revision_gets_the_next_one(service: Service) -> None:
    """A consumer does not report a revision that it refuses."""
    async with service.watch_policy() as watch:
        await watch.next()
        for number in range(2):
            network = await service.make("trusted-networks", {"name": f"{number}", "networks": [f"192.0.2.{number}"]})
            await watch.next()
            assert [piece.key for part in watch.parts for piece in part.pieces] == [f"trusted-networks/{network['id']}"]


async def test_a_revision_without_changes_for_a_service_has_no_pieces(service: Service) -> None:
    async with service.watch_policy() as watch:
        await watch.next()
        digest, revision = watch.digest, watch.revision
        await service.change("/v1/settings/queue", {"expire_after_hours": 1})
        await watch.next()
        assert (watch.digest, len(watch.parts), list(watch.parts[0].pieces)) == (digest, 1, [])
        assert watch.revision == revision + 1


async def test_a_consumer_that_connects_again_gets_only_the_changes_since_then(service: Service) -> None:
    async with service.watch_policy() as watch:
        await watch.next()
        pages, digest = watch.pages, watch.digest
    made = [
        await service.make("trusted-networks", {"name": f"n{n}", "networks": [f"192.0.2.{n}/32"]}) for n in range(3)
    ]
    async with service.watch_policy(digest=digest) as again:
        again.pages = pages
        changed: list[str] = []
        while len(changed) < len(made):
            await again.next()
            assert not again.is_whole
            changed += [piece.key for part in again.parts for piece in part.pieces]
        assert sorted(changed) == sorted(f"trusted-networks/{network['id']}" for network in made)
    async with service.watch_policy(digest=b"from another database") as other:
        assert (await other.next()).is_whole


async def test_the_whole_snapshot_is_sent_again_after_too_many_changes(
    on_sqlite: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration_cache, "_REMEMBERED_OCTETS", 0)
    async with on_sqlite.watch_policy() as watch:
        await watch.next()
        await on_sqlite.make("trusted-networks", {"name": "n", "networks": ["192.0.2.0/24"]})
        assert (await watch.next()).is_whole
        assert watch.merged(pb.PolicySnapshot()).trusted_networks[0].name == "n"


@pytest.mark.parametrize("consumer", ["watch_policy", "watch_relay"])
async def test_a_consumer_with_the_present_snapshot_gets_an_answer_at_once(service: Service, consumer: str) -> None:
    async with getattr(service, consumer)() as watch:
        digest = (await watch.next()).digest
    async with getattr(service, consumer)(digest=digest) as watch, asyncio.timeout(START_SECONDS):
        await watch.call.wait_for_connection()


async def test_the_digest_is_the_same_after_a_restart(begun: Path, resolver: str) -> None:
    digests: list[bytes] = []
    for _ in range(2):
        async with running(f"sqlite:///{begun / 'config.sqlite3'}", begun, nameservers=resolver) as service:
            if not digests:
                await service.make("relay-rules", RULE)
            digests.append((await service.relay(lambda found: found.relay_rules))[1])
    assert digests[0] == digests[1]


async def test_every_replica_pushes_every_change(postgres_url: str, tmp_path: Path, resolver: str) -> None:
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(
                running(
                    postgres_url, tmp_path / str(number), nameservers=resolver, secret_key="one secret key for both"
                )
            )
            for number in range(2)
        ]
        watches = [await stack.enter_async_context(replica.watch_policy()) for replica in replicas]
        begun = [(await watch.next()).digest for watch in watches]
        assert begun[0] == begun[1]
        for number, changing in enumerate(replicas):
            await changing.make("trusted-networks", {"name": f"n{number}", "networks": [f"192.0.2.{number}/32"]})
            digests = set()
            for watch in watches:
                await watch.next()
                assert len(watch.merged(pb.PolicySnapshot()).trusted_networks) == number + 1
                digests.add(watch.digest)
            # A consumer that changes to the other replica finds that it already has the newest snapshot.
            assert len(digests) == 1
        # A key that was created through one replica is accepted by the other at once.
        made = await replicas[0].make("api-keys", {"name": "x", "role": "reader"})
        headers = {"Authorization": f"Bearer {made['key']}"}
        assert (await replicas[1].api.get("/v1/accounts", headers=headers)).status_code == 200


async def test_the_parts_of_a_snapshot_have_a_limited_size(
    begun: Path, resolver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration_cache, "PAGE_OCTETS", 1000)
    monkeypatch.setattr(SnapshotPages.__init__, "__defaults__", (1000,))
    async with running(f"sqlite:///{begun / 'config.sqlite3'}", begun, nameservers=resolver) as service:
        async with service.watch_policy() as watch:
            await watch.next()
            networks = [
                {"name": f"n{number}", "networks": [f"10.{number}.{other}.0/24" for other in range(10)]}
                for number in range(12)
            ]
            for network in networks:
                await service.make("trusted-networks", network)
            while len(watch.merged(pb.PolicySnapshot()).trusted_networks) < 12:
                await watch.next()
        async with service.watch_policy() as watch:
            await watch.next()
            sizes = [part.ByteSize() for part in watch.parts]
            assert len(sizes) > 4
            assert max(sizes) <= 1000
            names = [network.name for network in watch.merged(pb.PolicySnapshot()).trusted_networks]
            assert names == [f"n{number}" for number in range(12)]


async def test_a_change_is_serialised_once_for_all_watchers(
    on_sqlite: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []

    def count(key: str, content: bytes) -> bytes:
        keys.append(key)
        return serialised(key, content)

    monkeypatch.setattr(configuration_cache, "serialised", count)
    async with AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(on_sqlite.watch_policy(f"policy-{n}")) for n in range(20)]
        await asyncio.gather(*(watch.next() for watch in watches))
        network = await on_sqlite.make("trusted-networks", {"name": "office", "networks": ["192.0.2.0/24"]})
        await asyncio.gather(*(watch.next() for watch in watches))
    assert keys == [f"trusted-networks/{network['id']}"]


async def test_an_expired_rule_is_removed_from_snapshots(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'c.sqlite3'}")
    await database.open()
    try:
        store = Store(database)
        body = {
            "name": "",
            "list": "allow",
            "criterion": "ip",
            "value": "192.0.2.9",
            "action": None,
            "mode": "enforce",
            "expires_at": "2030-01-01T00:00:00Z",
        }
        async with store.revision(Actor("test", "admin"), "test") as revision:
            await revision.apply([Write(RESOURCES["access-rules"], store.identifiers.new(), None, body)])
        found = ConfigurationCache(store, Sealer(["a key for the tests of the watch"]))
        await found.load()
    finally:
        await database.close()
    pieces, digests = [], []
    for year in (2029, 2030):
        assert found.publish(datetime(year, 1, 1, 0, 0, 0, tzinfo=UTC))
        pieces.append([key for key, _ in found.of_policy.pages.pieces() if key.startswith("access-rules/")])
        digests.append(found.of_policy.digest)
    assert [len(piece) for piece in pieces] == [1, 0]
    assert digests[0] != digests[1]
    assert not found.publish(datetime(2031, 1, 1, 0, 0, 0, tzinfo=UTC))


RELAY_HOST = {
    "host": "[192.0.2.25]",
    "port": 465,
    "auth": {"username": "u", "password": "p", "allow_without_tls": True},
}
RULE = {
    "name": "r",
    "type": "sender",
    "target_type": "address",
    "targets": ["Boss@ours.example"],
    "relay_host": RELAY_HOST,
    "position": 3,
}


async def test_each_consumer_gets_its_objects(service: Service) -> None:
    rule = await service.make("relay-rules", RULE)
    await service.make("relay-rules", {**RULE, "name": "off", "enabled": False})
    network = await service.make("trusted-networks", {"name": "n", "networks": ["2001:db8::/32"]})
    passed = await service.make("relay-domains", {"domain": "b.example", "recipients": "list"})
    mailbox = {"kind": "lmtp", "host": "mail.example", "port": 2003}
    local = await service.make("local-domains", {"name": "ours.example", "mailbox": mailbox})
    account = await service.make("accounts", {"login": "alice", "addresses": ["Alice@ours.example"]})
    await service.make("accounts", {"login": "off", "addresses": ["off@ours.example"], "enabled": False})
    alias = await service.make("aliases", {"address": "Info@ours.example", "targets": ["alice@ours.example"]})
    access = await service.make(
        "access-rules",
        {
            "list": "block",
            "criterion": "sender",
            "value": "Bad@spam.example",
            "action": "discard",
            "mode": "shadow",
            "expires_at": "2999-01-01T00:00:00Z",
        },
    )
    ended = {"list": "allow", "criterion": "ip", "value": "::ffff:192.0.2.9", "expires_at": "2020-01-01T00:00:00Z"}
    await service.make("access-rules", ended)
    key = await service.make("dkim-keys", {"domain": "ours.example", "selector": "a", "algorithm": "ed25519-sha256"})
    await service.change("/v1/settings/resolvers", {"preferred": ["192.0.2.53"], "alternate": ["[2001:db8::53]:5353"]})
    await service.change("/v1/settings/content-checks", {"spf": {"mode": "enforce", "on_softfail": "reject"}})

    relay, _ = await service.relay(lambda found: found.resolvers.preferred)
    policy, _ = await service.policy(lambda found: found.content_checks.spf.mode == pb.MODE_ENFORCE)
    assert [found.id for found in relay.relay_rules] == [rule["id"]]
    sent = relay.relay_rules[0]
    assert (sent.type, sent.target_type, list(sent.targets)) == (
        pb.RelayRule.TYPE_SENDER,
        pb.RelayRule.TARGET_TYPE_ADDRESS,
        ["boss@ours.example"],
    )
    host = sent.relay_host
    assert (host.host, host.port, host.implicit_tls, host.always_tls) == ("192.0.2.25", 465, True, False)
    assert (host.auth.username, host.auth.password, host.auth.allow_without_tls) == ("u", "p", True)
    assert sent.position == 3
    assert [(found.id, list(found.networks)) for found in policy.trusted_networks] == [
        (network["id"], ["2001:db8::/32"])
    ]
    for found in (policy, relay):
        assert [(d.id, d.domain, d.existing_recipients) for d in found.relay_domains] == [
            (passed["id"], "b.example", pb.EXISTING_RECIPIENTS_LIST)
        ]
        assert found.local_domains[0].id == local["id"]
        assert found.local_domains[0].mailbox == pb.Mailbox(
            kind=pb.Mailbox.KIND_LMTP, host="mail.example", port=2003, tls=pb.TLS_LEVEL_MAY
        )
    assert [(a.id, a.login, list(a.addresses)) for a in policy.accounts] == [
        (account["id"], "alice", ["Alice@ours.example"])
    ]
    # Nobody else may send with the address of a disabled account, or with an alias that leads to an account (F57). An
    # alias is valid only while one of its targets is (F18).
    assert list(policy.disabled_account_addresses) == ["off@ours.example"]
    assert policy.aliases == relay.aliases
    assert list(relay.account_addresses) == ["Alice@ours.example"]
    assert [(a.id, a.address, list(a.targets)) for a in relay.aliases] == [
        (alias["id"], "Info@ours.example", ["alice@ours.example"])
    ]
    assert [found.id for found in policy.access_rules] == [access["id"]]
    found_rule = policy.access_rules[0]
    assert found_rule.value == "bad@spam.example"
    assert found_rule.action == pb.AccessRule.BLOCK_ACTION_DISCARD
    assert found_rule.mode == pb.MODE_SHADOW
    assert found_rule.expires_at.ToDatetime().year == 2999
    assert relay.dkim_keys[0].id == key["id"]
    assert relay.dkim_keys[0].private_key.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert list(relay.resolvers.alternate) == ["[2001:db8::53]:5353"]
    assert policy.content_checks.spf.mode == pb.MODE_ENFORCE
    assert policy.content_checks.spf.on_softfail == pb.Spf.ON_SOFTFAIL_REJECT
    assert policy.general.profile.max_message_size == 25 * 1_048_576
    assert relay.queue.first_retry.ToSeconds() == 300


async def test_each_report_of_rule_hits_is_added_once(service: Service) -> None:
    rule = await service.make("access-rules", {"list": "block", "criterion": "ip", "value": "192.0.2.1"})
    path = f"/v1/access-rules/{rule['id']}"
    assert (rule["hits"], rule["last_hit_at"]) == (0, None)
    report = pb.ReportRuleHitsRequest(report_id="one")
    hit = report.hits.add(rule_id=rule["id"], hits=3)
    hit.last_hit_at.FromJsonString("2026-01-31T12:00:00Z")
    report.hits.add(rule_id="01900000-0000-7000-8000-000000000000", hits=5)
    for _ in range(2):
        await service.watches.ReportRuleHits(report)
    shown = await service.api.get(path)
    assert (shown.json()["hits"], shown.json()["last_hit_at"]) == (3, "2026-01-31T12:00:00.000Z")
    report.report_id = "two"
    report.hits[0].last_hit_at.FromJsonString("2025-01-31T12:00:00Z")
    await service.watches.ReportRuleHits(report)
    again = await service.api.get(path, headers={"If-None-Match": shown.headers["etag"]})
    assert again.status_code == 200
    assert (again.json()["hits"], again.json()["last_hit_at"]) == (6, "2026-01-31T12:00:00.000Z")
    assert again.headers["etag"] == shown.headers["etag"]
    assert (await service.get("/v1/access-rules"))["items"][0]["hits"] == 6
    reports = [
        pb.ReportRuleHitsRequest(report_id=f"n{n}", hits=[pb.RuleHits(rule_id=rule["id"], hits=1)]) for n in range(20)
    ]
    await asyncio.gather(*(service.watches.ReportRuleHits(found) for found in reports))
    assert (await service.get(path))["hits"] == 26


async def test_a_report_without_an_id_is_refused(on_sqlite: Service) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await on_sqlite.watches.ReportRuleHits(pb.ReportRuleHitsRequest())
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_the_grpc_health_check_answers_serving(on_sqlite: Service) -> None:
    stub = health_pb2_grpc.HealthStub(on_sqlite.channel)
    for name in ("", "posthouse.config.v1.Configuration"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_watches_end_cleanly_when_the_service_stops(begun: Path, resolver: str) -> None:
    async with running(f"sqlite:///{begun / 'config.sqlite3'}", begun, nameservers=resolver) as service:
        watch = await service.watch_policy().__aenter__()
        await watch.next()
        rest = asyncio.create_task(_rest(watch.call))
    assert await rest in (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)


async def _rest(call: Any) -> grpc.StatusCode:
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
        while await call.read() is not grpc.aio.EOF:
            pass
    found: grpc.StatusCode = await call.code()
    return found


async def test_watches_continue_through_an_outage_of_the_database(
    postgres: Any, postgres_url: str, tmp_path: Path, resolver: str
) -> None:
    async with (
        running(postgres_url, tmp_path, nameservers=resolver) as service,
        service.watch_policy() as watch,
        service.watch_policy("policy-other") as other,
    ):
        await watch.next()
        postgres.break_off()
        refused = await service.api.get("/v1/accounts")
        assert (refused.status_code, refused.json()["service"]) == (503, "database")
        # The present snapshot is still served.
        assert (await other.next()).merged(pb.PolicySnapshot()).general.profile.hostname
        postgres.start()
        await service.make("trusted-networks", {"name": "back", "networks": ["192.0.2.0/24"]})
        found = (await watch.next()).merged(pb.PolicySnapshot())
        assert found.trusted_networks[0].name == "back"
