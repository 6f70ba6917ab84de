"""What only a shared store can get wrong: replicas, dead processes, and Redis itself away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from prometheus_client import REGISTRY

from services.policy.rules.counting import Counter, Operation
from services.policy.state.redis import RedisStore
from services.policy.state.store import StoreAwayError
from tests.peers.redis import Redis
from tests.policy.state.test_store import CLIENT, NOW, apply, blocked, message, naming, opening, until


@pytest.fixture
async def replicas(redis_url: str) -> AsyncIterator[tuple[RedisStore, RedisStore]]:
    first, second = RedisStore(redis_url, "process1", seconds=30), RedisStore(redis_url, "process2", seconds=30)
    await first.start()
    await second.start()
    yield first, second
    await first.stop()
    await second.stop()


async def test_replicas_count_together(replicas: tuple[RedisStore, RedisStore]) -> None:
    first, second = replicas
    assert await apply(first, message(), opening("s1")) == [1, 1]
    assert await apply(second, message(), opening("s2"), owner="process2/1") == [2, 2]
    await apply(first, naming("a", limit=2))
    assert await apply(second, naming("b", limit=2), owner="process2/1") == [2]
    assert await apply(first, blocked()) == [1]
    assert await first.unblock(CLIENT, NOW) is not None
    assert await apply(second, blocked()) == [0]


async def test_no_limit_is_overshot_by_replicas(replicas: tuple[RedisStore, RedisStore]) -> None:
    found = await asyncio.gather(*(apply(replicas[number % 2], message()) for number in range(200)))
    assert sorted(number for (number,) in found if number is not None) == list(range(1, 201))


async def test_a_stopped_process_gives_its_sessions_back(
    replicas: tuple[RedisStore, RedisStore], redis_url: str
) -> None:
    leaving = RedisStore(redis_url, "process3", seconds=30)
    await leaving.start()
    await apply(leaving, opening("s1"), owner="process3/1")
    await leaving.stop()
    assert await apply(replicas[0], opening("s2", limit=1)) == [1]


async def test_a_killed_process_stops_counting(replicas: tuple[RedisStore, RedisStore], redis_url: str) -> None:
    """Its heartbeat runs out; here it is taken away."""
    await apply(replicas[0], opening("s1"), opening("s2"))
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.delete("posthouse:policy:process:process1")
    assert await apply(replicas[1], opening("s3", limit=2), owner="process2/1") == [1]


@pytest.mark.parametrize("loss", ["restart", "flush"])
async def test_a_redis_that_lost_its_keys_is_told_of_every_open_session_again(
    replicas: tuple[RedisStore, RedisStore], redis_server: Redis, loss: str
) -> None:
    """Each process counts its own again, and none that ended; one more connection is then one too many."""
    first, second = replicas
    await apply(first, opening("s1"), opening("s2"))
    await apply(second, opening("s3"), owner="process2/1")
    second.resume_sessions([(CLIENT, "s4")], "process2/1")
    await until(second, [5], opening("s5"))
    first.close_sessions([(CLIENT, "s2")], "process1/1")
    await until(second, [4], opening("s5"))
    redis_server.restart() if loss == "restart" else redis_server.flush()
    # What each asks next tells it; here nothing of sessions.
    for store in replicas:
        async with asyncio.timeout(60):
            while (await apply(store, message()))[0] is None:  # noqa: ASYNC110 - the pause is the store's own
                await asyncio.sleep(0.05)
    await until(first, [4], opening("s5"))
    assert await apply(first, opening("s5", limit=3)) == [4]
    second.close_sessions([(CLIENT, "s3"), (CLIENT, "s4")], "process2/1")
    await until(first, [2], opening("s5"))


async def test_a_heartbeat_finds_lost_keys_where_nobody_asks(
    replicas: tuple[RedisStore, RedisStore], redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.policy.state.redis._HEARTBEAT_SECONDS", 0.05)
    store = RedisStore(redis_server.url, "process3", seconds=30)
    await store.start()
    try:
        await apply(store, opening("s1"), owner="process3/1")
        redis_server.flush()
        await until(replicas[0], [2], opening("s2"))
    finally:
        await store.stop()


async def test_who_no_longer_waits_is_not_counted(replicas: tuple[RedisStore, RedisStore], redis_server: Redis) -> None:
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


async def test_a_session_without_a_stream_is_held_to_the_limit(replicas: tuple[RedisStore, RedisStore]) -> None:
    await apply(replicas[0], opening("s1", limit=1))
    assert await apply(replicas[1], opening("s2", limit=1), owner="") == [2]


async def test_what_ingress_resumes_elsewhere_counts_once(replicas: tuple[RedisStore, RedisStore]) -> None:
    await apply(replicas[0], opening("s1"))
    replicas[1].resume_sessions([(CLIENT, "s1")], "process2/1")
    await until(replicas[1], [2], opening("s2"))
    replicas[0].close_sessions([(CLIENT, "s1")], "process1/1")
    await until(replicas[1], [2], opening("s2"))


async def test_away_means_not_counted_and_back_means_counted(redis_server: Redis) -> None:
    store = RedisStore(redis_server.url, "process1", seconds=30)
    await store.start()
    try:
        assert await apply(store, message()) == [1]
        skipped = _skipped()
        redis_server.kill()
        assert await apply(store, message(), blocked()) == [None, None]
        assert _skipped() == skipped + 1
        assert REGISTRY.get_sample_value("posthouse_policy_store_up") == 0
        # Nobody waits for it again at once.
        assert store.apply_now([message()], "process1/1", NOW) == [None]
        with pytest.raises(StoreAwayError):
            await store.blocked_clients(NOW, after="", limit=10)
        with pytest.raises(StoreAwayError):
            await store.unblock(CLIENT, NOW)
        assert await store.peek([message()], NOW) == [None]
        redis_server.start()
        async with asyncio.timeout(60):
            while (await apply(store, message()))[0] is None:  # noqa: ASYNC110 - the pause is the store's own
                await asyncio.sleep(0.05)
        assert REGISTRY.get_sample_value("posthouse_policy_store_up") == 1
    finally:
        await store.stop()


async def test_a_redis_that_hangs_holds_nobody_up(redis_server: Redis) -> None:
    store = RedisStore(redis_server.url, "process1", seconds=0.2)
    await store.start()
    try:
        redis_server.freeze()
        async with asyncio.timeout(60):
            assert await apply(store, message()) == [None]
    finally:
        redis_server.thaw()
        await store.stop()


async def test_an_unforeseen_fault_holds_nobody_up_for_ever(
    replicas: tuple[RedisStore, RedisStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> list[str]:
        raise ValueError("unforeseen")

    store = replicas[0]
    with monkeypatch.context() as patch:
        patch.setattr("services.policy.state.redis._arguments", broken)
        assert await apply(store, message()) == [None]
    async with asyncio.timeout(60):
        while (await apply(store, message()))[0] is None:  # noqa: ASYNC110 - the pause is the store's own
            await asyncio.sleep(0.05)


async def test_names_are_no_part_of_a_command(replicas: tuple[RedisStore, RedisStore]) -> None:
    """C155: a key from outside is an argument, whatever is in it."""
    for client in ("'\"--", "%_*", "a\r\nFLUSHALL\r\n", "{{7*7}}"):
        operation = Operation(Counter.MESSAGES_THIS_MINUTE, client, int(NOW) + 10)
        assert await apply(replicas[0], operation, operation) == [1, 2]


def _skipped() -> float:
    value = REGISTRY.get_sample_value("posthouse_policy_store_failures_total", {"counter": "messages_this_minute"})
    return value or 0.0
