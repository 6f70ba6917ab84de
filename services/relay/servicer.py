"""relay.v1.Relay over gRPC: submissions in, acknowledgements out; what operators ask is answered by `operating`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import structlog
from posthouse.relay.v1 import relay_pb2 as pb
from posthouse.relay.v1 import relay_pb2_grpc

from services.relay import wire
from services.relay.intake import Intake, Stream
from services.relay.storage import Storage, StorageState

log = structlog.get_logger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["Relay"].full_name

_Context = grpc.aio.ServicerContext[object, object]


class RelayServicer(relay_pb2_grpc.RelayServicer):
    """The contract."""

    def __init__(self, intake: Intake, storage: Storage) -> None:
        self._intake = intake
        self._storage = storage

    def register(self, server: grpc.aio.Server) -> None:
        relay_pb2_grpc.add_RelayServicer_to_server(self, server)

    async def Submit(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[pb.SubmitFrame], _: object
    ) -> AsyncIterator[pb.SubmitAckFrame]:
        stream = Stream(self._intake)
        changes: list[StorageState] = [self._storage.state]

        def storage_changed(state: StorageState) -> None:
            changes[:] = [state]
            stream.changed.set()

        self._storage.on_change.append(storage_changed)
        stream.changed.set()
        reader = asyncio.create_task(self._read(request_iterator, stream))
        reader.add_done_callback(lambda _: stream.changed.set())
        try:
            while True:
                await stream.changed.wait()
                stream.changed.clear()
                if changes:
                    yield wire.storage(changes.pop())
                acks = stream.take_acks()
                if acks:
                    yield wire.acks(acks)
                elif reader.done() and not stream.pending:
                    break
        finally:
            self._storage.on_change.remove(storage_changed)
            reader.cancel()
            stream.close()

    async def _read(self, frames: AsyncIterator[pb.SubmitFrame], stream: Stream) -> None:
        async for frame in frames:
            stream.feed(wire.frame(frame))
            await self._intake.roomy()
