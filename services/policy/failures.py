"""Limits failed logins for each client and each login. Failures are counted in the store of all counters."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from services.policy.rules.counting import READ_ONLY, Counter, Operation, minute_end
from services.policy.state.store import NO_WORKER, Store

FAILURES_PER_CLIENT = 20
FAILURES_PER_LOGIN = 20


class FailureLimits:
    """Limits failed logins. When a client or a login reaches the limit in a minute of the clock, no more of its
    passwords are checked in this minute.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns seconds since the epoch."""
        self._store = store
        self._clock = clock

    async def exceeded(self, client: str, login: str | None) -> bool:
        """Whether the limit of the client or of the login is reached. This method counts nothing. `login` is None when
        only the failures of the client matter. The result is False while the store does not answer; then guesses are
        limited only by the time that each check takes.
        """
        failures = await self._count(client, login, READ_ONLY)
        limits = (FAILURES_PER_CLIENT, FAILURES_PER_LOGIN)
        return any(number is not None and number >= limit for number, limit in zip(failures, limits, strict=False))

    async def record(self, client: str, login: str) -> None:
        await self._count(client, login, 0)

    async def _count(self, client: str, login: str | None, limit: int) -> list[int | None]:
        now = self._clock()
        end = minute_end(now)
        operations = [Operation(Counter.FAILED_LOGINS_OF_CLIENT, client, end, limit=limit)]
        if login is not None:
            operations.append(Operation(Counter.FAILED_LOGINS_OF_LOGIN, _digest(login), end, limit=limit))
        return await self._store.apply(operations, NO_WORKER, now)


def _digest(login: str) -> str:
    """Returns a key of fixed size for a login, which may be any octets (C155)."""
    return hashlib.blake2b(login.encode("utf-8", "replace"), digest_size=16).hexdigest()
