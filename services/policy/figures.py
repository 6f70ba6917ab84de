"""Figures that the store of counters is asked for every now and then."""

from __future__ import annotations

import asyncio
import contextlib
import time

from services.policy.metrics import BLOCKED_CLIENTS
from services.policy.state.store import Store, StoreAwayError

_PAUSE_SECONDS = 30.0
_COUNTED_TO = 1000


async def keep_figures(store: Store) -> None:
    """Until cancelled."""
    while True:
        await count_blocked(store, time.time())
        await asyncio.sleep(_PAUSE_SECONDS)


async def count_blocked(store: Store, now: float) -> None:
    """While the store is away, the last figure stays."""
    with contextlib.suppress(StoreAwayError):
        BLOCKED_CLIENTS.set(len(await store.blocked_clients(now, after="", limit=_COUNTED_TO)))
