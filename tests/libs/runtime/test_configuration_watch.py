"""The watch on config_api: parts are merged, a bad one is refused, and the last good one is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import grpc
import pytest
from posthouse.config.v1 import config_pb2 as pb
from posthouse.config.v1 import config_pb2_grpc

from libs.runtime import endpoints
from libs.runtime.configuration_watch import ConfigurationWatch, SnapshotMetrics, SnapshotSource
from libs.runtime.dialing import Dialers
from libs.runtime.sealed_file import SealedFile
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


METRICS = SnapshotMetrics("watch_test")


def snapshot(revision: int, *aliases: str) -> pb.RelaySnapshot:
    return pb.RelaySnapshot(
        revision=revision,
        profile=pb.Profile(hostname="gw.test"),
        aliases=[pb.Alias(id=address, address=address, targets=["t@far.test"]) for address in aliases],
    )


def whole(revision: int, *aliases: str) -> pb.RelaySnapshotPart:
    return pb.RelaySnapshotPart(snapshot=snapshot(revision, *aliases), last=True, digest=b"%d" % revision)


@dataclass(frozen=True, slots=True)
class Configuration:
    revision: int
    aliases: tuple[str, ...]


def read(message: pb.RelaySnapshot) -> Configuration:
    """Refuses the alias `bad`."""
    aliases = tuple(alias.address for alias in message.aliases)
    if "bad" in aliases:
        raise ValueError("a bad alias")
    return Configuration(message.revision, aliases)


def open_watch(
    channel: grpc.aio.Channel, digest: bytes, consumer: str
) -> grpc.aio.UnaryStreamCall[pb.WatchRequest, pb.RelaySnapshotPart]:
    return config_pb2_grpc.ConfigurationStub(channel).WatchRelay(pb.WatchRequest(digest=digest, consumer=consumer))


class Watching:
    """A watch under way, and the configurations that it put in force."""

    def __init__(self, port: int, path: Path, name: str = "127.0.0.1") -> None:
        self._dialers = Dialers("config_api", (f"{name}:{port}",), INSECURE)
        source = SnapshotSource("relay", pb.RelaySnapshotPart, open_watch, read)
        self.watch = ConfigurationWatch(source, self._dialers, SealedFile(path), METRICS)
        self._configurations: asyncio.Queue[Configuration] = asyncio.Queue()
        self.watch.on_change.append(self._configurations.put_nowait)

    async def __aenter__(self) -> Self:
        await self.watch.restore()
        self._task = asyncio.create_task(self.watch.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._dialers.close()

    async def next(self) -> Configuration:
        async with asyncio.timeout(60):
            return await self._configurations.get()


@pytest.fixture
async def publisher() -> AsyncIterator[Publisher]:
    running = Publisher()
    await running.start()
    yield running
    await running.stop()


async def test_parts_are_merged_and_used_at_once(publisher: Publisher, tmp_path: Path) -> None:
    publisher.send(pb.RelaySnapshotPart(snapshot=snapshot(5, "a@local.test")))
    publisher.send(pb.RelaySnapshotPart(snapshot=snapshot(5, "b@local.test"), last=True, digest=b"5"))
    async with Watching(publisher.port, tmp_path / "snapshot") as watching:
        assert await watching.next() == Configuration(5, ("a@local.test", "b@local.test"))
        publisher.send(whole(6))
        assert await watching.next() == Configuration(6, ())
        assert watching.watch.current == Configuration(6, ())
        await watching.watch.configured()


async def test_a_lost_watch_is_opened_again_with_what_is_held(publisher: Publisher, tmp_path: Path) -> None:
    async with Watching(publisher.port, tmp_path / "snapshot") as watching:
        publisher.send(whole(5))
        await watching.next()
        publisher.end_stream()
        publisher.send(whole(6))
        assert (await watching.next()).revision == 6
        assert [request.digest for request in publisher.requests] == [b"", b"5"]


async def test_a_name_of_several_addresses_is_several_replicas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = [free_address() for _ in range(3)]
    port = free_port(*hosts)

    async def addresses(_: str) -> list[str]:
        return hosts

    monkeypatch.setattr(endpoints, "addresses", addresses)
    # Nobody listens at the third address.
    publishers = [Publisher(host, port) for host in hosts[:2]]
    for publisher in publishers:
        await publisher.start()
        publisher.send(whole(5))
    async with Watching(port, tmp_path / "snapshot", "config-api") as watching:
        assert (await watching.next()).revision == 5
        (asked,) = [publisher for publisher in publishers if publisher.requests]
        (other,) = [publisher for publisher in publishers if publisher is not asked]
        await asked.stop()
        other.send(whole(6))
        while (await watching.next()).revision != 6:
            pass
        assert [request.digest for request in other.requests] == [b"5"]
    await other.stop()


async def test_a_bad_configuration_is_refused_and_not_asked_for_again(publisher: Publisher, tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    async with Watching(publisher.port, path) as watching:
        publisher.send(whole(5))
        await watching.next()
        publisher.send(whole(6, "bad"))
        publisher.end_stream()
        publisher.send(whole(7))
        assert (await watching.next()).revision == 7
        assert [request.digest for request in publisher.requests] == [b"", b"6"]


async def test_the_last_good_one_is_there_after_a_start_without_config_api(
    publisher: Publisher, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "snapshot"
    async with Watching(publisher.port, path) as watching:
        publisher.send(whole(5, "a@local.test"))
        await watching.next()
        # The next one is read when the one before is on the disk; so is the bad one after it.
        publisher.send(whole(6, "a@local.test"), whole(7, "bad"), whole(8, "a@local.test"))
        await watching.next()
        await watching.next()
    assert path.stat().st_mode & 0o077 == 0
    async with Watching(1, path) as watching:
        configuration = await watching.next()
        assert configuration.revision in (6, 8)
        assert configuration.aliases == ("a@local.test",)
    async with Watching(publisher.port, path) as watching:
        publisher.send(whole(9))
        while (await watching.next()).revision != 9:
            pass
        # Only a newer configuration is asked for.
        assert publisher.requests[-1].digest == b"%d" % configuration.revision


@pytest.mark.parametrize("content", [None, b"", b"\xff\xff garbage"])
async def test_no_kept_configuration_or_garbage_is_none(
    publisher: Publisher, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "snapshot"
    if content is not None:
        # Sealed with the right key, so that the content itself is looked at.
        SealedFile(path).write(content)
    async with Watching(publisher.port, path) as watching:
        # Empty bytes are a protobuf message too, but no whole configuration.
        assert watching.watch.current is None
        publisher.send(whole(5))
        assert (await watching.next()).revision == 5


async def test_an_unsealed_file_is_not_used(publisher: Publisher, tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    path.write_bytes(whole(5).SerializeToString())
    async with Watching(publisher.port, path) as watching:
        assert watching.watch.current is None
