"""The number of blocked clients, as Prometheus sees it."""

from __future__ import annotations

from prometheus_client import REGISTRY

from services.policy.figures import count_blocked
from services.policy.state.memory import MemoryStore
from services.policy.state.redis import RedisStore
from services.policy.state.store import Store
from tests.peers.redis import Redis
from tests.policy.state.test_store import NOW, apply, naming


def shown() -> float | None:
    return REGISTRY.get_sample_value("posthouse_policy_blocked_clients")


async def blocked_are_counted(store: Store) -> None:
    await count_blocked(store, NOW)
    assert shown() == 0
    await apply(store, naming("a", limit=1))
    await count_blocked(store, NOW)
    assert shown() == 1


async def test_blocked_clients_are_counted() -> None:
    await blocked_are_counted(MemoryStore())


async def test_the_last_figure_stays_while_redis_is_away(redis_server: Redis) -> None:
    store = RedisStore(redis_server.url, "process1", seconds=30)
    await store.start()
    try:
        assert store.trouble == ""
        await blocked_are_counted(store)
        redis_server.kill()
        await count_blocked(store, NOW)
        assert shown() == 1
    finally:
        await store.stop()


async def test_a_store_that_starts_without_redis_says_so(redis_server: Redis) -> None:
    redis_server.kill()
    store = RedisStore(redis_server.url, "process1", seconds=30)
    await store.start()
    try:
        assert store.trouble.startswith("away")
    finally:
        await store.stop()
