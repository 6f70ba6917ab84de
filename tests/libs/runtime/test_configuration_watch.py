"""The watch on config_api puts changes in force, reports them, refuses a bad change, and stores the last good state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import grpc
import pytest
from posthouse.config.v1 import config_pb2 as pb
from posthouse.config.v1 import config_pb2_grpc

from libs.runtime import configuration_watch, endpoints
from libs.runtime.addresses import TcpAddress, UnixSocket
from libs.runtime.configuration_watch import (
    ConfigurationWatch,
    PieceChange,
    SnapshotMetrics,
    SnapshotSource,
    replica_name,
)
from libs.runtime.dialing import Dialers
from libs.runtime.sealed_file import SealedFile
from tests.fakes.config_api import ConfigApi
from tests.peers.plain_grpc import INSECURE
from tests.peers.ports import free_address, free_port

METRICS = SnapshotMetrics("watch_test")


@dataclass(frozen=True, slots=True)
class Configuration:
    revision: int
    pieces: tuple[str, ...]


class Reader:
    """Joins the contents in the order of their keys, and refuses the content `bad`."""

    def __init__(self) -> None:
        self._pieces: dict[str, bytes] = {}

    def read(self, changes: Sequence[PieceChange], revision: int) -> Configuration:
        for key, before, after in changes:
            assert before != after
            assert self._pieces.get(key, b"") == before
            self._pieces[key] = after
        if b"bad" in self._pieces.values():
            raise ValueError("a bad piece")
        return Configuration(revision, tuple(self._pieces[key].decode() for key in sorted(self._pieces)))


def open_watch(channel: grpc.aio.Channel) -> grpc.aio.StreamStreamCall[pb.WatchRequest, pb.SnapshotPart]:
    return config_pb2_grpc.ConfigurationStub(channel).WatchRelay()


class Watching:
    """A running watch, and the configurations that it has put in force."""

    def __init__(self, port: int, path: Path, name: str = "127.0.0.1", wait_seconds: float = 60.0) -> None:
        self._dialers = Dialers("config_api", (f"{name}:{port}",), INSECURE)
        source = SnapshotSource("relay", open_watch, pb.WatchRequest, pb.SnapshotPart, Reader)
        self.watch = ConfigurationWatch(source, self._dialers, SealedFile(path), METRICS, "relay-2", wait_seconds)
        self._configurations: asyncio.Queue[Configuration] = asyncio.Queue()
        self.watch.on_revision.append(self._configurations.put_nowait)
        self.changed: list[int] = []
        self.watch.on_change.append(lambda configuration: self.changed.append(configuration.revision))

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
async def config_api() -> AsyncIterator[ConfigApi]:
    running = ConfigApi()
    await running.start()
    yield running
    await running.stop()


async def test_a_whole_snapshot_and_then_changes_are_put_in_force(config_api: ConfigApi, tmp_path: Path) -> None:
    config_api.send(5, {"a": b"1", "b": b"2", "c": b"3"}, parts=2, whole=True)
    async with Watching(config_api.port, tmp_path / "snapshot") as watching:
        assert await watching.next() == Configuration(5, ("1", "2", "3"))
        await watching.watch.configured()
        config_api.send(6, {"b": b"", "d": b"4"})
        assert await watching.next() == Configuration(6, ("1", "", "3", "4"))
        # This revision changes nothing for this service.
        config_api.send(7, {})
        assert (await watching.next()).revision == 7
        assert watching.watch.current == Configuration(7, ("1", "", "3", "4"))
        assert watching.watch.revision == 7
        assert watching.changed == [5, 6]
        config_api.send(8, {"z": b"9"}, whole=True)
        assert await watching.next() == Configuration(8, ("9",))


async def test_config_api_gets_the_revision_in_force_and_the_end_of_the_replica(
    config_api: ConfigApi, tmp_path: Path
) -> None:
    config_api.send(5, {"a": b"1"}, whole=True)
    async with Watching(config_api.port, tmp_path / "snapshot"):
        await config_api.heard(lambda heard: [message.revision_in_force for message in heard.messages] == [5])
        config_api.send(6, {"a": b"bad"})
        config_api.send(7, {"a": b"2"})
        await config_api.heard(lambda heard: [message.revision_in_force for message in heard.messages] == [5, 7])
        (first,) = config_api.watches
        assert (first.consumer, first.digest, first.revision_in_force) == ("relay-2", b"", 0)
    assert [message.leaving for message in config_api.messages] == [False, False, True]


async def test_a_lost_watch_is_opened_again_with_the_present_digest(config_api: ConfigApi, tmp_path: Path) -> None:
    async with Watching(config_api.port, tmp_path / "snapshot") as watching:
        digest = config_api.send(5, {"a": b"1"}, whole=True)
        await watching.next()
        # This is the beginning of a revision whose last part does not come.
        config_api.send_part(pb.SnapshotPart(pieces=[pb.SnapshotPiece(key="b", content=b"2")]))
        config_api.end_stream()
        config_api.send(6, {"c": b"3"})
        assert await watching.next() == Configuration(6, ("1", "3"))
        assert [(watch.digest, watch.revision_in_force) for watch in config_api.watches] == [(b"", 0), (digest, 5)]


async def test_a_whole_snapshot_is_requested_when_digests_differ(config_api: ConfigApi, tmp_path: Path) -> None:
    async with Watching(config_api.port, tmp_path / "snapshot") as watching:
        config_api.send(5, {"a": b"1"}, whole=True)
        await watching.next()
        config_api.send_part(pb.SnapshotPart(last=True, revision=6, digest=b"another"))
        await config_api.heard(lambda heard: len(heard.watches) == 2)
        assert config_api.watches[-1].digest == b""
        config_api.send(7, {"a": b"2"})
        while await watching.next() != Configuration(7, ("2",)):
            pass


async def test_a_name_with_several_addresses_counts_as_several_replicas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = [free_address() for _ in range(3)]
    port = free_port(*hosts)

    async def addresses(_: str) -> list[str]:
        return hosts

    monkeypatch.setattr(endpoints, "addresses", addresses)
    # The third address has no server.
    replicas = [ConfigApi(host, port) for host in hosts[:2]]
    for replica in replicas:
        await replica.start()
    digest, _ = [replica.send(5, {"a": b"1"}, whole=True) for replica in replicas]
    async with Watching(port, tmp_path / "snapshot", "config-api") as watching:
        assert (await watching.next()).revision == 5
        (asked,) = [replica for replica in replicas if replica.watches]
        (other,) = [replica for replica in replicas if replica is not asked]
        await asked.stop()
        other.send(6, {"a": b"2"})
        while (await watching.next()).revision != 6:
            pass
        assert [request.digest for request in other.watches] == [digest]
    await other.stop()


async def test_an_invalid_configuration_is_refused_and_not_read_again(config_api: ConfigApi, tmp_path: Path) -> None:
    refused_before = METRICS.errors._value.get()
    async with Watching(config_api.port, tmp_path / "snapshot") as watching:
        config_api.send(5, {"a": b"1", "b": b"2"}, whole=True)
        await watching.next()
        digest = config_api.send(6, {"a": b"bad", "b": b"3"})
        config_api.send(7, {})
        config_api.end_stream()
        config_api.send(8, {})
        # Piece b was refused together with piece a. Piece b comes in force when piece a is corrected.
        config_api.send(9, {"a": b"4"})
        assert await watching.next() == Configuration(9, ("4", "3"))
        assert [(watch.digest, watch.revision_in_force) for watch in config_api.watches] == [(b"", 0), (digest, 5)]
    assert METRICS.errors._value.get() - refused_before == 1


async def test_the_last_good_configuration_is_used_after_a_start_without_config_api(
    config_api: ConfigApi, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "snapshot"
    async with Watching(config_api.port, path) as watching:
        config_api.send(5, {"a": b"1"}, whole=True)
        await watching.next()
        digest = config_api.send(6, {"a": b"2"})
        config_api.send(7, {"b": b"bad"})
        config_api.send(8, {"b": b"worse", "c": b"bad"})
        await watching.next()
        await config_api.heard(lambda heard: heard.messages[-1].revision_in_force == 6)
    assert path.stat().st_mode & 0o077 == 0
    async with Watching(1, path, wait_seconds=0) as watching:
        assert await watching.next() == Configuration(6, ("2",))
    async with Watching(config_api.port, path) as watching:
        # The watch asks only for what differs from the stored snapshot.
        await config_api.heard(lambda heard: len(heard.watches) == 2)
        assert config_api.watches[-1].digest == digest


async def test_the_stored_configuration_is_not_used_while_config_api_can_send_a_newer_one(
    config_api: ConfigApi, tmp_path: Path
) -> None:
    """The stored snapshot could permanently refuse a client or recipient that was allowed after it was stored."""
    path = tmp_path / "snapshot"
    async with Watching(config_api.port, path) as watching:
        config_api.send(5, {"a": b"1"}, whole=True)
        await watching.next()
    async with Watching(config_api.port, path) as watching:
        await config_api.heard(lambda heard: len(heard.watches) == 2)
        assert (watching.watch.current, watching.watch.revision) == (None, 0)
        config_api.send(6, {"a": b"2"})
        assert await watching.next() == Configuration(6, ("2",))
        assert watching.changed == [6]


async def test_many_changes_are_stored_with_few_writes(
    config_api: ConfigApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration_watch, "_KEEP_SECONDS", 3600)
    written: list[bytes] = []
    write = SealedFile.write

    def count(file: SealedFile, content: bytes) -> None:
        written.append(content)
        write(file, content)

    monkeypatch.setattr(SealedFile, "write", count)
    path = tmp_path / "snapshot"
    async with Watching(config_api.port, path) as watching:
        for number in range(20):
            config_api.send(number + 1, {"a": b"%d" % number}, whole=number == 0)
            await watching.next()
    # One snapshot is stored at once, and the newest snapshot is stored when the process stops.
    assert len(written) == 2
    async with Watching(1, path, wait_seconds=0) as watching:
        assert await watching.next() == Configuration(20, ("19",))


@pytest.mark.parametrize("content", [None, b"", b"\xff\xff garbage"])
async def test_a_missing_or_damaged_stored_configuration_is_ignored(
    config_api: ConfigApi, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "snapshot"
    if content is not None:
        # The content is encrypted with the right key, so only the check of the content can refuse it.
        SealedFile(path).write(content)
    async with Watching(config_api.port, path) as watching:
        # An empty file would be a valid protobuf message, but it is not a complete configuration.
        assert watching.watch.current is None
        config_api.send(5, {"a": b"1"}, whole=True)
        assert (await watching.next()).revision == 5


async def test_a_file_that_is_not_encrypted_is_not_used(config_api: ConfigApi, tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    path.write_bytes(pb.SnapshotPart(whole=True, last=True, revision=5).SerializeToString())
    async with Watching(config_api.port, path) as watching:
        assert watching.watch.current is None


def test_the_name_of_a_replica_is_derived_from_its_address() -> None:
    assert replica_name("policy", UnixSocket(Path("/srv/var/run/policy-2.sock"))) == "policy-2"
    assert replica_name("policy", TcpAddress("0.0.0.0", 7001)).endswith(":7001")
