"""The rate limit of messages a minute to one destination counts for all relays together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from services.relay.clock import MICROSECONDS
from services.relay.configuration.model import Configuration, QueueSettings
from services.relay.queue.database import open_database
from services.relay.scheduler.message_rates import MessageRates
from tests.relay.whole_relay import HandClock, WholeRelay

_MINUTE = 60 * MICROSECONDS
LIMITED = Configuration(1, "gw.test", queue=QueueSettings(max_messages_per_minute_per_destination=3))


def _at_the_beginning_of_a_minute() -> HandClock:
    clock = HandClock()
    clock.pass_time((_MINUTE - clock.now() % _MINUTE) / MICROSECONDS + 1)
    return clock


async def test_messages_over_the_rate_limit_wait_for_the_next_minute(database_url: str, tmp_path: Path) -> None:
    clock = _at_the_beginning_of_a_minute()
    async with WholeRelay(database_url, tmp_path, LIMITED, clock=clock) as relay:
        for number in range(5):
            await relay.submit(b"u%d@one.test" % number)
        await relay.submit(b"u@two.test")
        await relay.transport.until_ended(4)
        ended = [each.destination for each in relay.transport.ended]
        assert sorted(ended) == ["domain:one.test"] * 3 + ["domain:two.test"]
        clock.pass_time(60)
        relay.relay.dispatcher.wake()
        await relay.transport.until_ended(6)
        await relay.settled(6)


async def test_without_a_limit_nothing_is_counted(database_url: str, tmp_path: Path) -> None:
    async with WholeRelay(database_url, tmp_path, replace(LIMITED, queue=QueueSettings())) as relay:
        for number in range(5):
            await relay.submit(b"u%d@one.test" % number)
        await relay.settled(5)
        assert await relay.rows("SELECT count(*) FROM message_counts") == [(0,)]


async def test_replicas_with_one_database_count_together(postgres_url: str) -> None:
    clock = _at_the_beginning_of_a_minute()
    database = open_database(postgres_url)
    await database.open()
    try:
        first, second = MessageRates(database, clock), MessageRates(database, clock)
        taken = [await rates.take("domain:one.test", 3) for rates in (first, second, first, second)]
        assert taken == [True, True, True, False]
        assert not await first.take("domain:one.test", 3)
        assert (first.is_exhausted("domain:one.test"), first.is_exhausted("domain:two.test")) == (True, False)
        clock.pass_time(60)
        assert not first.is_exhausted("domain:one.test")
        assert await first.take("domain:one.test", 3)
    finally:
        await database.close()
