"""Services are killed with SIGKILL at random under load: no accepted message is lost, and every duplicate is marked.

By default there are a few hundred messages and a few kills. With `--torture` (`make torture`) there are ten thousand
messages and sixty kills.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.e2e import chaos, world
from tests.peers.dns import DnsServer
from tests.peers.postgres import Postgres
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink, Stage, reply
from tests.peers.suite import Suite
from tests.relay.contradictions import contradictions

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


@pytest.fixture
def everywhere(far: SmtpSink, outside: DnsServer) -> SmtpSink:
    """The only next hop of all domains, which refuses one recipient."""
    for domain in ("further.test", "sender.test"):
        outside.add(domain, "MX", "10 mx.far.test.")
    far.on(Stage.RCPT, reply("550 5.1.1 no such user"), address=chaos.REFUSED)
    return far


def environment(far: SmtpSink) -> dict[str, str]:
    levels = {f"{service}_LOG_LEVEL": "warning" for service in ("INGRESS", "POLICY", "RELAY", "CONFIG_API")}
    return {"RELAY_MX_PORT": str(far.port), "RELAY_LEASE_SECONDS": "2", **levels}


def test_nothing_is_lost_on_sqlite_when_services_are_killed(
    start_suite: Callable[[Suite], Suite], everywhere: SmtpSink, outside: DnsServer, torture: bool
) -> None:
    suite = start_suite(Suite(environment(everywhere), nameservers=outside.address))

    def query(sql: str) -> int:
        path = suite.folder / "relay" / "queue.sqlite3"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as connection:
            return int(connection.execute(sql).fetchone()[0])

    victims = ("ingress", "policy", "relay")
    messages, kills = (10_000, 60) if torture else (200, 4)
    _torture(
        suite, everywhere, victims, messages, kills, suite.kill, suite.start_service, lambda: contradictions(query)
    )


def test_nothing_is_lost_on_postgresql_with_two_relays_when_services_are_killed(
    start_suite: Callable[[Suite], Suite],
    everywhere: SmtpSink,
    outside: DnsServer,
    postgres: Postgres,
    postgres_url: str,
    torture: bool,
) -> None:
    suite = start_suite(
        Suite(
            environment(everywhere),
            nameservers=outside.address,
            replicas={"relay": 2},
            postgres_url=postgres_url,
        )
    )

    def kill(victim: str) -> None:
        if victim == "postgresql":
            postgres.kill()
        else:
            suite.kill(victim)

    def start(victim: str) -> None:
        if victim == "postgresql":
            postgres.start()
        else:
            suite.start_service(victim)

    def query(sql: str) -> int:
        return int(postgres.query(sql, postgres_url.rpartition("/")[2]))

    victims = ("ingress", "policy", "relay", "relay-2", "postgresql")
    messages, kills = (10_000, 60) if torture else (300, 6)
    _torture(suite, everywhere, victims, messages, kills, kill, start, lambda: contradictions(query, "relay."))


def _torture(
    suite: Suite,
    far: SmtpSink,
    victims: tuple[str, ...],
    messages: int,
    kills: int,
    kill: Callable[[str], None],
    start: Callable[[str], None],
    look: Callable[[], dict[str, int]],
) -> None:
    world.trust_loopback(suite)
    until(lambda: world.reply_to_rcpt(suite, "bob@far.test")[0] == 250, "clients on loopback are trusted")
    chance = random.Random(7)
    looks = 0

    def start_and_look(victim: str) -> None:
        nonlocal looks
        start(victim)
        assert look() == {}
        looks += 1

    began = time.monotonic()
    with chaos.Load(suite, messages) as load:
        killed = chaos.kill_at_random(load, messages, victims, kills, chance, kill, start_and_look)
    world.until_queue_is_empty(suite, 180)
    took = time.monotonic() - began
    assert look() == {}
    figures = chaos.compare(load.fates, chaos.history(suite), far)
    assert figures.accepted == messages
    print(f"{dict(killed)} killed in {took:.0f} s, {looks} looks at the tables under load; {figures}")
