"""Policy's watch and its reports of rule hits, with a real gRPC server in the place of config_api."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from posthouse.config.v1 import config_pb2

from libs.runtime import endpoints
from libs.runtime.configuration_watch import PieceChange
from libs.runtime.dialing import Dialers
from libs.runtime.sealed_file import SealedFile
from services.policy.clients import HitReporter, configuration_watch
from services.policy.hits import HitCounts
from services.policy.rules.model import Snapshot
from services.policy.snapshot import PolicySnapshotReader, compile_snapshot
from tests.fakes.config_api import ConfigApi
from tests.peers import plain_grpc
from tests.peers.ports import free_address, free_port
from tests.policy.world import settings

KINDS = {"access_rules": "access-rules"}
REPEATED = {field.name for field in config_pb2.PolicySnapshot.DESCRIPTOR.fields if field.is_repeated}
ADDRESS_A, ADDRESS_B = "user1@local.test", "else@far.test"


def pieces(message: config_pb2.PolicySnapshot, kinds: Mapping[str, str] = KINDS) -> dict[str, bytes]:
    """Returns the snapshot as config_api sends it, one piece for each object."""
    made: dict[str, bytes] = {}
    for field, value in message.ListFields():
        if field.name == "revision":
            continue
        kind = kinds.get(field.name, field.name)
        for number, each in enumerate(value if field.name in REPEATED else [value]):
            content: Any = {field.name: [each] if field.name in REPEATED else each}
            alone = config_pb2.PolicySnapshot(**content)
            made[f"{kind}/{getattr(each, 'id', number)}"] = alone.SerializeToString()
    return made


@pytest.fixture
async def config_api() -> AsyncIterator[ConfigApi]:
    running = ConfigApi()
    await running.start()
    yield running
    await running.stop()


class Watching:
    """Runs a watch of config_api's snapshots, and collects the snapshots that it has put in force."""

    def __init__(self, port: int, file: Path) -> None:
        self.used: asyncio.Queue[Snapshot] = asyncio.Queue()
        self._dialers = Dialers("config_api", (f"127.0.0.1:{port}",), plain_grpc.INSECURE)
        self.watch = configuration_watch(self._dialers, SealedFile(file), "policy", 0)
        self.watch.on_revision.append(self.used.put_nowait)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.watch.restore()
        self._task = asyncio.create_task(self.watch.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._dialers.close()

    async def next(self) -> Snapshot:
        async with asyncio.timeout(60):
            return await self.used.get()


async def test_snapshots_are_put_in_force_and_invalid_ones_are_refused(config_api: ConfigApi, tmp_path: Path) -> None:
    async with Watching(config_api.port, tmp_path / "snapshot") as watching:
        message = settings()
        config_api.send(7, pieces(message), parts=3, whole=True)
        assert tables(await watching.next()) == tables(compile_snapshot(message))
        networks = config_pb2.NetworkSet(id="x", networks=["10.0.0.0/99"])
        bad = config_pb2.PolicySnapshot(trusted_networks=[networks]).SerializeToString()
        config_api.send(8, {"trusted-networks/x": bad})
        config_api.send(9, {"trusted-networks/x": b""})
        assert (await watching.next()).revision == 9
    async with Watching(1, tmp_path / "snapshot") as watching:
        restored = await watching.next()
        assert restored.revision == 9
        assert set(restored.accounts) == {"alice", "bob"}


def tables(made: Snapshot) -> dict[str, Any]:
    """Returns the parts of a snapshot that can be compared."""
    values = {name: getattr(made, name) for name in Snapshot.__slots__ if name not in ("clients", "known_addresses")}
    addresses = ("192.0.2.10", "198.51.100.7", "10.1.2.3", "203.0.113.9", "2001:db8:7::1")
    return {**values, "clients": [made.clients.find(address) for address in addresses]}


ADDRESSES = st.sampled_from(["a@local.test", "B@local.test", "c@relay.test", "info@local.test"])
RULES = st.builds(
    lambda criterion, block, mode, value: config_pb2.PolicySnapshot(
        access_rules=[
            config_pb2.AccessRule(
                list=config_pb2.AccessRule.LIST_BLOCK if block else config_pb2.AccessRule.LIST_ALLOW,
                criterion=criterion,
                value=value[criterion],
                mode=mode,
            )
        ]
    ),
    st.sampled_from(list(config_pb2.AccessRule.Criterion.values())[1:]),
    st.booleans(),
    st.sampled_from([config_pb2.MODE_OFF, config_pb2.MODE_SHADOW, config_pb2.MODE_ENFORCE]),
    st.sampled_from(
        [
            dict(enumerate(["", "x@far.test", "a@local.test", "192.0.2.10", "192.0.2.0/24", ".far.test"])),
            dict(enumerate(["", "y@far.test", "c@relay.test", "10.1.2.3", "203.0.113.0/28", "far.test"])),
        ]
    ),
)
OTHERS = st.builds(
    lambda banner: config_pb2.PolicySnapshot(
        general=config_pb2.General(profile=config_pb2.Profile(hostname="mx.test", banner=banner))
    ),
    st.sampled_from(["one", "two"]),
)
STEPS = st.lists(
    st.one_of(
        # Each step is (kind, number of the object, its new value); None removes the object. The test assigns the
        # addresses.
        st.tuples(st.just("accounts"), st.integers(0, 3), st.sampled_from([None, True, False])),
        st.tuples(st.just("aliases"), st.integers(4, 6), st.sampled_from([None, ADDRESS_A, ADDRESS_B])),
        st.tuples(st.just("access-rules"), st.integers(0, 3), st.one_of(st.none(), RULES)),
        st.tuples(st.just("settings"), st.just(0), OTHERS),
    ),
    max_size=12,
)


def content(kind: str, number: int, what: Any) -> bytes:
    if what is None:
        return b""
    address = f"User{number}@local.test"
    if kind == "accounts" and what is False:
        return config_pb2.PolicySnapshot(disabled_account_addresses=[address]).SerializeToString()
    if kind == "accounts":
        account = config_pb2.PolicyAccount(
            # The login of each account may be an address of another account.
            id=f"a{number}",
            login=f"user{number + 1}@local.test",
            addresses=[address],
            password_hash="x",
        )
        return config_pb2.PolicySnapshot(accounts=[account]).SerializeToString()
    if kind == "aliases":
        alias = config_pb2.Alias(id=f"al{number}", address=address, targets=[what])
        return config_pb2.PolicySnapshot(aliases=[alias]).SerializeToString()
    message = config_pb2.PolicySnapshot()
    message.CopyFrom(what)
    for rule in message.access_rules:
        rule.id = f"r{number}"
    return message.SerializeToString()


@settings_of_hypothesis(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=8))
def test_changes_give_the_same_result_as_the_whole_snapshot(revisions: list[list[tuple[str, int, Any]]]) -> None:
    reader = PolicySnapshotReader()
    present: dict[str, bytes] = {}
    reader.read([], 1)
    for revision, steps in enumerate(revisions, start=2):
        wanted = {f"{kind}/{number}": content(kind, number, what) for kind, number, what in steps}
        changes = [
            PieceChange(key, present.get(key, b""), after)
            for key, after in wanted.items()
            if present.get(key, b"") != after
        ]
        made = reader.read(changes, revision)
        present.update(wanted)
        message = config_pb2.PolicySnapshot.FromString(b"".join(present[key] for key in sorted(present)))
        message.revision = revision
        assert tables(made) == tables(compile_snapshot(message))


