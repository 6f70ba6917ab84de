"""The number of recorded refusals is limited, for each client and for all clients together.

No refusal is recorded when space is short.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from services.relay.intake import disk_space
from services.relay.intake.refusals import RefusalLimits
from services.relay.intake.submission import Frame, Refusal
from services.relay.model.message import Origin
from tests.relay.whole_relay import WholeRelay

TWO_HOURS = 7_200


def not_recorded() -> float:
    return REGISTRY.get_sample_value("posthouse_relay_refusals_dropped_total") or 0.0


def test_refusals_of_a_client_are_recorded_up_to_its_share() -> None:
    limits = RefusalLimits(0.0)
    before = not_recorded()
    assert sum(limits.admit("network:198.51.100.0/24", 1.0, space_is_short=False) for _ in range(1000)) == 100
    assert not_recorded() - before == 900
    assert limits.admit("network:203.0.113.0/24", 1.0, space_is_short=False)
    # The client's allowance is refilled with time.
    assert sum(limits.admit("network:198.51.100.0/24", 101.0, space_is_short=False) for _ in range(1000)) == 10


def test_refusals_of_a_thousand_clients_stay_within_the_common_limit() -> None:
    limits = RefusalLimits(0.0)
    clients = [f"network:198.18.{number}.0/24" for number in range(1000)]
    # Each client tries once in ten seconds. In each of these rounds, some refusals are recorded.
    recorded = [
        sum(limits.admit(client, float(second), space_is_short=False) for client in clients)
        for second in range(0, TWO_HOURS, 10)
    ]
    assert sum(recorded) <= 2_000 + 2 * TWO_HOURS
    assert min(recorded) > 0


def test_the_number_of_clients_that_are_remembered_is_bounded() -> None:
    limits = RefusalLimits(0.0)
    for number in range(30_000):
        limits.admit(f"network:{number}", 0.0, space_is_short=False)
    assert len(limits._clients) == 10_000


def refusal(address: str, number: int) -> Refusal:
    origin = Origin("s1", address, b"client.test", "", "smtp")
    recipients = (b"u%d@one.test" % number,)
    return Refusal(
        origin, b"a@sender.test", recipients, 550, "5.1.1", "no such user", "unknown_recipient", "", "rcpt", 0, False
    )


async def test_refusals_of_one_client_leave_room_for_those_of_others(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path) as relay:
        flood = [refusal("198.51.100.7", number) for number in range(300)]
        relay.stream.feed(Frame((), (), (), (*flood, refusal("203.0.113.7", 0))))
        await relay.committed()
        assert await relay.rows("SELECT client_address, count(*) FROM messages GROUP BY 1 ORDER BY 1") == [
            ("198.51.100.7", 100),
            ("203.0.113.7", 1),
        ]


async def test_while_space_is_short_no_refusal_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with WholeRelay(f"sqlite:///{tmp_path / 'queue.sqlite3'}", tmp_path) as relay:
        monkeypatch.setattr(disk_space, "_SHORT", 2**60)
        relay.stream.feed(Frame((), (), (), (refusal("203.0.113.7", 0),)))
        await relay.submit(b"u@one.test")
        await relay.settled(1)
        assert await relay.rows("SELECT kind, count(*) FROM messages GROUP BY kind") == [(0, 1)]
