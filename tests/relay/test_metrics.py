"""Metrics of attempts by destination: which destinations are shown, and how many relay counts. No label has a login."""

from __future__ import annotations

import pytest

from services.relay.metrics import DestinationAttempts, without_login


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def shown(attempts: DestinationAttempts) -> dict[tuple[str, str], float]:
    (family,) = attempts.collect()
    return {(sample.labels["destination"], sample.labels["result"]): sample.value for sample in family.samples}


def test_attempts_are_counted_by_destination_and_result() -> None:
    attempts = DestinationAttempts()
    for result in ("delivered", "deferred", "deferred"):
        attempts.add("domain:a.test", result)
    attempts.add("relay:smart.test:587:alice", "failed")
    attempts.add("relay:smart.test:587:bob", "failed")
    assert shown(attempts) == {
        ("domain:a.test", "delivered"): 1,
        ("domain:a.test", "deferred"): 2,
        ("relay:smart.test:587", "failed"): 2,
    }


def test_the_twenty_busiest_destinations_are_shown_with_all_their_attempts() -> None:
    clock = Clock()
    attempts = DestinationAttempts(clock)
    for number in range(30):
        for _ in range(100 + number):
            attempts.add(f"domain:early{number}.test", "delivered")
    assert {destination for destination, _ in shown(attempts)} == {
        f"domain:early{number}.test" for number in range(10, 30)
    }
    for _ in range(2):
        clock.now += 600
        attempts.add("domain:early0.test", "delivered")
        shown(attempts)
    assert shown(attempts)["domain:early0.test", "delivered"] == 102


def test_memory_is_bounded_and_busy_destinations_are_kept() -> None:
    attempts = DestinationAttempts()
    for number in range(10_000):
        attempts.add("domain:busy.test", "deferred")
        attempts.add(f"domain:once{number}.test", "failed")
    assert len(attempts._tallies) <= 1_000
    assert shown(attempts)["domain:busy.test", "deferred"] == 10_000
    assert len(shown(attempts)) == 20


@pytest.mark.parametrize(
    ("destination", "label"),
    [
        ("domain:x.test", "domain:x.test"),
        ("domain:[192.0.2.1]", "domain:[192.0.2.1]"),
        ("hold", "hold"),
        ("relay:smart.test:25", "relay:smart.test:25"),
        ("relay:smart.test:25:alice@our.test", "relay:smart.test:25"),
        ("relay:smart.test:25:12345", "relay:smart.test:25"),
        ("relay:2001:db8::1:25", "relay:2001:db8::1:25"),
        ("relay:2001:db8::1:25:alice", "relay:2001:db8::1:25"),
    ],
)
def test_no_label_contains_a_login(destination: str, label: str) -> None:
    assert without_login(destination) == label
