"""Limits the refusals that the history records, for each client and for all clients together. While space is short,
none is recorded.

Without limits, a client that causes thousands of refusals would fill the disk with fifty octets for each octet that it
sends. Refusals that are not recorded are counted in a metric and in the log.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import structlog

from services.relay.metrics import REFUSALS_DROPPED

log = structlog.get_logger(__name__)

# The number of refusals that are recorded in a burst, and then in each second. For all clients together this is at most
# some 170,000 a day, or 0.3 GB.
_CLIENT_BURST, _CLIENT_RATE = 100.0, 0.1
_BURST, _RATE = 2_000.0, 2.0
# The number of clients that are remembered. A client that is forgotten begins with a full burst again, within the limit
# for all.
_CLIENTS = 10_000
_TOLD_EVERY_SECONDS = 60.0


@dataclass(slots=True)
class _Bucket:
    """A token bucket: tokens are added at a rate, up to a burst."""

    tokens: float
    at: float

    def fill(self, now: float, burst: float, rate: float) -> bool:
        """Adds the tokens since the last call. Returns whether there is a token."""
        self.tokens = min(burst, self.tokens + (now - self.at) * rate)
        self.at = now
        return self.tokens >= 1.0


class RefusalLimits:
    """Decides which refusals are recorded. There is one in each process. Times are seconds of a steady clock."""

    def __init__(self, now: float) -> None:
        self._all = _Bucket(_BURST, now)
        self._clients: OrderedDict[str, _Bucket] = OrderedDict()
        self._not_recorded = 0
        self._told_at = now

    def admit(self, source: str, now: float, *, space_is_short: bool) -> bool:
        """Returns whether a refusal of a source is recorded. A refusal that is not recorded is counted."""
        if not space_is_short and self._take(source, now):
            self._tell(now)
            return True
        REFUSALS_DROPPED.inc()
        self._not_recorded += 1
        self._tell(now)
        return False

    def _take(self, source: str, now: float) -> bool:
        client = self._clients.get(source)
        if client is None:
            client = self._clients[source] = _Bucket(_CLIENT_BURST, now)
            if len(self._clients) > _CLIENTS:
                self._clients.popitem(last=False)
        else:
            self._clients.move_to_end(source)
        if not (client.fill(now, _CLIENT_BURST, _CLIENT_RATE) and self._all.fill(now, _BURST, _RATE)):
            return False
        client.tokens -= 1
        self._all.tokens -= 1
        return True

    def _tell(self, now: float) -> None:
        if self._not_recorded and now - self._told_at >= _TOLD_EVERY_SECONDS:
            log.warning("refusals_not_recorded", refusals=self._not_recorded, seconds=round(now - self._told_at))
            self._not_recorded, self._told_at = 0, now
