"""Connects to one of several addresses. When one is silent for a moment, the next is tried at the same time."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable

from services.relay.delivery.smtp.protocol import DeliveryProtocol
from services.relay.delivery.targets.endpoint import Endpoint, HostFailedError
from services.relay.model.outcome import Stage, lost

# When an address has not answered in this time, the next one is tried at the same time, and the first connection is
# used. So a broken address family (RFC 8305) or a dead host costs a moment and not the whole time-out. Another host is
# less preferred than another address of the same host, so it is tried later.
_NEXT_ADDRESS_SECONDS = 0.3
_NEXT_HOST_SECONDS = 1.0

Observer = Callable[[Endpoint, bool], None]


async def connect_first(
    endpoints: deque[Endpoint], seconds: float, observe: Observer, failures: list[HostFailedError]
) -> tuple[Endpoint, DeliveryProtocol] | None:
    """Returns the first connection that succeeds and its endpoint, or None when no connection succeeds.

    Endpoints that were tried are removed from the left of `endpoints`, and the reason of each failure is added to
    `failures`. `observe` is called with each address and whether it answered. An address that was slower than the first
    connection counts as one that did not answer.
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
    """Returns the seconds until the next endpoint is tried at the same time, or None when no endpoint is left."""
    if not others:
        return None
    return _NEXT_ADDRESS_SECONDS if others[0].host == endpoint.host else _NEXT_HOST_SECONDS


def _close_late(task: asyncio.Task[DeliveryProtocol]) -> None:
    """Closes a connection that succeeded at the moment when it was given up."""
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
