"""Keeps a stream to each replica behind the targets of a setting, even when the answers of the name server change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from libs.runtime.endpoints import Endpoints
from services.ingress.clients.stream import FrameStream

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 5.0


class Replicas:
    """The streams to all replicas. `join` makes the stream to a new replica."""

    def __init__(self, service: str, targets: Sequence[str], join: Callable[[str], FrameStream]) -> None:
        self._service = service
        self._endpoints = Endpoints(targets)
        self._join = join
        self._streams: dict[str, FrameStream] = {}

    async def run(self) -> None:
        """Keeps the streams open until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._follow(await self._endpoints.look_up(), group)
                if not self._endpoints.named:
                    return
                await asyncio.sleep(_LOOK_SECONDS)

    def _follow(self, addresses: Sequence[str], group: asyncio.TaskGroup) -> None:
        for address in addresses:
            if address not in self._streams:
                self._streams[address] = stream = self._join(address)
                group.create_task(stream.run())
        for address in self._streams.keys() - set(addresses):
            log.info("replica_removed", service=self._service, target=address)
            self._streams.pop(address).retire()
