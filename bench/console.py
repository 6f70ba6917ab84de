"""Measures pages of the console while very many messages wait: `python -m bench.console`.

Before the suite starts, the queue is filled in the way in which relay stores messages. The messages are for 20 domains,
which are suspended, so that no delivery is tried. Then each page is requested several times over HTTP, by one user,
without other load. The program fails when the median time of a page is over `--limit` milliseconds. Two requests that
read every message are measured too, and have no limit: a search for a text that no message has, and the preview of an
action on all messages.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from services.console.app import PAGES
from services.relay.model.message import NewDelivery, NewMessage, Origin
from services.relay.model.states import FOREVER, Kind, State
from services.relay.queue.database import Connection, open_database
from services.relay.queue.destinations import Suspension, suspend
from services.relay.queue.leases import reserve
from services.relay.queue.storing import store
from tests.console.visitor import Visitor
from tests.e2e import world
from tests.peers.suite import Suite

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_DOMAINS = 20
_BATCH = 2_000
# The number of messages that are stored in one commit, as relay does when several arrive at the same time.
_TOGETHER = 20
# One of 11 messages is held, and one of 7 has two recipients.
_HELD, _WITH_TWO = 11, 7
_OWNER = 7
# Pages that are left out because one is a stream that never ends, and the other needs a query.
_WITH_MORE = ("/live/events", "/changes/compare")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=15, help="how often each page is asked for")
    parser.add_argument("--limit", type=float, default=200.0, help="milliseconds that the median may be")
    arguments = parser.parse_args()
    suite = Suite(console=True, metrics=False)
    try:
        began = time.monotonic()
        folder = suite.folder / "relay"
        folder.mkdir(mode=0o700)
        asyncio.run(fill(folder / "queue.sqlite3", arguments.messages))
        _say(f"{arguments.messages} messages stored in {time.monotonic() - began:.1f} s")
        suite.start()
        # Pages about changes need two revisions.
        world.trust_loopback(suite)
        world.account(suite, address="alice@elsewhere.test")
        newest = world.newest_revision(suite)
        with Visitor(suite.console_url, suite.admin_key) as visitor:
            limit = arguments.limit
            slow = [path for path in paths(suite, newest) if not is_fast(visitor, path, arguments.times, limit)]
            is_fast(visitor, "/messages?q=nowhere.test", 3, limit)
            began = time.monotonic()
            form = {"token": visitor.token("/queue"), "action": "hold", "sender_domain": "sender.test"}
            answer = visitor.http.post("/queue/many", data=form)
            if answer.status_code != 200:
                raise SystemExit(f"/queue/many: {answer.status_code}")
            _say(f"what a hold of all messages would do: {time.monotonic() - began:.1f} s")
    finally:
        suite.stop()
    if slow:
        raise SystemExit(f"over {arguments.limit:g} ms: {', '.join(slow)}")


def is_fast(visitor: Visitor, path: str, times: int, limit: float) -> bool:
    """Requests a page several times, and prints how long this took. Returns whether the median is within the limit."""
    taken = []
    octets = 0
    for _ in range(times):
        began = time.perf_counter()
        answer = visitor.http.get(path)
        taken.append(1000 * (time.perf_counter() - began))
        if answer.status_code != 200:
            raise SystemExit(f"{path}: {answer.status_code}")
        octets = len(answer.content)
    taken.sort()
    median = statistics.median(taken)
    _say(f"{path:<60} median {median:6.1f} ms, most {taken[-1]:6.1f} ms, {octets / 1000:5.1f} KB")
    return median <= limit


def paths(suite: Suite, newest: int) -> list[str]:
    """Returns the paths of all pages without a variable part, and of the searches and actions that are used most."""
    fixed = sorted(
        route.path
        for module in PAGES
        for route in module.router.routes
        if "GET" in route.methods and "{" not in route.path and route.path not in _WITH_MORE
    )
    waiting = suite.api.get("/v1/queue/messages", params={"limit": 1}).json()["items"][0]
    return [
        *fixed,
        "/?period=week",
        f"/changes/compare?from={newest - 1}&to={newest}",
        f"/changes/{newest}",
        f"/messages/{waiting['queue_id']}",
        f"/messages/{waiting['queue_id']}/hold",
        f"/messages?q={waiting['queue_id']}",
        "/messages?q=1.7919@sender.test",
        "/messages?q=to:user1@domain1.test",
        "/messages?q=to-domain:domain1.test",
        "/messages?q=destination:domain:domain1.test",
        "/messages?q=state:held",
        "/try?client=192.0.2.7&recipient=x@domain1.test",
        "/configuration/access-rules",
        "/configuration/settings/content-checks",
    ]


async def fill(path: Path, messages: int) -> None:
    """Fills a queue with this number of messages of 2 KB, which arrived during the last day."""
    database = open_database(f"sqlite:///{path}")
    await database.open()
    try:
        now = time.time_ns() // 1000
        for first in range(0, messages, _BATCH):
            count = min(_BATCH, messages - first)

            def work(connection: Connection) -> None:
                new = list(_messages(connection, first, count, messages, now))  # noqa: B023 - used at once
                for start in range(0, len(new), _TOGETHER):
                    together = new[start : start + _TOGETHER]
                    store(connection, together, _OWNER, together[-1].received_at)

            await database.write(work)
        await database.write(_suspend_all)
    finally:
        await database.close()


def _suspend_all(connection: Connection) -> None:
    for number in range(_DOMAINS):
        suspend(connection, Suspension(f"domain:domain{number}.test", FOREVER, "bench"))


def _messages(connection: Connection, first: int, count: int, of: int, now: int) -> Iterator[NewMessage]:
    origin = Origin("s" * 32, "192.0.2.9", b"client.example", "", "smtp", tls=True)
    ids = iter(reserve(connection, 3 * count))
    for number in range(first, first + count):
        received_at = now - _DAY + number * (_DAY // of)
        domain = f"domain{number % _DOMAINS}.test"
        state = State.HELD if number % _HELD == 0 else State.QUEUED
        users = [f"user{number}", f"copy{number}"] if number % _WITH_TWO == 0 else [f"user{number}"]
        header = (
            f"From: Anna <anna@sender.test>\r\nTo: {users[0]}@{domain}\r\nSubject: A message of the benchmark\r\n"
            f"Message-ID: <{number}.{number * 7919}@sender.test>\r\n\r\n"
        )
        yield NewMessage(
            next(ids),
            Kind.MAIL,
            b"anna@sender.test",
            header.encode() + b"x" * 2_000 + b"\r\n",
            received_at,
            tuple(NewDelivery(next(ids), f"{user}@{domain}".encode(), state, f"domain:{domain}") for user in users),
            # The id has the form that ingress makes: the time, and then random digits.
            f"{received_at // 1000:012x}{random.getrandbits(80):020x}",
            origin,
            sweep_at=now + _DAY,
            unleased=frozenset({f"domain:{domain}"}),
            source="network:192.0.2.0/24",
        )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
