"""Calls now and then to one of several replicas: whom to call next, as names and their addresses change."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from libs.runtime.endpoints import Endpoint, Endpoints
from libs.runtime.rpc import LONGEST_CALL_SECONDS, Dialer, TlsFiles

# An answer of the name server is good for so long.
_LOOK_SECONDS = 5.0


class NobodyError(Exception):
    """There is no replica: none of the names has an address."""


class Dialers:
    """The replicas that `targets` (host:port) stand for: every address of every name is one.

    They are called in an order of their own, so that those who call do not all call the same one.
    """

    def __init__(self, targets: Sequence[str], tls: TlsFiles | None) -> None:
        self._endpoints = Endpoints(targets)
        self._tls = tls
        # Whom to call first comes first.
        self._dialers: dict[Endpoint, Dialer] = {}
        self._looked_at = float("-inf")
        self._look: asyncio.Task[None] | None = None
        # Of replicas that are gone; calls on them may still be under way.
        self._leaving: set[asyncio.Task[None]] = set()

    async def all(self) -> tuple[Dialer, ...]:
        """As far as they are known now, in the order in which to call them. Raises NobodyError.

        Only the first time a look-up is waited for; later ones go on meanwhile, so that no call waits for a name
        server.
        """
        if self._stale() and (self._look is None or self._look.done()):
            self._look = asyncio.create_task(self._look_up())
        if not self._dialers and self._look is not None:
            await asyncio.shield(self._look)
        if not self._dialers:
            raise NobodyError
        return tuple(self._dialers.values())

    async def first(self) -> Dialer:
        """Whom to call. Raises NobodyError."""
        return (await self.all())[0]

    def failed(self, dialer: Dialer) -> None:
        """It did not answer: the others are called before it, and the names are looked up again."""
        for endpoint, each in self._dialers.items():
            if each is dialer:
                self._dialers[endpoint] = self._dialers.pop(endpoint)
                break
        if self._endpoints.named:
            self._looked_at = float("-inf")

    async def close(self) -> None:
        tasks = [*self._leaving, *([] if self._look is None else [self._look])]
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
        return asyncio.get_running_loop().time() - self._looked_at > _LOOK_SECONDS or not self._dialers

    async def _look_up(self) -> None:
        found = await self._endpoints.look()
        self._looked_at = asyncio.get_running_loop().time()
        fresh = [endpoint for endpoint in found if endpoint not in self._dialers]
        random.shuffle(fresh)
        for endpoint in fresh:
            self._dialers[endpoint] = Dialer(endpoint.address, self._tls, endpoint.name)
        for endpoint in self._dialers.keys() - set(found):
            task = asyncio.create_task(_leave(self._dialers.pop(endpoint)))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)


async def _leave(dialer: Dialer) -> None:
    """Closes it when nobody can be calling it any more."""
    try:
        await asyncio.sleep(LONGEST_CALL_SECONDS)
    finally:
        await dialer.close()
