"""A stream to each replica that the targets of a setting stand for, as the name server's answers change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from libs.runtime.endpoints import Endpoint, Endpoints
from services.ingress.clients.stream import FrameStream

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 5.0


class Replicas:
    """`join` makes the stream to a replica that was not there before."""

    def __init__(self, service: str, targets: Sequence[str], join: Callable[[Endpoint], FrameStream]) -> None:
        self._service = service
        self._endpoints = Endpoints(targets)
        self._join = join
        self._streams: dict[Endpoint, FrameStream] = {}

    async def run(self) -> None:
        """Keeps the streams open until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._follow(await self._endpoints.look_up(), group)
                if not self._endpoints.named:
                    return
                await asyncio.sleep(_LOOK_SECONDS)

    def _follow(self, found: Sequence[Endpoint], group: asyncio.TaskGroup) -> None:
        for endpoint in found:
            if endpoint not in self._streams:
                self._streams[endpoint] = stream = self._join(endpoint)
                group.create_task(stream.run())
        for endpoint in self._streams.keys() - set(found):
            log.info("replica_gone", service=self._service, target=endpoint.address)
            self._streams.pop(endpoint).retire()
