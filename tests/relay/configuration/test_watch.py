"""The watch on config_api: parts merged, bad ones refused, the last good one kept for a start without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from posthouse.config.v1 import config_pb2 as pb
from posthouse.config.v1 import config_pb2_grpc

from libs.runtime import endpoints
from libs.runtime.dialing import Dialers
from libs.runtime.sealed_file import SealedFile
from services.relay.configuration.model import Configuration
from services.relay.configuration.watch import ConfigurationWatch
from tests.peers.plain_grpc import INSECURE
from tests.peers.ports import free_address, free_port


class Publisher(config_pb2_grpc.ConfigurationServicer):
    """A config_api that sends what it is given to send."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.requests: list[pb.WatchRequest] = []
        self._parts: asyncio.Queue[pb.RelaySnapshotPart | None] = asyncio.Queue()
        self._server = grpc.aio.server()
        self._host = host
        self.port = port or free_port()

    async def start(self) -> None:
        config_pb2_grpc.add_ConfigurationServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"{self._host}:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(0)

    def send(self, *parts: pb.RelaySnapshotPart) -> None:
        for part in parts:
            self._parts.put_nowait(part)

    def end_stream(self) -> None:
        self._parts.put_nowait(None)

    async def WatchRelay(  # noqa: N802 - the contract's name
        self, request: pb.WatchRequest, context: object
    ) -> AsyncIterator[pb.RelaySnapshotPart]:
        self.requests.append(request)
        while (part := await self._parts.get()) is not None:
            yield part

    async def WatchPolicy(  # noqa: N802
        self, request: pb.WatchRequest, context: object
    ) -> AsyncIterator[pb.PolicySnapshotPart]:
        yield pb.PolicySnapshotPart()

    async def ReportRuleHits(  # noqa: N802
        self, request: pb.ReportRuleHitsRequest, context: object
    ) -> pb.ReportRuleHitsResponse:
        return pb.ReportRuleHitsResponse()


def snapshot(revision: int, *aliases: str, mode: int = 1) -> pb.RelaySnapshot:
    return pb.RelaySnapshot(
        revision=revision,
        profile=pb.Profile(hostname="gw.test"),
        delivery=pb.Delivery(mode=mode),  # type: ignore[arg-type]
        aliases=[pb.Alias(id=each, address=each, targets=["t@far.test"]) for each in aliases],
    )


class Watching:
    """A watch under way, and what it came to."""

    def __init__(self, port: int, path: Path, name: str = "127.0.0.1") -> None:
        self._dialers = Dialers("config_api", (f"{name}:{port}",), INSECURE)
        self.watch = ConfigurationWatch(self._dialers, SealedFile(path))
        self._changed = asyncio.Condition()
        self.seen: list[Configuration] = []
        self._came: asyncio.Queue[Configuration] = asyncio.Queue()
        self.watch.on_change.append(self._came.put_nowait)

    async def __aenter__(self) -> Watching:  # noqa: PYI034
        self._task = asyncio.create_task(self.watch.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._dialers.close()

    async def next(self) -> Configuration:
        async with asyncio.timeout(60):
            return await self._came.get()


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    found = Publisher()
    await found.start()
    yield found
    await found.stop()


async def test_parts_are_merged_and_used_at_once(publisher: Publisher, tmp_path: Path) -> None:
    publisher.send(
        pb.RelaySnapshotPart(snapshot=snapshot(5, "a@local.test")),
        pb.RelaySnapshotPart(
            snapshot=pb.RelaySnapshot(aliases=snapshot(5, "b@local.test").aliases), last=True, digest=b"5"
        ),
    )
    async with Watching(publisher.port, tmp_path / "snapshot") as watching:
        configuration = await watching.next()
        assert configuration.revision == 5
        assert configuration.aliases.keys() == {b"a@local.test", b"b@local.test"}
        publisher.send(pb.RelaySnapshotPart(snapshot=snapshot(6), last=True, digest=b"6"))
        assert (await watching.next()).aliases == {}


async def test_a_lost_watch_is_opened_again_with_what_is_held(publisher: Publisher, tmp_path: Path) -> None:
    async with Watching(publisher.port, tmp_path / "snapshot") as watching:
        publisher.send(pb.RelaySnapshotPart(snapshot=snapshot(5), last=True, digest=b"five"))
        await watching.next()
        publisher.end_stream()
        publisher.send(pb.RelaySnapshotPart(snapshot=snapshot(6), last=True, digest=b"six"))
        assert (await watching.next()).revision == 6
        assert [request.digest for request in publisher.requests] == [b"", b"five"]


async def test_a_name_of_several_addresses_is_several_replicas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = [free_address() for _ in range(3)]
    port = free_port(*hosts)

    async def addresses(_: str) -> list[str]:
        return hosts

    monkeypatch.setattr(endpoints, "addresses", addresses)
    # Nobody is at the last one, now and then.
    publishers = [Publisher(host, port) for host in hosts[:2]]
    for each in publishers:
        await each.start()
        each.send(pb.RelaySnapshotPart(snapshot=snapshot(5), last=True, digest=b"five"))
    async with Watching(port, tmp_path / "snapshot", "config-api") as watching:
        assert (await watching.next()).revision == 5
        (asked,) = [each for each in publishers if each.requests]
        (other,) = [each for each in publishers if each is not asked]
        await asked.stop()
        other.send(pb.RelaySnapshotPart(snapshot=snapshot(6), last=True, digest=b"six"))
        while (await watching.next()).revision != 6:
            pass
        assert [request.digest for request in other.requests] == [b"five"]
    await other.stop()


async def test_a_bad_configuration_is_refused_and_the_old_one_stays(publisher: Publisher, tmp_path: Path) -> None:
    async with Watching(publisher.port, tmp_path / "snapshot") as watching:
        publisher.send(pb.RelaySnapshotPart(snapshot=snapshot(5), last=True, digest=b"5"))
        await watching.next()
        # relay_host without a relay host; then a good one.
        publisher.send(pb.RelaySnapshotPart(snapshot=snapshot(6, mode=2), last=True, digest=b"6"))
        publisher.send(pb.RelaySnapshotPart(snapshot=snapshot(7), last=True, digest=b"7"))
        assert (await watching.next()).revision == 7


async def test_the_last_good_one_is_there_after_a_start_without_config_api(
    publisher: Publisher, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "snapshot"
    async with Watching(publisher.port, path) as watching:
        publisher.send(pb.RelaySnapshotPart(snapshot=snapshot(5, "a@local.test"), last=True, digest=b"5"))
        await watching.next()
        # The next one comes when the one before is on the disk.
        publisher.send(pb.RelaySnapshotPart(snapshot=snapshot(6, "a@local.test"), last=True, digest=b"6"))
        await watching.next()
    assert path.stat().st_mode & 0o077 == 0
    again = ConfigurationWatch(Dialers("config_api", ("127.0.0.1:1",), INSECURE), SealedFile(path))
    again.restore()
    assert again.current is not None
    assert again.current.revision in (5, 6)
    assert again.current.aliases.keys() == {b"a@local.test"}


@pytest.mark.parametrize("content", [None, b"", b"\xff\xff garbage"])
async def test_no_kept_configuration_or_garbage_is_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "snapshot"
    if content is not None:
        path.write_bytes(content)
    watch = ConfigurationWatch(Dialers("config_api", ("127.0.0.1:1",), INSECURE), SealedFile(path))
    watch.restore()
    # Empty bytes are a protobuf too, but no whole configuration.
    assert watch.current is None
