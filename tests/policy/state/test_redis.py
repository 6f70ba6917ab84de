"""Faults that only a shared store can have: several replicas, dead workers, and a Redis that does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY

from services.policy.rules.counting import Counter, Operation
from services.policy.state.redis import RedisStore
from services.policy.state.store import NO_WORKER, StoreUnavailableError
from tests.peers.redis import Redis
from tests.policy.state.test_store import (
    CLIENT,
    NOW,
    W1,
    apply,
    blocked,
    frame,
    message,
    naming,
    open_sessions,
    opening,
    sessions,
)


@pytest.fixture
async def replicas(redis_url: str) -> AsyncIterator[tuple[RedisStore, RedisStore]]:
    first, second = RedisStore(redis_url, seconds=30), RedisStore(redis_url, seconds=30)
    await first.start()
    await second.start()
    yield first, second
    await first.stop()
    await second.stop()


async def test_replicas_count_together(replicas: tuple[RedisStore, RedisStore]) -> None:
    first, second = replicas
    assert await apply(first, message(), opening("s1")) == [1, 1]
    assert await apply(second, message(), opening("s2")) == [2, 2]
    await apply(first, naming("a", limit=2))
    assert await apply(second, naming("b", limit=2)) == [2]
    assert await apply(first, blocked()) == [1]
    assert await first.unblock(CLIENT, NOW) is not None
    assert await apply(second, blocked()) == [0]


async def test_concurrent_counts_by_two_replicas_are_all_different(replicas: tuple[RedisStore, RedisStore]) -> None:
    found = await asyncio.gather(*(apply(replicas[number % 2], message()) for number in range(200)))
    assert sorted(number for (number,) in found if number is not None) == list(range(1, 201))


async def test_a_stopped_process_does_not_remove_sessions(
    replicas: tuple[RedisStore, RedisStore], redis_url: str
) -> None:
    leaving = RedisStore(redis_url, seconds=30)
    await leaving.start()
    leaving.replace_sessions(sessions("s1", "s2"), frame(1), 1)
    leaving.close_sessions(sessions("s1"), frame(2))
    await leaving.stop()
    assert await apply(replicas[0], opening("s3", limit=1), stamp=frame(1, "worker2")) == [2]


async def test_sessions_of_a_dead_worker_stop_counting(
    replicas: tuple[RedisStore, RedisStore], redis_server: Redis
) -> None:
    """In reality the worker's key expires. Here the test deletes it."""
    first, second = replicas
    first.replace_sessions([], frame(1), 1)
    await apply(first, opening("s1"), opening("s2"), stamp=frame(2))
    key = f"posthouse:policy:worker:{W1}"
    assert 0 < int(redis_server.command("TTL", key).removeprefix(":")) <= 10
    # Each replica to which the worker sends a heartbeat extends the life of the worker's key.
    redis_server.command("EXPIRE", key, "3")
    assert list(await second.keep_alive([W1])) == []
    assert int(redis_server.command("TTL", key).removeprefix(":")) > 3
    redis_server.command("DEL", key)
    assert await apply(second, opening("s3", limit=2), stamp=frame(1, "worker2")) == [1]


async def test_a_set_of_many_sessions_is_written_completely(replicas: tuple[RedisStore, RedisStore]) -> None:
    first, second = replicas
    first.replace_sessions(sessions(*(f"s{number}" for number in range(1500))), frame(1), 1)
    assert await open_sessions(first) == 1500
    assert list(await second.keep_alive([W1])) == []


@pytest.mark.parametrize("loss", ["restart", "flush"])
async def test_a_redis_that_lost_its_keys_gets_every_open_session_again(
    replicas: tuple[RedisStore, RedisStore], redis_server: Redis, loss: str
) -> None:
    """The worker is asked for the set of all its open sessions. After that the next connection exceeds the limit."""
    first, second = replicas
    first.replace_sessions(sessions("s1", "s2"), frame(1), 1)
    await apply(second, opening("s3"), stamp=frame(2))
    getattr(redis_server, loss)()
    async with asyncio.timeout(60):
        while not await second.keep_alive([W1]):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)
    second.replace_sessions(sessions("s1", "s2", "s3"), frame(3), 3)
    assert await open_sessions(second) == 3
    # The first call of a process may fail, because its connection to Redis broke.
    async with asyncio.timeout(60):
        while (await apply(first, blocked()))[0] is None:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)
    assert await apply(first, opening("s4", limit=3), stamp=frame(4)) == [4]


