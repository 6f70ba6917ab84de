"""Work handed to threads: done in order, answered where it was asked for, and done before the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from services.relay.queue.threads import Threads


class Own:
    """What the threads of these tests have of their own."""

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


async def test_what_work_returns_and_raises_comes_back(one: Threads[Own]) -> None:
    def fail(_: Own) -> None:
        raise LookupError("nowhere")

    assert await one.run(lambda own: own.made_in) == "worker"
    with pytest.raises(LookupError, match="nowhere"):
        await one.run(fail)
    assert await one.run(lambda _: 7) == 7


async def test_work_that_was_given_up_while_it_waited_is_not_begun(one: Threads[Own]) -> None:
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


async def test_the_end_waits_for_what_was_handed_over(owned: list[Own]) -> None:
    threads = Threads("worker", 3, lambda: Own(owned))
    done: list[int] = []
    waiting = [asyncio.create_task(threads.run(partial(_note, done, number))) for number in range(30)]
    await asyncio.sleep(0)
    threads.close()
    assert sorted(done) == list(range(30))
    assert [(own.made_in, own.closed_in) for own in owned] == [("worker", "worker")] * 3
    await asyncio.gather(*waiting)
