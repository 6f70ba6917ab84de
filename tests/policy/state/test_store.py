"""Counters and blocked clients. Most tests run with the store in memory and with Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.policy.rules.counting import READ_ONLY, Counter, Operation, minute_end
from services.policy.state.memory import MemoryStore
from services.policy.state.redis import RedisStore
from services.policy.state.store import Blocked, FrameStamp, Store

NOW = 1_800_000_030.0
CLIENT = "192.0.2.10"


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    made: Store = (
        MemoryStore() if request.param == "memory" else RedisStore(request.getfixturevalue("redis_url"), seconds=30)
    )
    await made.start()
    yield made
    await made.stop()


W1 = "worker1"


def frame(counter: int, worker: str = W1) -> FrameStamp:
    return FrameStamp(worker, counter)


async def apply(
    store: Store, *operations: Operation, stamp: FrameStamp | None = None, now: float = NOW
) -> list[int | None]:
    return await store.apply(operations, stamp or frame(1), now)


def sessions(*ids: str, client: str = CLIENT) -> list[tuple[str, str]]:
    return [(client, session) for session in ids]


async def open_sessions(store: Store, client: str = CLIENT) -> int:
    """Returns the number of open sessions after all earlier calls of the store are done."""
    # A store does its work in order, so when this call returns, all earlier calls are done.
    await store.apply([blocked()], frame(1), NOW)
    (number,) = await store.peek([opening("another", client)], NOW)
    assert number is not None
    return number - 1


def message(client: str = CLIENT, now: float = NOW) -> Operation:
    return Operation(Counter.MESSAGES_THIS_MINUTE, client, minute_end(now))


def opening(session: str, client: str = CLIENT, limit: int = 50) -> Operation:
    return Operation(Counter.CONNECTIONS, client, member=session, limit=limit)


def naming(recipient: str, limit: int = 3, client: str = CLIENT, ends_at: int = int(NOW) + 1000) -> Operation:
    return Operation(Counter.UNKNOWN_RECIPIENTS_TODAY, client, ends_at, recipient, limit)


def blocked(client: str = CLIENT) -> Operation:
    return Operation(Counter.BLOCKED, client)


async def until(store: Store, wanted: Sequence[int | None], *operations: Operation) -> None:
    """Waits until the store has these counts. The release of a session or of a block takes effect a little later."""
    async with asyncio.timeout(60):
        while await store.peek(operations, NOW) != list(wanted):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0)


async def test_counts_go_up_within_a_minute(store: Store) -> None:
    assert [await apply(store, message()) for _ in range(3)] == [[1], [2], [3]]


async def test_counts_begin_anew_with_the_clock_minute(store: Store) -> None:
    await apply(store, message(now=NOW), message(now=NOW))
    assert await apply(store, message(now=NOW + 29.9)) == [3]
    assert await apply(store, message(now=NOW + 30), now=NOW + 30) == [1]


async def test_a_repeated_request_is_answered_and_not_counted_again(store: Store) -> None:
    again = message()._replace(limit=READ_ONLY)
    assert await apply(store, again) == [0]
    await apply(store, message(), message())
    assert await apply(store, again, again, message()) == [2, 2, 3]
    assert await apply(store, message(now=NOW + 30)._replace(limit=READ_ONLY), now=NOW + 30) == [0]


async def test_a_clock_that_is_set_back_empties_no_count(store: Store) -> None:
    """The clock alternates between two minutes, as during a clock step, or with two replicas whose clocks differ."""
    found = [await apply(store, message(now=NOW + 60 * (number % 2))) for number in range(6)]
    assert found == [[1], [1], [2], [2], [3], [3]]


async def test_each_client_has_a_count_of_its_own_for_each_counter(store: Store) -> None:
    await apply(store, message())
    other = Operation(Counter.CONNECTIONS_THIS_MINUTE, CLIENT, minute_end(NOW))
    assert await apply(store, message("2001:db8:1:2::/64"), other) == [1, 1]


async def test_the_operations_of_a_batch_are_done_in_order(store: Store) -> None:
    assert await apply(store, message(), opening("s1"), message(), blocked(), opening("s2")) == [1, 1, 2, 0, 2]


async def test_concurrent_batches_lose_nothing(store: Store) -> None:
    found = await asyncio.gather(*(apply(store, message()) for _ in range(700)))
    assert sorted(number for (number,) in found if number is not None) == list(range(1, 701))


async def test_open_and_closed_sessions_are_counted(store: Store) -> None:
    assert await apply(store, opening("s1"), opening("s2")) == [1, 2]
    store.close_sessions(sessions("s1", "never opened"), frame(2))
    assert await open_sessions(store) == 1
    # A session may be counted and released in the same frame.
    store.close_sessions(sessions("s2"), frame(1))
    assert await open_sessions(store) == 0


async def test_a_session_is_counted_once_however_often_it_opens(store: Store) -> None:
    assert await apply(store, opening("s1"), opening("s1")) == [1, 1]
    assert await apply(store, opening("s1"), stamp=frame(5)) == [1]
    # Frame 1 of this session comes late, from a replica that refused it. Another replica has accepted it in frame 5.
    assert await apply(store, opening("s1"), stamp=frame(1)) == [1]
    store.close_sessions(sessions("s1"), frame(1))
    assert await open_sessions(store) == 1
    store.close_sessions(sessions("s1"), frame(6))
    assert await open_sessions(store) == 0


async def test_a_worker_cannot_close_sessions_of_another(store: Store) -> None:
    await apply(store, opening("s1"))
    store.close_sessions(sessions("s1"), frame(9, "worker2"))
    store.replace_sessions([], frame(10, "worker2"), 10)
    assert await open_sessions(store) == 1


async def test_a_whole_set_replaces_what_was_counted_before(store: Store) -> None:
    store.replace_sessions([], frame(1), 1)
    await apply(store, opening("s1"), opening("s2"), stamp=frame(2))
    await apply(store, opening("s3", client="192.0.2.11"), stamp=frame(3))
    # The store never learnt that s1 and s3 closed, nor that s4 was opened.
    store.replace_sessions(sessions("s2", "s4"), frame(4), 4)
    assert await apply(store, opening("s5", limit=1), stamp=frame(5)) == [3]
    assert await apply(store, opening("s6", client="192.0.2.11", limit=1), stamp=frame(6)) == [1]


async def test_a_set_cannot_undo_a_connection_that_another_replica_counted_meanwhile(store: Store) -> None:
    store.replace_sessions([], frame(1), 1)
    # Frame 3, with the open sessions, goes to one replica. Frame 4 goes to another replica and arrives first.
    await apply(store, opening("s1"), stamp=frame(2))
    await apply(store, opening("s2", limit=2), stamp=frame(4))
    store.replace_sessions(sessions("s1"), frame(3), 3)
    assert await apply(store, opening("s3", limit=2), stamp=frame(5)) == [3]


@pytest.mark.parametrize("counted_first", [True, False])
async def test_a_set_does_not_remove_a_connection_that_waits_for_its_verdict(store: Store, counted_first: bool) -> None:
    store.replace_sessions([], frame(1), 1)
    await apply(store, opening("s1"), stamp=frame(2))
    if counted_first:
        await apply(store, opening("s2"), stamp=frame(3))
    # When the worker makes the set in frame 4, it does not know the verdict on the connection of frame 3 yet.
    store.replace_sessions(sessions("s1"), frame(4), 3)
    if not counted_first:
        await apply(store, opening("s2"), stamp=frame(3))
    assert await apply(store, opening("s3", limit=2), stamp=frame(5)) == [3]


async def test_a_connection_that_its_worker_closed_is_not_counted_later(store: Store) -> None:
    store.replace_sessions([], frame(5), 5)
    assert await apply(store, opening("s1"), stamp=frame(4)) == [0]
    assert await open_sessions(store) == 0


async def test_an_older_set_is_ignored(store: Store) -> None:
    store.replace_sessions(sessions("s1", "s2"), frame(7), 7)
    store.replace_sessions(sessions("s3"), frame(6), 6)
    assert await apply(store, opening("s4", limit=1), stamp=frame(8)) == [3]


async def test_a_set_does_not_add_sessions_that_closed_after_it_was_made(store: Store) -> None:
    store.replace_sessions([], frame(1), 1)
    await apply(store, opening("s1"), opening("s2"), stamp=frame(2))
    # Frame 3 contains the set, and it arrives after frame 4.
    store.close_sessions(sessions("s1"), frame(4), remember=True)
    store.replace_sessions(sessions("s1", "s2"), frame(3), 3)
    assert await open_sessions(store) == 1


async def test_a_worker_that_the_store_does_not_know_is_asked_for_its_sessions(store: Store) -> None:
    assert list(await store.keep_alive([W1])) == [W1]
    store.replace_sessions(sessions("s1"), frame(1), 1)
    assert await open_sessions(store) == 1
    assert list(await store.keep_alive([W1, "worker2"])) == ["worker2"]


async def test_sessions_end_ten_seconds_after_the_last_sign_of_their_worker() -> None:
    """With Redis, the expiry of the worker's key has the same effect."""
    now = 0.0
    store = MemoryStore(monotonic=lambda: now)
    for worker in (W1, "worker2"):
        store.replace_sessions([], frame(1, worker), 1)
    await apply(store, opening("s1"), opening("s2"), stamp=frame(2))
    now = 9.0
    assert list(await store.keep_alive([W1])) == []
    now = 18.9
    assert await apply(store, opening("s3", limit=2), stamp=frame(2, "worker2")) == [3]
    now = 19.1
    assert await apply(store, opening("s4", limit=2), stamp=frame(3, "worker2")) == [2]
    # A worker that comes back is asked for its sessions.
    assert list(await store.keep_alive([W1])) == [W1]


