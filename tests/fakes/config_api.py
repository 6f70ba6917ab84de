"""A stand-in for config_api: it sends the snapshots that a test gives it, and records what its consumers report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import grpc
from posthouse.config.v1 import config_pb2 as pb
from posthouse.config.v1 import config_pb2_grpc

from libs.runtime import rpc
from libs.runtime.snapshot_pages import SnapshotPages
from tests.peers import plain_grpc

SERVICE = pb.DESCRIPTOR.services_by_name["Configuration"].full_name

Parts = asyncio.Queue[pb.SnapshotPart | None]


class ConfigApi(config_pb2_grpc.ConfigurationServicer):
    """A gRPC server that sends the same snapshot parts to every consumer, whichever of the two watch calls it opens."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host, self.port = host, port
        # `watches` holds the first request of each watch; `messages` holds all later ones.
        self.watches: list[pb.WatchRequest] = []
        self.messages: list[pb.WatchRequest] = []
        self.reports: list[pb.ReportRuleHitsRequest] = []
        self.upgrades: list[pb.PasswordUpgrade] = []
        # The number of reports that will still fail.
        self.failures = 0
        self._pages = SnapshotPages()
        self._revision = 0
        self._open: list[Parts] = []
        # Parts that were sent while no watch was open. The next watch gets them.
        self._backlog: list[pb.SnapshotPart | None] = []
        self._heard = asyncio.Condition()
        self._server: rpc.Server | None = None

    async def start(self) -> None:
        server = rpc.Server(
            {SERVICE: {}}, lambda server: config_pb2_grpc.add_ConfigurationServicer_to_server(self, server)
        )
        self._server = server
        self.port = await plain_grpc.start(server, self.port, self.host)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    def send(self, revision: int, pieces: Mapping[str, bytes], *, parts: int = 1, whole: bool = False) -> bytes:
        """Sends a revision in `parts` parts and returns its digest. A piece with empty content is removed."""
        if whole:
            self._pages = SnapshotPages()
        for key, content in pieces.items():
            self._pages.put(key, content)
        messages = [pb.SnapshotPart() for _ in range(parts)]
        messages[0].whole = whole
        for number, (key, content) in enumerate(pieces.items()):
            messages[number % parts].pieces.add(key=key, content=content)
        messages[-1].last = True
        messages[-1].revision = revision
        messages[-1].created_at.seconds = 1_700_000_000 + revision
        messages[-1].digest = self._pages.digest()
        self._revision = revision
        for message in messages:
            self.send_part(message)
        return messages[-1].digest

    def send_part(self, part: pb.SnapshotPart | None) -> None:
        for parts in self._open:
            parts.put_nowait(part)
        if not self._open:
            self._backlog.append(part)

    def end_stream(self) -> None:
        """Ends the open watches once all parts are sent. Parts that are sent later go to the next watch."""
        self.send_part(None)
        self._open.clear()

    async def heard(self, condition: Callable[[ConfigApi], bool]) -> None:
        """Waits until `condition` holds for the requests that were received."""
        async with asyncio.timeout(60), self._heard:
            await self._heard.wait_for(lambda: condition(self))

    async def WatchPolicy(  # noqa: N802 - the contract's name
        self, requests: AsyncIterator[pb.WatchRequest], context: object
    ) -> AsyncIterator[pb.SnapshotPart]:
        first = await anext(requests)
        async with self._heard:
            self.watches.append(first)
            self._heard.notify_all()
        parts: Parts = asyncio.Queue()
        self._open.append(parts)
        if not self._backlog and self._revision and first.digest != self._pages.digest():
            self.send(self._revision, dict(self._pages.pieces()), whole=True)
        backlog, self._backlog = self._backlog, []
        for number, each in enumerate(backlog):
            parts.put_nowait(each)
            if each is None:
                self._open.remove(parts)
                self._backlog = backlog[number + 1 :]
                break
        listening = asyncio.create_task(self._listen(requests, parts))
        try:
            while (part := await parts.get()) is not None:
                yield part
        finally:
            listening.cancel()
            if parts in self._open:
                self._open.remove(parts)

    async def WatchRelay(  # noqa: N802 - the contract's name
        self, requests: AsyncIterator[pb.WatchRequest], context: object
    ) -> AsyncIterator[pb.SnapshotPart]:
        async for part in self.WatchPolicy(requests, context):
            yield part

    async def ReportRuleHits(  # noqa: N802 - the contract's name
        self, request: pb.ReportRuleHitsRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> pb.ReportRuleHitsResponse:
        self.reports.append(request)
        if self.failures:
            self.failures -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        return pb.ReportRuleHitsResponse()

    async def UpgradePasswordHashes(  # noqa: N802 - the contract's name
        self, request: pb.UpgradePasswordHashesRequest, context: object
    ) -> pb.UpgradePasswordHashesResponse:
        self.upgrades += request.upgrades
        return pb.UpgradePasswordHashesResponse()

    async def _listen(self, requests: AsyncIterator[pb.WatchRequest], parts: Parts) -> None:
        async for message in requests:
            async with self._heard:
                self.messages.append(message)
                self._heard.notify_all()
            if message.leaving:
                parts.put_nowait(None)
