"""The number of recipients that each server accepts in one transaction, learnt from its replies (RFC
5321 4.5.3.1.10).
"""

from __future__ import annotations

from collections.abc import Callable

from services.relay.delivery.targets.endpoint import Endpoint

# A limit is forgotten after this time, since the server may have been short of resources for a while only.
_LIFETIME_SECONDS = 3600.0
_SERVER_LIMIT = 10_000


class RecipientLimits:
    """The limits of all servers, bounded in number and time. There is one in each process.

    With these limits, a transaction offers no more recipients than the server accepts.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._limits: dict[tuple[str, int], tuple[int, float]] = {}

    def remember(self, endpoint: Endpoint, limit: int) -> None:
        if len(self._limits) >= _SERVER_LIMIT:
            self._limits.clear()
        self._limits[endpoint.address, endpoint.port] = limit, self._clock() + _LIFETIME_SECONDS

    def of(self, endpoint: Endpoint) -> int:
        """Returns the limit of a server, or 0 when no limit is known."""
        if not self._limits:
            return 0
        limit, until = self._limits.get((endpoint.address, endpoint.port), (0, 0.0))
        return limit if self._clock() < until else 0
