"""Relay's watch on config_api: a configuration that contradicts itself is refused, and the one before stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from posthouse.config.v1 import config_pb2 as pb

from libs.runtime import rpc
from libs.runtime.dialing import Dialers
from libs.runtime.sealed_file import SealedFile
from services.relay.configuration.model import Configuration
from services.relay.configuration.watch import configuration_watch
from tests.peers import plain_grpc

SERVICE = pb.DESCRIPTOR.services_by_name["Configuration"].full_name


def snapshot(revision: int, mode: pb.Delivery.Mode.ValueType, *aliases: str) -> pb.RelaySnapshotPart:
    configuration = pb.RelaySnapshot(
        revision=revision,
        profile=pb.Profile(hostname="gw.test"),
        delivery=pb.Delivery(mode=mode),
        aliases=[pb.Alias(id=address, address=address, targets=["t@far.test"]) for address in aliases],
    )
    return pb.RelaySnapshotPart(snapshot=configuration, last=True, digest=b"%d" % revision)


async def watch_relay(_: pb.WatchRequest, context: Any) -> AsyncIterator[pb.RelaySnapshotPart]:
    yield snapshot(5, pb.Delivery.MODE_DIRECT, "a@local.test")
    # There is no relay host for this mode.
    yield snapshot(6, pb.Delivery.MODE_RELAY_HOST)
    yield snapshot(7, pb.Delivery.MODE_DIRECT)
    await asyncio.Event().wait()


def register(server: grpc.aio.Server) -> None:
    handler = grpc.unary_stream_rpc_method_handler(
        watch_relay,
        request_deserializer=pb.WatchRequest.FromString,
        response_serializer=pb.RelaySnapshotPart.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"WatchRelay": handler}),))


async def test_a_bad_configuration_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:
    server = rpc.Server({SERVICE: {}}, register)
    port = await plain_grpc.start(server)
    configurations: asyncio.Queue[Configuration] = asyncio.Queue()
    async with Dialers("config_api", (f"127.0.0.1:{port}",), plain_grpc.INSECURE) as dialers:
        watch = configuration_watch(dialers, SealedFile(tmp_path / "snapshot"))
        watch.on_change.append(configurations.put_nowait)
        task = asyncio.create_task(watch.run())
        async with asyncio.timeout(60):
            first, second = await configurations.get(), await configurations.get()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await server.stop(0)
    assert first.revision == 5
    assert first.aliases.keys() == {b"a@local.test"}
    assert second.revision == 7
