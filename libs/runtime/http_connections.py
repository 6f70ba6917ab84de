"""Limits HTTP connections, so that one client cannot block others: deadlines for head and body of a request, and a
limit of connections for each client.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The time for the whole head of a request, from its first octet or from the start of the connection.
HEAD_SECONDS = 30.0
# The longest time without an octet of a body, or of an answer that waits for its reader.
SILENCE_SECONDS = 30.0
# The time for the whole body: 64 MB at the speed of a slow line.
BODY_SECONDS = 600.0
_SWEEP_SECONDS = 1.0


class ConnectionGuard:
    """The open connections of one server. `run` closes those that exceed a deadline.

    When a client has too many connections, one of them is closed: of those on which no whole request waits for its
    answer, the one that was silent for the longest time, or the newest connection if there are none. The connections of
    proxies are not limited, because they serve many clients. `client_key` returns the key under which an IP address is
    counted, and raises ValueError for a text that is not an address.
    """

    def __init__(
        self,
        most_per_client: int,
        proxies: Sequence[Network],
        client_key: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self._client_key = client_key
        self._most_per_client = most_per_client
        self._proxies = proxies
        self._by_client: dict[str, set[GuardedProtocol]] = {}

    def protocol(self, **arguments: Any) -> GuardedProtocol:
        """Makes the protocol of a connection. uvicorn calls this."""
        return GuardedProtocol(self, **arguments)

    async def run(self) -> None:
        """Checks the deadlines of all connections, without end."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = self.clock()
            for connection in [each for group in self._by_client.values() for each in group]:
                if connection.is_overdue(now):
                    connection.transport.abort()

    def key_of(self, client: tuple[str, int] | None) -> str:
        """Returns the key under which the client at this address is counted."""
        try:
            return self._client_key(client[0]) if client is not None else "unknown"
        except ValueError:
            return "unknown"

    def add(self, connection: GuardedProtocol) -> None:
        group = self._by_client.setdefault(connection.client_key, set())
        group.add(connection)
        if len(group) > self._most_per_client and not self._is_proxy(connection):
            self._one_of(group, connection).transport.abort()

    def remove(self, connection: GuardedProtocol) -> None:
        group = self._by_client.get(connection.client_key, set())
        group.discard(connection)
        if not group:
            self._by_client.pop(connection.client_key, None)

    def _is_proxy(self, connection: GuardedProtocol) -> bool:
        if connection.client is None:
            return False
        address = ipaddress.ip_address(connection.client[0].partition("%")[0])
        return any(address in network for network in self._proxies)

    def _one_of(self, group: Iterable[GuardedProtocol], newest: GuardedProtocol) -> GuardedProtocol:
        waiting = [each for each in group if each is not newest and not each.serves and not each.transport.is_closing()]
        return min(waiting, key=lambda each: each.last_octet_at, default=newest)


class GuardedProtocol(H11Protocol):
    """The protocol of uvicorn, extended so that it measures how long the client makes the server wait."""

    def __init__(self, guard: ConnectionGuard, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._guard = guard
        self.client_key = ""
        self.last_octet_at = guard.clock()
        # The times when the present head and the present body began, the number of octets that the client has not read,
        # and the time since which this number has not changed.
        self._head_since: float | None = None
        self._body_since: float | None = None
        self._unread = 0
        self._unread_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.client_key = self._guard.key_of(self.client)
        self.last_octet_at = self._head_since = self._guard.clock()
        self._guard.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.last_octet_at = self._guard.clock()
        if self._head_since is None and self.conn.their_state is h11.IDLE:
            self._head_since = self.last_octet_at
        super().data_received(data)
        state = self.conn.their_state
        if state is not h11.IDLE:
            self._head_since = None
        if state is not h11.SEND_BODY:
            self._body_since = None
        elif self._body_since is None:
            self._body_since = self.last_octet_at

    @property
    def serves(self) -> bool:
        """Whether a whole request has arrived that is not answered yet."""
        if self._head_since is not None or self._body_since is not None:
            return False
        # The cycle is None before the first request.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def is_overdue(self, now: float) -> bool:
        if self._head_since is not None:
            return now - self._head_since > HEAD_SECONDS
        if self._body_since is not None and self.flow.read_paused:
            # The server reads no more until it handles the request, so the client's time does not run.
            self._body_since = self.last_octet_at = now
        elif self._body_since is not None:
            is_silent = now - self.last_octet_at > SILENCE_SECONDS
            return is_silent or now - self._body_since > BODY_SECONDS
        return self._is_unread(now)

    def _is_unread(self, now: float) -> bool:
        """Whether the client does not read the answer."""
        unread = self.transport.get_write_buffer_size()
        if not unread or unread != self._unread:
            self._unread, self._unread_since = unread, now
        return unread > 0 and now - self._unread_since > SILENCE_SECONDS
