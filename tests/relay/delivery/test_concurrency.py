"""The number of parallel transactions for a destination grows and shrinks, and relay remembers dead hosts."""

from __future__ import annotations

from services.relay.delivery.concurrency import Concurrency, ConcurrencyLimits, DeadHosts


def test_concurrency_starts_low_and_grows_with_success_up_to_the_maximum() -> None:
    concurrency = Concurrency()
    assert concurrency.capacity(0, 20) == 5
    seen = []
    for _ in range(20):
        concurrency.succeeded(20)
        seen.append(concurrency.capacity(0, 20))
    assert seen == [6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 20, 20, 20, 20, 20]


def test_the_maximum_applies_from_the_start_and_when_it_is_lowered() -> None:
    concurrency = Concurrency()
    assert concurrency.capacity(0, 2) == 2
    for _ in range(30):
        concurrency.succeeded(20)
    assert concurrency.capacity(0, 3) == 3


def test_failures_halve_concurrency_and_then_the_destination_is_probed() -> None:
    concurrency = Concurrency()
    for _ in range(15):
        concurrency.succeeded(20)
    seen = []
    for _ in range(4):
        concurrency.failed(100)
        seen.append(concurrency.capacity(100, 20))
    assert seen == [10, 5, 2, 1]
    concurrency.failed(100)
    assert concurrency.capacity(100, 20) == 0
    intervals = []
    now = 100.0
    for _ in range(6):
        due = concurrency.next_probe
        intervals.append(due - now)
        assert concurrency.capacity(due - 0.1, 20) == 0
        assert concurrency.capacity(due, 20) == 1
        now = due
        concurrency.failed(now)
    assert intervals == [5, 10, 20, 40, 60, 60]


def test_only_one_probe_runs_and_its_success_raises_concurrency() -> None:
    concurrency = Concurrency()
    for _ in range(5):
        concurrency.failed(0)
    concurrency.running = 1
    assert concurrency.capacity(1, 20) == 1
    concurrency.running = 0
    concurrency.succeeded(20)
    assert concurrency.capacity(1, 20) == 6
    concurrency.failed(2)
    assert concurrency.capacity(2, 20) == 3


def test_f47_a_server_that_refuses_connections_gets_no_more_than_it_accepts() -> None:
    concurrency = Concurrency()
    concurrency.sessions = 2
    concurrency.turned_away(100)
    assert concurrency.capacity(100, 20) == 2
    for _ in range(9):
        concurrency.succeeded(20)
    assert concurrency.capacity(159, 20) == 2
    assert concurrency.capacity(160, 20) == 2
    # The limit grows only by one, although several transactions have succeeded.
    concurrency.succeeded(20)
    assert concurrency.capacity(160, 20) == 3
    concurrency.sessions = 0
    concurrency.turned_away(200)
    assert concurrency.capacity(200, 20) == 1


def test_f65_a_dead_destination_is_probed_by_its_retry_schedule() -> None:
    concurrency = Concurrency()
    for _ in range(8):
        concurrency.failed(100, 0.3)
    assert concurrency.next_probe == 100.3
    assert round(concurrency.probe_in(100), 6) == 0.3
    concurrency.running = 1
    assert concurrency.probe_in(100) == 0
    concurrency.running = 0
    concurrency.succeeded(20)
    assert concurrency.probe_in(100) == 0


def test_destinations_are_bounded_and_running_ones_are_kept() -> None:
    limits = ConcurrencyLimits()
    first = limits.of("domain:first.test")
    first.running = 1
    for number in range(20_010):
        limits.of(f"domain:{number}.test")
    assert limits.of("domain:first.test") is first
    assert len(limits._limits) <= 20_001


def test_a_dead_host_is_tried_again_by_only_one_transaction() -> None:
    dead = DeadHosts()
    assert not dead.avoid("192.0.2.1", 25, 0)
    dead.failed("192.0.2.1", 25, 0)
    # Failures of transactions that had already begun change nothing.
    dead.failed("192.0.2.1", 25, 1)
    assert dead.avoid("192.0.2.1", 25, 29.9)
    assert not dead.avoid("192.0.2.1", 2525, 0)
    assert [dead.avoid("192.0.2.1", 25, 30), dead.avoid("192.0.2.1", 25, 30)] == [False, True]
    dead.answered("192.0.2.1", 25)
    assert not dead.avoid("192.0.2.1", 25, 31)


def test_the_interval_between_tries_of_a_dead_host_doubles_up_to_five_minutes() -> None:
    dead = DeadHosts()
    now, gaps = 0.0, []
    dead.failed("192.0.2.1", 25, now)
    for _ in range(6):
        start = now
        while dead.avoid("192.0.2.1", 25, now):
            now += 1
        gaps.append(now - start)
        dead.failed("192.0.2.1", 25, now)
    assert gaps == [30, 60, 120, 240, 300, 300]


def test_a_silent_host_is_avoided_for_longer_than_a_retry_waits() -> None:
    dead = DeadHosts()
    dead.failed("192.0.2.1", 25, 0, silent=True)
    assert dead.avoid("192.0.2.1", 25, 1799)
    assert [dead.avoid("192.0.2.1", 25, 1800), dead.avoid("192.0.2.1", 25, 1800)] == [False, True]
    dead.failed("192.0.2.1", 25, 1800, silent=True)
    assert dead.avoid("192.0.2.1", 25, 3599)
    assert not dead.avoid("192.0.2.1", 25, 3600)
    # A host that refuses connections at once costs less time, so it is tried again sooner.
    dead.failed("192.0.2.1", 25, 3600)
    assert not dead.avoid("192.0.2.1", 25, 3900)
