"""Measures the search among a million messages by Message-ID, and the cost of its index: `python -m
bench.message_search`.

It makes two measurements, on SQLite and on PostgreSQL with fsync.

Search: the time in which relay reads a page of `GET /v1/messages?message_id=…`, for Message-IDs that exist and for some
that do not, among messages that came within the seven days of retention.

Accepting: the time of commits of 20 messages into two databases in turn. One of the databases does not have the two
indexes, and the commits do not store Message-IDs in it. The ratio of the times shows how much longer a commit takes
because of the search. A commit is only a part of the work for an accepted message, so accepting mail slows down less
than the ratio says.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import text

from services.relay.model.message import NewDelivery, NewMessage, Origin, Settled
from services.relay.model.message_id import message_id_of
from services.relay.model.states import Kind, State
from services.relay.queue import storing
from services.relay.queue.database import Connection, Database, open_database
from services.relay.queue.filters import MessageFilter
from services.relay.queue.reading import message_page
from services.relay.queue.settling import Settlement, settle
from services.relay.queue.storing import store
from tests.peers.postgres import Postgres

_SECOND = 1_000_000
_NOW = 1_800_000_000 * _SECOND
_RETENTION = 7 * 86_400 * _SECOND
_OWNER = 7
_BATCH = 2_000
_SEARCHES = 400
_COMMIT = 20
_COMMITS = 400
_HEADER = (
    "Received: from client.example by mx.example.com with ESMTPS id 0192f3c4; Mon, 30 Nov 2026 02:00:00 +0000\r\n"
    "From: Anna <anna@sender.test>\r\nTo: u@one.test\r\nSubject: A message of the benchmark\r\n"
    "Date: Mon, 30 Nov 2026 02:00:00 +0000\r\nMessage-ID: <{}>\r\nMIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n\r\n"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--sqlite", action="store_true")
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--search", action="store_true", help="only search, which needs one database")
    arguments = parser.parse_args()
    both = not (arguments.sqlite or arguments.postgresql)
    if arguments.sqlite or both:
        with tempfile.TemporaryDirectory(prefix="posthouse-bench-", dir=".") as folder:
            urls = [f"sqlite:///{Path(folder).absolute() / name}" for name in ("searched", "plain")]
            asyncio.run(measure("SQLite", urls[0], urls[1], arguments.messages, only_search=arguments.search))
    if arguments.postgresql or both:
        with Postgres(durable=True) as server:
            urls = [server.create_database() for _ in range(2)]
            asyncio.run(measure("PostgreSQL", urls[0], urls[1], arguments.messages, only_search=arguments.search))


async def measure(name: str, searched_url: str, plain_url: str, messages: int, *, only_search: bool) -> None:
    """Makes both measurements, or only the one of the search."""
    searched, plain = open_database(searched_url), open_database(plain_url)
    try:
        await searched.open()
        await plain.open()
        await plain.write(_without_search)
        await fill(searched, messages)
        await report_searches(name, searched, messages)
        if only_search:
            return
        await fill(plain, messages)
        await report_commits(name, searched, plain, messages)
    finally:
        await searched.close()
        await plain.close()


def _without_search(connection: Connection) -> None:
    connection.execute(text("DROP INDEX messages_message_id"))
    connection.execute(text("DROP INDEX messages_received"))


def message_id(number: int) -> str:
    return f"{number * 7919:x}.{number}@sender.test"


def _messages(start: int, end: int, received_at: int, step: int) -> Iterator[NewMessage]:
    origin = Origin("s" * 32, "192.0.2.9", b"client.example", "", "smtp", tls=True)
    for number in range(start, end):
        delivery = NewDelivery(number, b"u@one.test", State.QUEUED, "domain:one.test")
        at = received_at + (number - start) * step
        yield NewMessage(
            number,
            Kind.MAIL,
            b"anna@sender.test",
            _HEADER.format(message_id(number)).encode() + b"x" * 2_000 + b"\r\n",
            at,
            (delivery,),
            # The id has the form that ingress makes: the time, and then random digits.
            f"{at // 1000:012x}{random.getrandbits(80):020x}",
            origin,
            sweep_at=_NOW + 4 * 3600 * _SECOND,
            source="network:192.0.2.0/24",
        )


def _finish(connection: Connection, new: list[NewMessage]) -> None:
    """Records the messages as delivered, so that the rows are like those of finished messages."""
    attempt = (
        '{"started_at": 1, "ended_at": 2, "result": "delivered", "code": 250, "text": "ok", "host": "mx.one.test"}'
    )
    settlements = [
        Settlement(
            message.id,
            _OWNER,
            tuple(
                Settled(delivery.id, State.DELIVERED, delivery.destination, None, 1, attempt, 1, "250 ok")
                for delivery in message.deliveries
            ),
            source=message.source,
        )
        for message in new
    ]
    settle(connection, settlements, _OWNER, _NOW)


async def fill(database: Database, messages: int) -> None:
    """Adds finished messages, spread over the time of retention."""
    step = _RETENTION // messages
    for first in range(1, messages + 1, _BATCH):
        last = min(first + _BATCH, messages + 1)
        new = list(_messages(first, last, _NOW - _RETENTION + first * step, step))

        def work(connection: Connection) -> None:
            store(connection, new, _OWNER, _NOW)  # noqa: B023 - used at once
            _finish(connection, new)  # noqa: B023

        await database.write(work)
    if not database.exclusive:
        # With a history that grows slowly, autovacuum would have done this.
        await database.write(lambda connection: connection.execute(text("ANALYZE")))


async def report_searches(name: str, database: Database, messages: int) -> None:
    chance = random.Random(1)
    for what in ("present", "absent"):
        times = []
        for _ in range(_SEARCHES):
            absent = f"{chance.getrandbits(64):x}@nowhere.test"
            asked = MessageFilter(message_id=message_id(chance.randint(1, messages)) if what == "present" else absent)
            began = time.perf_counter()
            page = await database.view(lambda connection: message_page(connection, asked, 100, None, _NOW))  # noqa: B023
            times.append(1000 * (time.perf_counter() - began))
            if len(page.messages) != (what == "present"):
                raise SystemExit(f"{len(page.messages)} messages were found")
        times.sort()
        sys.stdout.write(
            f"{name}: {messages} messages, {what} Message-ID: median {statistics.median(times):.2f} ms, "
            f"99 % within {times[len(times) * 99 // 100]:.2f} ms\n"
        )
        sys.stdout.flush()


async def report_commits(name: str, searched: Database, plain: Database, messages: int) -> None:
    """Prints the time of a commit, and its CPU time in this process, which depends little on other load."""
    times: dict[bool, list[float]] = {True: [], False: []}
    cpu: dict[bool, list[float]] = {True: [], False: []}
    # The other database gets no Message-IDs, as before the search existed.
    read_message_id = message_id_of
    number = messages + 1
    for _ in range(_COMMITS):
        new = list(_messages(number, number + _COMMIT, _NOW + number * 2_000, 2_000))
        number += _COMMIT
        for database in (searched, plain):
            has_index = database is searched
            setattr(storing, "message_id_of", read_message_id if has_index else _no_message_id)  # noqa: B010
            began, cpu_began = time.perf_counter(), time.process_time()
            await database.write(lambda connection: store(connection, new, _OWNER, _NOW))  # noqa: B023
            cpu[has_index].append(time.process_time() - cpu_began)
            times[has_index].append(time.perf_counter() - began)
            await database.write(lambda connection: _finish(connection, new))  # noqa: B023
    setattr(storing, "message_id_of", read_message_id)  # noqa: B010
    for what, measured in (("seconds", times), ("CPU seconds of this process", cpu)):
        with_index, without = statistics.median(measured[True]), statistics.median(measured[False])
        sys.stdout.write(
            f"{name}: {what} of a commit of {_COMMIT} messages: {1000 * with_index:.2f} ms with the indexes, "
            f"{1000 * without:.2f} ms without: {1_000_000 * (with_index - without) / _COMMIT:.1f} us a message\n"
        )
    sys.stdout.flush()


def _no_message_id(_: bytes) -> str:
    return ""


if __name__ == "__main__":
    main()
