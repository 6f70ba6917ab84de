"""Chooses the replica for occasional calls, while the names of replicas and their addresses may change."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from libs.runtime.endpoints import Endpoints
from libs.runtime.rpc import LONGEST_CALL_SECONDS, Dialer
from libs.runtime.security import Security

# Names are looked up again when the last answer is older than this.
_FRESH_SECONDS = 5.0


class NoReplicaError(Exception):
    """There is no replica to call: none of the names has an address."""


class Dialers:
    """The replicas of `service` behind `targets`: every Unix socket, and every address of every name.

    Each process has its own order, so that not all processes call the same replica first.
    """

    def __init__(self, service: str, targets: Sequence[str], security: Security) -> None:
        self._service = service
        self._endpoints = Endpoints(targets)
        self._security = security
        # The dialers, in the order in which they are called.
        self._dialers: dict[str, Dialer] = {}
        self._looked_up_at = float("-inf")
        self._look: asyncio.Task[None] | None = None
        # Tasks that close the dialers of removed replicas, on which calls may still be running.
        self._closing: set[asyncio.Task[None]] = set()

    async def all(self) -> tuple[Dialer, ...]:
        """Returns the known replicas, in the order in which to call them. Raises NoReplicaError.

        A look-up is awaited only while no replica is known. Other look-ups run in the background, so that no call waits
        for a name server.
        """
        if self._stale() and (self._look is None or self._look.done()):
            self._look = asyncio.create_task(self._look_up())
        if not self._dialers and self._look is not None:
            await asyncio.shield(self._look)
        if not self._dialers:
            raise NoReplicaError
        return tuple(self._dialers.values())

    async def first(self) -> Dialer:
        """Returns the replica to call. Raises NoReplicaError."""
        return (await self.all())[0]

    def failed(self, dialer: Dialer) -> None:
        """Notes that a replica did not answer: the others are called before it, and the names are looked up again."""
        for endpoint, known_dialer in self._dialers.items():
            if known_dialer is dialer:
                self._dialers[endpoint] = self._dialers.pop(endpoint)
                break
        if self._endpoints.named:
            self._looked_up_at = float("-inf")

    async def close(self) -> None:
        tasks = [*self._closing, *([] if self._look is None else [self._look])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for dialer in self._dialers.values():
            await dialer.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _stale(self) -> bool:
        if self._dialers and not self._endpoints.named:
            return False
        return asyncio.get_running_loop().time() - self._looked_up_at > _FRESH_SECONDS or not self._dialers

    async def _look_up(self) -> None:
        targets = await self._endpoints.look_up()
        self._looked_up_at = asyncio.get_running_loop().time()
        new = [target for target in targets if target not in self._dialers]
        random.shuffle(new)
        for target in new:
            self._dialers[target] = Dialer(target, self._security, self._service)
        for target in self._dialers.keys() - set(targets):
            task = asyncio.create_task(_close_later(self._dialers.pop(target)))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _close_later(dialer: Dialer) -> None:
    """Closes a dialer after the time in which the longest call on it must end."""
    try:
        await asyncio.sleep(LONGEST_CALL_SECONDS)
    finally:
        await dialer.close()
