"""The clients that are blocked now, for operators and for the metrics."""

from __future__ import annotations

import asyncio
import contextlib

from services.policy.engine import Engine
from services.policy.metrics import BLOCKED_CLIENTS
from services.policy.rules.connections import block_acts
from services.policy.state.store import Blocked, StoreUnavailableError

_PAUSE_SECONDS = 30.0
_COUNTED_TO = 1000


async def acting_blocks(engine: Engine, *, after: str, limit: int) -> list[Blocked]:
    """Returns at most `limit` blocked clients that sort after `after`, in order. Raises StoreUnavailableError."""
    if engine.rulebook is None:
        return []
    snapshot, now = engine.rulebook.snapshot, engine.clock()
    acting: list[Blocked] = []
    while True:
        page = await engine.store.blocked_clients(now, after=after, limit=limit)
        acting += [block for block in page if block_acts(block.client, snapshot, now)]
        if len(acting) >= limit or len(page) < limit:
            return acting[:limit]
        after = page[-1].client


async def keep_count(engine: Engine) -> None:
    """Counts the blocked clients for the metric again and again, until cancelled."""
    while True:
        await count_blocked(engine)
        await asyncio.sleep(_PAUSE_SECONDS)


async def count_blocked(engine: Engine) -> None:
    """Counts the blocked clients for the metric once. While the store does not answer, the last number stays."""
    with contextlib.suppress(StoreUnavailableError):
        BLOCKED_CLIENTS.set(len(await acting_blocks(engine, after="", limit=_COUNTED_TO)))
