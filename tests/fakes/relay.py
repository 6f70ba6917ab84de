"""A stand-in for the relay service: it keeps submissions in memory and acknowledges them as its script says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import grpc
from posthouse.relay.v1 import relay_pb2 as pb
from posthouse.relay.v1 import relay_pb2_grpc


@dataclass(slots=True)
class Stored:
    """A complete submission. `content` is joined from the inline content or the chunks in which it arrived."""

    submission: pb.Submission
    content: bytes
    chunks: int = 0

    @property
    def recipients(self) -> list[bytes]:
        return [recipient.address for recipient in self.submission.envelope.recipients]


class FakeRelay(relay_pb2_grpc.RelayServicer):
    """A gRPC server for relay.

    `stored` maps submission ids to submissions; a submission that arrives twice is stored once. `result` is the result
    in the next acknowledgements.
    """

    def __init__(self) -> None:
        self.stored: dict[str, Stored] = {}
        self.refused: list[pb.RefusedMessage] = []
        self.abandoned: list[str] = []
        self.result: int = pb.SubmitAck.RESULT_STORED
        # The queue id given to every message. When it is empty, each message gets a queue id of its own.
        self.queue_id = ""
        self.storage = pb.StorageState(accepting=True, available=1 << 40)
        # While this event is cleared, submissions are received but not acknowledged.
        self.acknowledging = asyncio.Event()
        self.acknowledging.set()
        self.frames = 0
        self._server: grpc.aio.Server | None = None
        self._changed = asyncio.Condition()
        self._writers: set[asyncio.Queue[pb.SubmitAckFrame | None]] = set()
        self.port = 0

    @property
    def messages(self) -> list[Stored]:
        return list(self.stored.values())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until `condition` holds for the submissions that were received."""
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(condition)

    async def tell_storage(self, storage: pb.StorageState) -> None:
        self.storage = storage
        for queue in self._writers:
            queue.put_nowait(pb.SubmitAckFrame(storage=storage))

    async def start(self, port: int = 0) -> None:
        self._server = grpc.aio.server(
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 64 * 1024 * 1024)]
        )
        relay_pb2_grpc.add_RelayServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port or self.port}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    async def Submit(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[pb.SubmitFrame], context: object
    ) -> AsyncIterator[pb.SubmitAckFrame]:
        queue: asyncio.Queue[pb.SubmitAckFrame | None] = asyncio.Queue()
        self._writers.add(queue)
        queue.put_nowait(pb.SubmitAckFrame(storage=self.storage))
        reader = asyncio.create_task(self._read(request_iterator, queue))
        try:
            while (frame := await queue.get()) is not None:
                yield frame
        finally:
            reader.cancel()
            self._writers.discard(queue)

    async def _read(
        self, request_iterator: AsyncIterator[pb.SubmitFrame], queue: asyncio.Queue[pb.SubmitAckFrame | None]
    ) -> None:
        open_ones: dict[str, tuple[pb.Submission, list[bytes]]] = {}
        async for frame in request_iterator:
            whole: list[Stored] = []
            for submission in frame.submissions:
                if submission.content or not submission.content_size:
                    whole.append(Stored(submission, submission.content))
                else:
                    open_ones[submission.id] = (submission, [])
            for chunk in frame.chunks:
                submission, parts = open_ones[chunk.submission_id]
                parts.append(chunk.data)
                if chunk.last:
                    del open_ones[chunk.submission_id]
                    whole.append(Stored(submission, b"".join(parts), len(parts)))
            async with self._changed:
                self.frames += 1
                self.refused.extend(frame.refused)
                self.abandoned.extend(frame.abandoned_submission_ids)
                self._changed.notify_all()
            await self.acknowledging.wait()
            await self._keep(whole, queue)
        queue.put_nowait(None)

    async def _keep(self, whole: list[Stored], queue: asyncio.Queue[pb.SubmitAckFrame | None]) -> None:
        acks = []
        for stored in whole:
            submission_id = stored.submission.id
            if self.result == pb.SubmitAck.RESULT_STORED:
                self.stored.setdefault(submission_id, stored)
            acks.append(
                pb.SubmitAck(
                    submission_id=submission_id,
                    result=self.result,  # type: ignore[arg-type]
                    queue_id=self.queue_id or f"q{len(self.stored)}",
                )
            )
        if acks:
            queue.put_nowait(pb.SubmitAckFrame(acks=acks))
            async with self._changed:
                self._changed.notify_all()