async def test_dead_workers_leave_nothing_behind() -> None:
    now = 0.0
    store = MemoryStore(monotonic=lambda: now)
    store.replace_sessions(sessions("s1", "s2"), frame(1), 1)
    assert store.open_sessions == 2
    now = 11.0
    await store.keep_alive(["worker2"])
    assert store.open_sessions == 0


async def test_a_peek_returns_the_counts_and_changes_nothing(store: Store) -> None:
    operations = (message(), opening("s1"), naming("a"), blocked())
    assert await store.peek(operations, NOW) == [1, 1, 1, 0]
    assert await store.peek(operations, NOW) == [1, 1, 1, 0]
    assert await apply(store, *operations) == [1, 1, 1, 0]


async def test_distinct_recipients_block_a_client(store: Store) -> None:
    assert await apply(store, naming("a"), naming("b"), naming("a"), blocked()) == [1, 2, 2, 0]
    assert await apply(store, naming("c"), blocked()) == [3, 1]
    assert await store.blocked_clients(NOW, after="", limit=10) == [
        Blocked(CLIENT, "unknown_recipients", 3, NOW, int(NOW) + 1000)
    ]


async def test_a_block_ends_with_its_day() -> None:
    """In Redis the block ends by Redis's own clock, so only the store in memory is tested here."""
    store = MemoryStore()
    ends_at = int(NOW) + 1000
    await apply(store, naming("a", limit=1, ends_at=ends_at))
    assert await apply(store, blocked(), now=ends_at - 0.5) == [1]
    assert await apply(store, blocked(), now=ends_at) == [0]
    assert await store.blocked_clients(ends_at, after="", limit=10) == []
    assert await apply(store, naming("a", limit=2, ends_at=ends_at + 86400), now=ends_at) == [1]


