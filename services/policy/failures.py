"""Limits on failed logins, per client and per login, with the `limits` library in memory or in Redis."""

from __future__ import annotations

import asyncio
import hashlib

import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter

from services.policy.metrics import STORE_FAILURES

log = structlog.get_logger(__name__)

FAILURES_PER_CLIENT = 20
FAILURES_PER_LOGIN = 20


class FailureLimits:
    """A failure more than the limit within a minute, and the password is not looked at any more."""

    def __init__(self, storage: Storage, *, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._limiter = MovingWindowRateLimiter(storage)
        self._per_client = RateLimitItemPerMinute(FAILURES_PER_CLIENT, namespace="posthouse-auth-client")
        self._per_login = RateLimitItemPerMinute(FAILURES_PER_LOGIN, namespace="posthouse-auth-login")

    async def exceeded(self, client: str, login: str | None) -> bool:
        """False too when the store is away: a login is then only slowed by its cost. None: the client alone counts."""
        try:
            async with asyncio.timeout(self._seconds):
                return not (
                    await self._limiter.test(self._per_client, client)
                    and (login is None or await self._limiter.test(self._per_login, _digest(login)))
                )
        except Exception as error:  # noqa: BLE001 - whatever the store does, logins go on
            STORE_FAILURES.labels("auth_failures").inc()
            log.warning("failure_limits_skipped", reason=type(error).__name__)
            return False

    async def record(self, client: str, login: str) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._limiter.hit(self._per_client, client)
                await self._limiter.hit(self._per_login, _digest(login))
        except Exception as error:  # noqa: BLE001 - as above
            STORE_FAILURES.labels("auth_failures").inc()
            log.warning("failure_limits_skipped", reason=type(error).__name__)


def failure_limits(state_url: str, seconds: float = 1.0) -> FailureLimits:
    """For `memory://`, `redis://` or `rediss://`; a store that takes longer counts as away."""
    if state_url.startswith(("redis://", "rediss://")):
        return FailureLimits(RedisStorage(f"async+{state_url}", implementation="redispy"), seconds=seconds)
    return FailureLimits(MemoryStorage(), seconds=seconds)


def _digest(login: str) -> str:
    """A login may be any bytes; a key is always the same few characters (C155)."""
    return hashlib.blake2b(login.encode("utf-8", "replace"), digest_size=16).hexdigest()