async def test_hits_are_reported_once_whatever_fails(config_api: ConfigApi) -> None:
    hits = HitCounts()
    dialers = Dialers("config_api", (f"127.0.0.1:{config_api.port}",), plain_grpc.INSECURE)
    reporter = HitReporter(dialers, hits)
    hits.add("s", ["r1", "r2"], 100.5, recipients_asked=0)
    hits.add("s", ["r1"], 101.5, recipients_asked=0)
    config_api.failures = 1
    await reporter.report()
    hits.add("s", ["r1"], 102.0, recipients_asked=0)
    await reporter.report()
    await reporter.report()
    await reporter.report()
    first, again, second = config_api.reports
    # A report that may have arrived is sent again with the same id and content, so its hits are not counted twice.
    assert first == again
    assert second.report_id != first.report_id
    found = {hit.rule_id: (hit.hits, hit.last_hit_at.seconds) for hit in first.hits}
    assert found == {"r1": (2, 101), "r2": (1, 100)}
    assert [(hit.rule_id, hit.hits) for hit in second.hits] == [("r1", 1)]
    await dialers.close()


async def test_hits_go_to_the_replica_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two replicas of config_api have one name. The name has a third address, where no server runs."""
    hosts = [free_address() for _ in range(3)]
    port = free_port(*hosts)

    async def addresses(_: str) -> list[str]:
        return hosts

    monkeypatch.setattr(endpoints, "addresses", addresses)
    one, other = ConfigApi(hosts[0], port), ConfigApi(hosts[1], port)
    for each in (one, other):
        await each.start()
    await one.stop()
    hits = HitCounts()
    hits.add("s", ["r1"], 100.5, recipients_asked=0)
    async with Dialers("config_api", (f"config-api:{other.port}",), plain_grpc.INSECURE) as dialers:
        reporter = HitReporter(dialers, hits)
        for _ in range(3):
            await reporter.report()
    await other.stop()
    assert [hit.rule_id for report in other.reports for hit in report.hits] == ["r1"]