async def test_a_block_can_be_lifted_and_is_forgotten(store: Store) -> None:
    await apply(store, naming("a", limit=1))
    lifted = await store.unblock(CLIENT, NOW)
    assert lifted is not None
    assert lifted.client == CLIENT
    assert await apply(store, blocked()) == [0]
    assert await store.blocked_clients(NOW, after="", limit=10) == []
    assert await store.unblock(CLIENT, NOW) is None
    # The next unknown recipient is the first one of a new count.
    assert await apply(store, naming("b", limit=2), blocked()) == [1, 0]


async def test_blocked_clients_come_in_pages(store: Store) -> None:
    clients = sorted(f"192.0.2.{number}" for number in range(1, 8))
    await apply(store, *(naming("a", limit=1, client=client) for client in clients))
    first = await store.blocked_clients(NOW, after="", limit=3)
    second = await store.blocked_clients(NOW, after=first[-1].client, limit=10)
    assert [each.client for each in (*first, *second)] == clients


@given(
    limit=st.integers(1, 5),
    arrivals=st.lists(st.tuples(st.floats(0, 240), st.sampled_from(["192.0.2.1", "192.0.2.2"])), max_size=60),
)
def test_no_window_allows_more_than_its_limit(limit: int, arrivals: list[tuple[float, str]]) -> None:
    store = MemoryStore()
    passed: dict[tuple[str, int], int] = {}
    seen: dict[tuple[str, int], int] = {}
    for after, client in sorted(arrivals):
        now = NOW + after
        key = (client, int(now) // 60)
        (count,) = store.apply_now([message(client, now)], frame(1), now)
        seen[key] = seen.get(key, 0) + 1
        assert count == seen[key]
        passed[key] = passed.get(key, 0) + (count <= limit)
    assert all(number <= limit for number in passed.values())
    assert all(passed[key] == min(limit, seen[key]) for key in passed)


async def test_tables_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.policy.state.memory.MAX_CLIENTS", 100)
    store = MemoryStore()
    for number in range(150):
        await apply(store, message(f"c{number}"), naming("a", client=f"c{number}"))
    assert await apply(store, message("c99"), naming("b", client="c99")) == [2, 2]
    # The table is full: this client is not counted, and therefore not limited.
    assert await apply(store, message("c149"), naming("a", client="c149")) == [None, None]
    # The entries of yesterday's clients make room.
    tomorrow = NOW + 86400
    assert await apply(store, naming("a", client="new", ends_at=int(tomorrow) + 1000), now=tomorrow) == [1]
