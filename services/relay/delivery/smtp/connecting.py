"""Connecting: one address after the other, the next one soon when the first keeps silent."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable

from services.relay.delivery.smtp.protocol import DeliveryProtocol
from services.relay.delivery.targets.endpoint import Endpoint, HostFailedError
from services.relay.model.outcome import Stage, lost

# An address that hasn't answered in this time gets company from the next; the first to connect is used, so that a
# broken address family (RFC 8305) or a dead host costs a moment and not the whole time-out. Another host is less
# wanted than another address of the same one, and gets its chance later.
_NEXT_ADDRESS_SECONDS = 0.3
_NEXT_HOST_SECONDS = 1.0

Observer = Callable[[Endpoint, bool], None]


async def connect_first(
    endpoints: deque[Endpoint], seconds: float, observe: Observer, failures: list[HostFailedError]
) -> tuple[Endpoint, DeliveryProtocol] | None:
    """The first connection that comes about, and where it leads; None when none did.

    Endpoints that were tried are taken from the left of `endpoints`, and why each failed is added to `failures`.
    `observe` hears of every address whether it answered; one that lost the race for being slow did not.
    """
    running: dict[asyncio.Task[DeliveryProtocol], Endpoint] = {}
    try:
        while endpoints or running:
            patience: float | None = None
            if endpoints:
                endpoint = endpoints.popleft()
                running[asyncio.create_task(_connect(endpoint, seconds))] = endpoint
                patience = _patience(endpoint, endpoints)
            done, _ = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                endpoint = running.pop(task)
                error = task.exception()
                if error is None:
                    observe(endpoint, True)
                    return endpoint, task.result()
                if not isinstance(error, HostFailedError):
                    raise error
                observe(endpoint, False)
                failures.append(error)
        return None
    finally:
        for task, endpoint in running.items():
            observe(endpoint, False)
            task.cancel()
            task.add_done_callback(_close_late)


def _patience(endpoint: Endpoint, others: deque[Endpoint]) -> float | None:
    """Seconds until the next one is tried beside it; None when there is none."""
    if not others:
        return None
    return _NEXT_ADDRESS_SECONDS if others[0].host == endpoint.host else _NEXT_HOST_SECONDS


def _close_late(task: asyncio.Task[DeliveryProtocol]) -> None:
    """A connection that came about in the moment it was given up."""
    if not task.cancelled() and task.exception() is None:
        task.result().abort()


async def _connect(endpoint: Endpoint, seconds: float) -> DeliveryProtocol:
    loop = asyncio.get_running_loop()

    def protocol() -> DeliveryProtocol:
        return DeliveryProtocol(loop)

    try:
        async with asyncio.timeout(seconds):
            if endpoint.address.startswith("/"):
                _, connected = await loop.create_unix_connection(protocol, endpoint.address)
            else:
                _, connected = await loop.create_connection(protocol, endpoint.address, endpoint.port)
            return connected
    except TimeoutError as error:
        raise HostFailedError(lost(Stage.CONNECT, "time-out", "no connection"), endpoint.peer()) from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "no connection"
        raise HostFailedError(lost(Stage.CONNECT, "no connection", reason), endpoint.peer()) from error
