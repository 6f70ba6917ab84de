"""A connection has one timer. It ends the wait for the current answer, and has no effect on answers that have come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from services.relay.delivery.smtp.protocol import ConnectionFailedError, DeliveryProtocol
from services.relay.model.outcome import Reply


class HandTimer:
    def __init__(self, at: float, ring: Callable[[], None]) -> None:
        self.at = at
        self.ring = ring
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class HandLoop:
    """An event loop whose clock and timers the test controls. Its futures belong to the loop that runs the test."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[HandTimer] = []
        self.set = 0

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, ring: Callable[[], None]) -> HandTimer:
        self.set += 1
        self.timers.append(HandTimer(at, ring))
        return self.timers[-1]

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for timer in [timer for timer in self.timers if not timer.cancelled and timer.at <= self.now]:
            self.timers.remove(timer)
            timer.ring()


class Wire(asyncio.Transport):
    """A transport that accepts every octet and receives none."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def connected() -> tuple[DeliveryProtocol, HandLoop, Wire]:
    loop, wire = HandLoop(), Wire()
    protocol = DeliveryProtocol(loop)  # type: ignore[arg-type]
    protocol.connection_made(wire)
    protocol.data_received(b"220 hello\r\n")
    assert protocol.ready() == Reply(220, b"hello")
    return protocol, loop, wire


async def asked(protocol: DeliveryProtocol, seconds: float) -> asyncio.Task[Reply]:
    protocol.send(b"NOOP\r\n", 1)
    waiting = asyncio.create_task(protocol.reply(seconds))
    await asyncio.sleep(0)
    return waiting


async def test_the_deadline_of_an_answered_command_does_not_end_a_later_one() -> None:
    protocol, loop, wire = connected()
    first = await asked(protocol, 20)
    protocol.data_received(b"250 ok\r\n")
    assert await first == Reply(250, b"ok")
    second = await asked(protocol, 600)
    loop.pass_time(599)
    assert not wire.aborted
    protocol.data_received(b"250 ok\r\n")
    assert await second == Reply(250, b"ok")
    loop.pass_time(10_000)
    assert protocol.usable


async def test_a_shorter_deadline_applies_although_a_longer_one_is_set() -> None:
    protocol, loop, wire = connected()
    first = await asked(protocol, 600)
    protocol.data_received(b"250 ok\r\n")
    await first
    second = await asked(protocol, 20)
    loop.pass_time(19)
    assert not wire.aborted
    loop.pass_time(1)
    with pytest.raises(ConnectionFailedError, match="no answer in time"):
        await second
    assert wire.aborted
    assert not protocol.usable


async def test_the_deadline_of_a_command_counts_from_that_command() -> None:
    protocol, loop, _ = connected()
    first = await asked(protocol, 20)
    protocol.data_received(b"250 ok\r\n")
    await first
    loop.pass_time(10)
    second = await asked(protocol, 20)
    loop.pass_time(19.5)
    assert not second.done()
    loop.pass_time(0.5)
    with pytest.raises(ConnectionFailedError, match="no answer in time"):
        await second


async def test_many_answers_use_one_timer_which_the_end_of_the_connection_cancels() -> None:
    protocol, loop, _ = connected()
    for _ in range(50):
        waiting = await asked(protocol, 300)
        protocol.data_received(b"250 ok\r\n")
        await waiting
    assert loop.set == 1
    protocol.connection_lost(None)
    assert all(timer.cancelled for timer in loop.timers)


async def test_replies_that_arrive_together_need_no_wait() -> None:
    protocol, loop, _ = connected()
    protocol.send(b"MAIL\r\nRCPT\r\nDATA\r\n", 3)
    protocol.data_received(b"250 a\r\n550-b\r\n550 c\r\n354 d\r\n")
    assert [protocol.ready() for _ in range(4)] == [Reply(250, b"a"), Reply(550, b"b\nc"), Reply(354, b"d"), None]
    assert loop.set == 0