async def test_sessions_are_requested_again_after_changes_could_not_be_written(redis_server: Redis) -> None:
    store = RedisStore(redis_server.url, seconds=30)
    await store.start()
    try:
        store.replace_sessions(sessions("s1", "s2"), frame(1), 1)
        assert await open_sessions(store) == 2
        redis_server.kill()
        store.close_sessions(sessions("s1"), frame(2))
        # The connection is accepted, because nothing can be counted.
        assert await apply(store, opening("s3"), stamp=frame(2)) == [None]
        redis_server.start()
        async with asyncio.timeout(60):
            while not await store.keep_alive([W1]):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.05)
        store.replace_sessions(sessions("s2", "s3"), frame(3), 3)
        assert await open_sessions(store) == 2
        assert list(await store.keep_alive([W1])) == []
    finally:
        await store.stop()


async def test_a_decision_that_nobody_waits_for_is_not_counted(
    replicas: tuple[RedisStore, RedisStore], redis_server: Redis
) -> None:
    store = replicas[0]
    redis_server.freeze()
    under_way = asyncio.create_task(apply(store, opening("s1")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    given_up = asyncio.create_task(apply(store, opening("s2")))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    redis_server.thaw()
    assert await under_way == [1]
    assert await apply(store, opening("s3")) == [2]


async def test_a_session_without_a_worker_is_limited(replicas: tuple[RedisStore, RedisStore]) -> None:
    replicas[0].replace_sessions([], frame(1), 1)
    await apply(replicas[0], opening("s1", limit=1), stamp=frame(2))
    assert await apply(replicas[1], opening("s2", limit=1), stamp=NO_WORKER) == [2]


async def test_nothing_is_counted_while_redis_is_down(redis_server: Redis) -> None:
    store = RedisStore(redis_server.url, seconds=30)
    await store.start()
    try:
        assert await apply(store, message()) == [1]
        skipped = _skipped()
        redis_server.kill()
        assert await apply(store, message(), blocked()) == [None, None]
        assert _skipped() == skipped + 1
        assert REGISTRY.get_sample_value("posthouse_policy_store_up") == 0
        # The next calls fail at once, without waiting for Redis.
        assert store.apply_now([message()], frame(1), NOW) == [None]
        with pytest.raises(StoreUnavailableError):
            await store.blocked_clients(NOW, after="", limit=10)
        with pytest.raises(StoreUnavailableError):
            await store.unblock(CLIENT, NOW)
        assert await store.peek([message()], NOW) == [None]
        redis_server.start()
        async with asyncio.timeout(60):
            while (await apply(store, message()))[0] is None:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.05)
        assert REGISTRY.get_sample_value("posthouse_policy_store_up") == 1
    finally:
        await store.stop()


async def test_a_redis_that_hangs_delays_nobody(redis_server: Redis) -> None:
    store = RedisStore(redis_server.url, seconds=0.2)
    await store.start()
    try:
        redis_server.freeze()
        async with asyncio.timeout(60):
            assert await apply(store, message()) == [None]
    finally:
        redis_server.thaw()
        await store.stop()


async def test_an_unexpected_error_does_not_stop_the_store(
    replicas: tuple[RedisStore, RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(**_: object) -> list[int]:
        raise ValueError("unforeseen")

    store = replicas[0]
    with monkeypatch.context() as patch:
        patch.setattr(store, "_script", broken)
        assert await apply(store, message()) == [None]
    async with asyncio.timeout(60):
        while (await apply(store, message()))[0] is None:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)


async def test_names_are_arguments_of_a_script_and_not_its_text(replicas: tuple[RedisStore, RedisStore]) -> None:
    """C155: a key with text from outside is an argument of the command, whatever it contains."""
    for client in ("'\"--", "%_*", "a\r\nFLUSHALL\r\n", "{{7*7}}"):
        operation = Operation(Counter.MESSAGES_THIS_MINUTE, client, int(NOW) + 10)
        assert await apply(replicas[0], operation, operation) == [1, 2]


def _skipped() -> float:
    value = REGISTRY.get_sample_value("posthouse_policy_store_failures_total", {"counter": "messages_this_minute"})
    return value or 0.0
