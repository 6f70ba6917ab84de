"""Policy's watch and its reports of rule hits, against a real gRPC server that speaks for config_api."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import grpc
import pytest
from posthouse.config.v1 import config_pb2

from libs.runtime import endpoints, rpc
from libs.runtime.dialing import Dialers
from libs.runtime.sealed_file import SealedFile
from services.policy.clients import HitReporter, configuration_watch
from services.policy.hits import HitCounts
from services.policy.rules.model import Snapshot
from tests.peers import plain_grpc
from tests.peers.ports import free_address, free_port
from tests.policy.world import settings

SERVICE = config_pb2.DESCRIPTOR.services_by_name["Configuration"].full_name


class Configuration:
    """Sends what the test publishes, in parts; keeps what it is told."""

    def __init__(self) -> None:
        self.watches: list[config_pb2.WatchRequest] = []
        self.reports: list[config_pb2.ReportRuleHitsRequest] = []
        self.failures = 0
        self._changed = asyncio.Condition()
        self._published: list[config_pb2.PolicySnapshotPart] = []
        self._digest = b""

    async def publish(self, digest: bytes, *parts: config_pb2.PolicySnapshot) -> None:
        async with self._changed:
            self._published = [config_pb2.PolicySnapshotPart(snapshot=part) for part in parts]
            self._published[-1].last = True
            self._published[-1].digest = self._digest = digest
            self._changed.notify_all()

    async def watched(self, times: int) -> None:
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: len(self.watches) >= times)

    async def watch_policy(
        self, request: config_pb2.WatchRequest, _: Any
    ) -> AsyncIterator[config_pb2.PolicySnapshotPart]:
        held = request.digest
        async with self._changed:
            self.watches.append(request)
            self._changed.notify_all()
        while True:
            async with self._changed:
                while self._digest == held:
                    await self._changed.wait()
                held, parts = self._digest, self._published
            for part in parts:
                yield part

    async def report_rule_hits(
        self, request: config_pb2.ReportRuleHitsRequest, context: Any
    ) -> config_pb2.ReportRuleHitsResponse:
        self.reports.append(request)
        if self.failures:
            self.failures -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        return config_pb2.ReportRuleHitsResponse()


class Served:
    """The server, which can be stopped and started on the same port."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.configuration = Configuration()
        self.host = host
        self.port = port
        self._server: rpc.Server | None = None

    async def start(self) -> None:
        self._server = rpc.Server({SERVICE: {}}, self._register)
        self.port = await plain_grpc.start(self._server, self.port, self.host)

    def _register(self, server: grpc.aio.Server) -> None:
        handlers: dict[str, Any] = {
            "WatchPolicy": grpc.unary_stream_rpc_method_handler(
                self.configuration.watch_policy,
                request_deserializer=config_pb2.WatchRequest.FromString,
                response_serializer=config_pb2.PolicySnapshotPart.SerializeToString,
            ),
            "ReportRuleHits": grpc.unary_unary_rpc_method_handler(
                self.configuration.report_rule_hits,
                request_deserializer=config_pb2.ReportRuleHitsRequest.FromString,
                response_serializer=config_pb2.ReportRuleHitsResponse.SerializeToString,
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    server = Served()
    await server.start()
    yield server
    await server.stop()


class Watching:
    """A watch at work, and the snapshots it put in force."""

    def __init__(self, port: int, file: Path, name: str = "127.0.0.1") -> None:
        self.used: asyncio.Queue[Snapshot] = asyncio.Queue()
        self._dialers = Dialers("config_api", (f"{name}:{port}",), plain_grpc.INSECURE)
        self.watch = configuration_watch(self._dialers, SealedFile(file))
        self.watch.on_change.append(self.used.put_nowait)
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


async def test_parts_are_merged_and_used_at_once(served: Served, tmp_path: Path) -> None:
    async with Watching(served.port, tmp_path / "snapshot") as watching:
        more = config_pb2.PolicySnapshot()
        more.local_domains.add(id="ld2", domain="second.test")
        await served.configuration.publish(b"d1", settings(), more)
        snapshot = await watching.next()
        assert set(snapshot.local_domains) == {"local.test", "second.test"}
        await served.configuration.publish(b"d2", settings({"revision": 8}))
        assert (await watching.next()).revision == 8
        assert watching.used.empty()


async def test_a_bad_snapshot_is_refused_and_the_one_before_stays(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "snapshot"
    async with Watching(served.port, file) as watching:
        await served.configuration.publish(b"d1", settings())
        assert (await watching.next()).revision == 7
        bad = settings({"revision": 8})
        bad.trusted_networks.add(id="x").networks.append("10.0.0.0/99")
        await served.configuration.publish(b"d2", bad)
        await served.configuration.publish(b"d3", settings({"revision": 9}))
        assert (await watching.next()).revision == 9


async def test_the_last_good_one_serves_a_cold_start(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "snapshot"
    async with Watching(served.port, file) as watching:
        await served.configuration.publish(b"d1", settings())
        await watching.next()
        # Written before the next one is asked for.
        await served.configuration.publish(b"d2", settings({"revision": 8}))
        await watching.next()
        await served.configuration.publish(b"d3", settings({"revision": 9}))
        await watching.next()
    assert file.stat().st_mode & 0o777 == 0o600
    await served.stop()
    async with Watching(served.port, file) as watching:
        revision = (await watching.next()).revision
        assert revision in (8, 9)
        await served.start()
        await served.configuration.watched(2)
        # It asks only for what it does not hold.
        assert served.configuration.watches[-1].digest == {8: b"d2", 9: b"d3"}[revision]


async def test_hits_are_reported_once_whatever_fails(served: Served) -> None:
    hits = HitCounts()
    dialers = Dialers("config_api", (f"127.0.0.1:{served.port}",), plain_grpc.INSECURE)
    reporter = HitReporter(dialers, hits)
    hits.add("s", ["r1", "r2"], 100.5, recipients_asked=0)
    hits.add("s", ["r1"], 101.5, recipients_asked=0)
    served.configuration.failures = 1
    await reporter.report()
    hits.add("s", ["r1"], 102.0, recipients_asked=0)
    await reporter.report()
    await reporter.report()
    await reporter.report()
    first, again, second = served.configuration.reports
    # Repeating an id adds nothing on the other side, so what may have arrived is sent again as it was.
    assert first == again
    assert second.report_id != first.report_id
    found = {hit.rule_id: (hit.hits, hit.last_hit_at.seconds) for hit in first.hits}
    assert found == {"r1": (2, 101), "r2": (1, 100)}
    assert [(hit.rule_id, hit.hits) for hit in second.hits] == [("r1", 1)]
    await dialers.close()


@pytest.fixture
async def replicas(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Served, Served]]:
    """Two of config_api at one name, which has a third address where nobody is."""
    hosts = [free_address() for _ in range(3)]
    port = free_port(*hosts)

    async def addresses(_: str) -> list[str]:
        return hosts

    monkeypatch.setattr(endpoints, "addresses", addresses)
    one, other = Served(hosts[0], port), Served(hosts[1], port)
    for each in (one, other):
        await each.start()
        await each.configuration.publish(b"d1", settings())
    yield one, other
    for each in (one, other):
        await each.stop()


async def test_hits_go_to_whoever_takes_them(replicas: tuple[Served, Served]) -> None:
    one, other = replicas
    await one.stop()
    hits = HitCounts()
    hits.add("s", ["r1"], 100.5, recipients_asked=0)
    async with Dialers("config_api", (f"config-api:{other.port}",), plain_grpc.INSECURE) as dialers:
        reporter = HitReporter(dialers, hits)
        for _ in range(3):
            await reporter.report()
    assert [hit.rule_id for report in other.configuration.reports for hit in report.hits] == ["r1"]
