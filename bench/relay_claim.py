"""Measures the cost of a claim while the queue grows: `python -m bench.relay_claim [--largest N] [--postgresql]
[--sqlite]`.

Half of the queued deliveries wait for one dead destination, which is suspended. The others are due. The benchmark
measures the claim of 100 deliveries for other destinations, in its own transaction. The claimed deliveries are given
back afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from services.relay.model.message import NewDelivery, NewMessage, Settled
from services.relay.model.states import FOREVER, Kind, State
from services.relay.queue.claiming import Claim, ClaimLimits, claim
from services.relay.queue.database import Connection, Database, open_database
from services.relay.queue.destinations import Suspension, suspend
from services.relay.queue.settling import Settlement, settle
from services.relay.queue.storing import store
from tests.peers.postgres import Postgres

_SECOND = 1_000_000
_NOW = 1_800_000_000 * _SECOND
_ME = 7
_CLAIMED = 100
_ROUNDS = 40
_BATCH = 2_000
_LIVE_DESTINATIONS = 20
_SOURCES = 3
_DEAD = "domain:dead.test"
_LIMITS = ClaimLimits(_CLAIMED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=1_000_000)
    parser.add_argument("--sqlite", action="store_true")
    parser.add_argument("--postgresql", action="store_true")
    arguments = parser.parse_args()
    both = not (arguments.sqlite or arguments.postgresql)
    sizes = [size for size in (1_000, 10_000, 100_000, 1_000_000) if size <= arguments.largest]
    if arguments.sqlite or both:
        with tempfile.TemporaryDirectory(prefix="posthouse-bench-", dir=".") as folder:
            small, large = (f"sqlite:///{Path(folder).absolute() / name}" for name in ("small", "large"))
            asyncio.run(measure("SQLite", small, large, sizes))
    if arguments.postgresql or both:
        with Postgres(durable=True) as server:
            asyncio.run(measure("PostgreSQL", server.create_database(), server.create_database(), sizes))


async def measure(name: str, small_url: str, large_url: str, sizes: list[int]) -> None:
    """Measures two queues, one of which grows. Claims alternate between them, so that other load affects both."""
    small, large = await _opened(small_url), await _opened(large_url)
    try:
        await fill(small, 0, sizes[0])
        sys.stdout.write(f"{name}: median of {_ROUNDS} claims of {_CLAIMED}\n")
        sys.stdout.write(f"{'queued':>10} {'ms':>8} {'ms at ' + str(sizes[0]):>12} {'ratio':>6} {'RSS MB':>7}\n")
        stored = 0
        for size in sizes:
            await fill(large, stored, size)
            stored = size
            for database in (small, large):
                if not database.exclusive:
                    # In a queue that grows slowly, autovacuum would have done this.
                    await database.write(lambda connection: connection.exec_driver_sql("ANALYZE"))
            few: list[float] = []
            many: list[float] = []
            for _ in range(_ROUNDS):
                few.append(await one_claim(small))
                many.append(await one_claim(large))
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            at_first, now = statistics.median(few), statistics.median(many)
            sys.stdout.write(
                f"{size:>10} {now * 1000:>8.2f} {at_first * 1000:>12.2f} {now / at_first:>6.2f} {memory:>7.0f}\n"
            )
            sys.stdout.flush()
    finally:
        await small.close()
        await large.close()


async def _opened(url: str) -> Database:
    database = open_database(url)
    await database.open()
    await database.write(lambda connection: suspend(connection, Suspension(_DEAD, FOREVER, "bench")))
    return database


async def fill(database: Database, start: int, end: int) -> None:
    """Adds messages with one delivery each. Half of the deliveries are for the dead destination. The others are due."""
    for first in range(start, end, _BATCH):
        new = list(_messages(first, min(first + _BATCH, end)))
        await database.write(lambda connection: store(connection, new, 0, _NOW))  # noqa: B023 - used at once


def _messages(start: int, end: int) -> Iterator[NewMessage]:
    for number in range(start + 1, end + 1):
        destination = _DEAD if number % 2 else f"domain:d{number // 2 % _LIVE_DESTINATIONS}.test"
        recipient = f"u{number}@{destination.partition(':')[2]}".encode()
        delivery = NewDelivery(number, recipient, State.QUEUED, destination)
        yield NewMessage(
            number,
            Kind.MAIL,
            b"a@sender.test",
            b"Subject: x\r\n\r\n" + b"x" * 500,
            _NOW,
            (delivery,),
            f"{number:032x}",
            sweep_at=_NOW + 4 * 3600 * _SECOND,
            unleased=frozenset((destination,)),
            source=f"account:{number % _SOURCES}",
        )


async def one_claim(database: Database) -> float:
    """Returns the seconds of one claim. The claimed deliveries are given back, and are due again after all others."""
    began = time.perf_counter()
    found = await database.write(lambda connection: claim(connection, _ME, _NOW, _LIMITS, _SECOND))
    took = time.perf_counter() - began
    if found.count == 0:
        raise SystemExit("nothing was claimed")
    await database.write(lambda connection: _give_back(connection, found))
    return took


def _give_back(connection: Connection, found: Claim) -> None:
    settlements = [
        Settlement(
            message.id,
            _ME,
            tuple(Settled(delivery.id, State.QUEUED, destination, _NOW, 0) for delivery in deliveries),
            source=message.source,
        )
        for destination, message, deliveries in found.jobs
    ]
    settle(connection, settlements, _ME, _NOW)


if __name__ == "__main__":
    main()
