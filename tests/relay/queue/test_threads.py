"""One thread runs its work in order. Threads finish their work before they end, and callers get the results."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from services.relay.queue.database import Connection, open_database
from services.relay.queue.threads import Threads


class Own:
    """The resource that each thread in these tests owns."""

    def __init__(self, all_of_them: list[Own]) -> None:
        all_of_them.append(self)
        self.made_in = threading.current_thread().name
        self.closed_in = ""

    def close(self) -> None:
        self.closed_in = threading.current_thread().name


def _note(done: list[int], number: int, _: Own) -> None:
    done.append(number)


@pytest.fixture
def owned() -> list[Own]:
    return []


@pytest.fixture
def one(owned: list[Own]) -> Iterator[Threads[Own]]:
    threads = Threads("worker", 1, lambda: Own(owned))
    yield threads
    threads.close()


async def test_one_thread_does_everything_in_order(one: Threads[Own]) -> None:
    done: list[int] = []
    await asyncio.gather(*(one.run(partial(_note, done, number)) for number in range(100)))
    assert done == list(range(100))


async def test_results_and_errors_of_work_are_returned(one: Threads[Own]) -> None:
    def fail(_: Own) -> None:
        raise LookupError("nowhere")

    assert await one.run(lambda own: own.made_in) == "worker"
    with pytest.raises(LookupError, match="nowhere"):
        await one.run(fail)
    assert await one.run(lambda _: 7) == 7


async def test_work_that_was_cancelled_while_it_waited_is_not_begun(one: Threads[Own]) -> None:
    go_on = threading.Event()
    done: list[str] = []

    def wait(_: Own) -> None:
        go_on.wait(20)
        done.append("first")

    first = asyncio.create_task(one.run(wait))
    second = asyncio.create_task(one.run(lambda _: done.append("second")))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    go_on.set()
    await first
    await one.run(lambda _: done.append("third"))
    assert done == ["first", "third"]


async def test_closing_the_threads_waits_for_all_work(owned: list[Own]) -> None:
    threads = Threads("worker", 3, lambda: Own(owned))
    done: list[int] = []
    waiting = [asyncio.create_task(threads.run(partial(_note, done, number))) for number in range(30)]
    await asyncio.sleep(0)
    threads.close()
    assert sorted(done) == list(range(30))
    assert [(own.made_in, own.closed_in) for own in owned] == [("worker", "worker")] * 3
    await asyncio.gather(*waiting)


async def test_requests_of_operators_do_not_delay_deliveries(database_url: str) -> None:
    """However many slow queries operators make, delivery can read and write at once."""
    database = open_database(database_url)
    await database.open()
    gate = threading.Event()
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def long(connection: Connection) -> int:
        loop.call_soon_threadsafe(began.set)
        if database.exclusive:
            gate.wait(60)
        else:
            connection.exec_driver_sql("SELECT pg_sleep(1)")
        return 1

    looks = [asyncio.create_task(database.view(long)) for _ in range(50)]
    try:
        await began.wait()
        async with asyncio.timeout(30):
            assert await database.read(lambda connection: connection.exec_driver_sql("SELECT 2").scalar()) == 2
            assert await database.write(lambda connection: connection.exec_driver_sql("SELECT 3").scalar()) == 3
        assert sum(look.done() for look in looks) < 50
    finally:
        gate.set()
        for look in looks[4:] if not database.exclusive else ():
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        await database.close()
