"""Makes a session with one of several addresses.

After a failed handshake it tries once in plaintext where that is allowed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from services.relay.delivery.concurrency import DeadHosts
from services.relay.delivery.smtp.connecting import connect_first
from services.relay.delivery.smtp.protocol import DeliveryProtocol
from services.relay.delivery.smtp.session import Session, SessionOpener, Watcher
from services.relay.delivery.targets.address_families import AddressFamilyCache
from services.relay.delivery.targets.endpoint import Endpoint, HostFailedError
from services.relay.delivery.targets.tls import BrokenTls


class SessionConnector:
    """Opens sessions. There is one in each process. It remembers which addresses answer, and which have broken TLS."""

    def __init__(
        self, opener: SessionOpener, families: AddressFamilyCache, clock: Callable[[], float], connect_seconds: float
    ) -> None:
        self._opener = opener
        self._families = families
        self._clock = clock
        self._connect_seconds = connect_seconds
        self._dead = DeadHosts()
        self._broken_tls = BrokenTls(clock)

    def in_order(self, endpoints: tuple[Endpoint, ...]) -> list[Endpoint]:
        """Returns the same addresses, with those that are known to be dead at the end."""
        now = self._clock()
        lively: list[Endpoint] = []
        dead: list[Endpoint] = []
        for endpoint in endpoints:
            avoided = self._dead.avoid(endpoint.address, endpoint.port, now)
            (dead if avoided else lively).append(endpoint)
        return lively + dead

    async def session(
        self,
        endpoints: deque[Endpoint],
        hostname: str,
        failures: list[HostFailedError],
        watcher: Watcher | None = None,
    ) -> Session | None:
        """Returns a session with the first endpoint that answers, or None when no endpoint answers, or when the first
        that answers opens no session.

        Each endpoint that was tried is removed from `endpoints`, and the reason of its failure is added to `failures`.
        With a `watcher`, the results of earlier sessions with the addresses are not used.
        """
        connected = await self._connect(endpoints, failures, watcher)
        if connected is None:
            return None
        endpoint, protocol = connected
        broken = watcher is None and self._broken_tls.known(endpoint.address, endpoint.port)
        try:
            return await self._opener.open(protocol, endpoint, hostname, without_tls=broken, watcher=watcher)
        except HostFailedError as error:
            failures.append(error)
            if error.silent and watcher is None:
                # This host is worse than one that refuses connections, because each message would wait for its
                # time-out.
                self._dead.failed(endpoint.address, endpoint.port, self._clock(), silent=True)
            if not error.tls_broken:
                return None
        # Connects again without TLS. For the next hour this host is contacted without TLS at once (C127).
        self._broken_tls.remember(endpoint.address, endpoint.port)
        connected = await self._connect(deque([endpoint]), failures, watcher)
        if connected is None:
            return None
        try:
            return await self._opener.open(connected[1], endpoint, hostname, without_tls=True, watcher=watcher)
        except HostFailedError as error:
            failures.append(error)
            return None

    async def _connect(
        self, endpoints: deque[Endpoint], failures: list[HostFailedError], watcher: Watcher | None
    ) -> tuple[Endpoint, DeliveryProtocol] | None:
        before, started = len(failures), self._clock()
        connected = await connect_first(endpoints, self._connect_seconds, self._observe, failures)
        if watcher is not None:
            for failure in failures[before:]:
                watcher.step("connect", False, f"{_shown(failure.peer.address, failure.peer.port)}: {failure}", 0.0)
            if connected is not None:
                where = _shown(connected[0].address, connected[0].port)
                watcher.step("connect", True, where, self._clock() - started)
        return connected

    def _observe(self, endpoint: Endpoint, answered: bool) -> None:
        if answered:
            self._dead.answered(endpoint.address, endpoint.port)
            self._families.remember(endpoint.host, endpoint.address)
        else:
            self._dead.failed(endpoint.address, endpoint.port, self._clock())


def _shown(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
