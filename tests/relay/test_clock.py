"""Relay notices jumps of the wall clock, because it compares the wall clock with the monotonic clock."""

from __future__ import annotations

from services.relay.clock import SETTLING_SECONDS
from tests.relay.whole_relay import HandClock


def test_passing_time_is_not_a_jump() -> None:
    clock = HandClock()
    jumps: list[float] = []
    clock.on_jump = jumps.append
    before = clock.now()
    clock.pass_time(10 * 86400)
    assert clock.now() - before >= 10 * 86400 * 1_000_000
    assert jumps == []
    assert clock.settled


def test_slow_corrections_are_followed_without_alarm() -> None:
    clock = HandClock()
    jumps: list[float] = []
    clock.on_jump = jumps.append
    for _ in range(100):
        clock.jump(50)
        clock.now()
    assert jumps == []
    assert clock.settled


def test_a_jump_is_logged_once_and_delays_expiry_for_a_while() -> None:
    for seconds in (3 * 86400, -3600):
        clock = HandClock()
        jumps: list[float] = []
        clock.on_jump = jumps.append
        clock.jump(seconds)
        assert not clock.settled
        clock.now()
        assert [round(jump) for jump in jumps] == [seconds]
        clock.pass_time(SETTLING_SECONDS - 1)
        assert not clock.settled
        clock.pass_time(2)
        assert clock.settled
