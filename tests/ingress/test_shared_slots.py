"""SharedSlots: no party (a client network or a DNS zone) blocks the others, and a cancelled task keeps no slot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.ingress.shared_slots import NoSlotError, SharedSlots


class Workers:
    """Named tasks that hold slots until the test ends them. `began` lists them in the order in which they got slots."""

    def __init__(self, slots: SharedSlots) -> None:
        self._slots = slots
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}
        self.began: list[str] = []

    async def start(self, name: str, *parties: str) -> None:
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._work(name, parties))
        await self.settle()

    async def _work(self, name: str, parties: tuple[str, ...]) -> None:
        async with self._slots.held(*parties):
            self.began.append(name)
            await self._ends[name].wait()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self._tasks[name]
        await self.settle()

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.wait({self._tasks[name]})
        await self.settle()

    def error(self, name: str) -> BaseException | None:
        return self._tasks[name].exception() if self._tasks[name].done() else None

    async def settle(self) -> None:
        """Lets every task run until it waits."""
        for _ in range(5):
            await asyncio.sleep(0)

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


@asynccontextmanager
async def working(slots: int, *, share: int, under_way: int) -> AsyncIterator[Workers]:
    workers = Workers(SharedSlots(slots, share=share, under_way=under_way))
    yield workers
    await workers.stop()


async def test_a_party_has_its_share_and_no_more() -> None:
    async with working(4, share=3, under_way=20) as workers:
        for number in range(5):
            await workers.start(f"a{number}", "a")
        assert workers.began == ["a0", "a1", "a2"]
        await workers.start("b0", "b")
        assert workers.began[-1] == "b0"
        await workers.end("a1")
        assert workers.began[-1] == "a3"


async def test_parties_that_wait_take_turns() -> None:
    async with working(1, share=1, under_way=20) as workers:
        for name in ("a0", "a1", "a2", "a3", "b0", "b1", "c0"):
            await workers.start(name, name[0])
        for name in ("a0", "a1", "b0", "c0", "a2", "b1"):
            await workers.end(name)
        assert workers.began == ["a0", "a1", "b0", "c0", "a2", "b1", "a3"]


async def test_over_the_limit_a_caller_of_the_party_with_the_most_waiting_callers_is_refused() -> None:
    async with working(1, share=1, under_way=4) as workers:
        for name in ("a0", "a1", "a2", "a3"):
            await workers.start(name, "a")
        await workers.start("a4", "a")
        assert isinstance(workers.error("a4"), NoSlotError)
        await workers.start("b0", "b")
        assert isinstance(workers.error("a3"), NoSlotError)
        # With b1 both parties would have the same number of waiting tasks, so the tasks that came earlier stay.
        await workers.start("b1", "b")
        assert isinstance(workers.error("b1"), NoSlotError)
        for name in ("a0", "a1", "b0"):
            await workers.end(name)
        assert workers.began == ["a0", "a1", "b0", "a2"]


async def test_a_second_party_has_a_share_and_blocks_only_its_own_callers() -> None:
    async with working(4, share=2, under_way=20) as workers:
        await workers.start("1", "a", "silent.example")
        await workers.start("2", "b", "silent.example")
        await workers.start("3", "c", "silent.example")
        await workers.start("4", "c", "other.example")
        assert workers.began == ["1", "2", "4"]
        await workers.end("1")
        assert workers.began == ["1", "2", "4", "3"]


@pytest.mark.parametrize("granted", [False, True], ids=["while it waits", "just as it gets its slot"])
async def test_a_cancelled_caller_leaves_nothing_behind(granted: bool) -> None:
    slots = SharedSlots(1, share=1, under_way=20)
    async with slots.held("a"):
        waiting = asyncio.create_task(_hold(slots, "b"))
        await asyncio.sleep(0)
        if not granted:
            waiting.cancel()
            await asyncio.wait({waiting})
    if granted:
        waiting.cancel()
        await asyncio.wait({waiting})
    assert waiting.cancelled()
    await asyncio.wait_for(_hold(slots, "c"), 60)


async def _hold(slots: SharedSlots, party: str) -> None:
    async with slots.held(party):
        await asyncio.sleep(0)
