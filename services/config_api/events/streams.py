"""Limits the open event streams of each API key. A stream is not counted by `request_shares.py`, but it uses memory."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from services.config_api.metrics import EVENT_STREAMS
from services.config_api.problems import Problem

MOST_STREAMS = 200
STREAMS_PER_KEY = 8
_RETRY_SECONDS = 10


class StreamShares:
    """Counts open streams. A key without streams uses no memory."""

    def __init__(self, most: int = MOST_STREAMS, per_key: int = STREAMS_PER_KEY) -> None:
        self._most = most
        self._per_key = per_key
        self._open: Counter[str] = Counter()

    def admit(self, key_id: str) -> None:
        """Checks that a key may open a stream. Raises Problem 429 when it, or all keys together, have too many open
        streams.
        """
        if self._open[key_id] >= self._per_key or self._open.total() >= self._most:
            raise Problem(
                429,
                "too-many-streams",
                "Too many streams of events are open.",
                f"One API key may have {self._per_key} open streams, and all keys together {self._most}.",
                headers={"Retry-After": str(_RETRY_SECONDS)},
            )

    @contextlib.contextmanager
    def one(self, key_id: str) -> Iterator[None]:
        """Counts a stream while it is open."""
        self._open[key_id] += 1
        EVENT_STREAMS.inc()
        try:
            yield
        finally:
            EVENT_STREAMS.dec()
            self._open[key_id] -= 1
            if not self._open[key_id]:
                del self._open[key_id]
