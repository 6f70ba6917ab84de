"""One running suite for each module of tests, with a local domain, an account, and the outside world on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import world
from tests.peers.dns import DnsServer
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink
from tests.peers.suite import Suite


@pytest.fixture(scope="module")
def loopback() -> str:
    """The address at which the suite and its peers listen.

    A module may override it with one address or with several.
    """
    return "127.0.0.1"


@pytest.fixture(scope="module")
def outside(loopback: str) -> Iterator[DnsServer]:
    """The name server that knows far.test. The tests of a module may add other names."""
    with DnsServer(host=loopback) as server:
        yield server


@pytest.fixture(scope="module")
def _far(outside: DnsServer, loopback: str) -> Iterator[SmtpSink]:
    with SmtpSink(host=loopback) as sink:
        outside.add("far.test", "MX", "10 mx.far.test.")
        outside.add("mx.far.test", "AAAA" if ":" in sink.host else "A", sink.host)
        yield sink


@pytest.fixture
def far(_far: SmtpSink) -> SmtpSink:
    """The mail server of far.test, which is its MX host, without scripts and records of earlier tests."""
    _far.clear()
    return _far


@pytest.fixture(scope="module")
def _suite(outside: DnsServer, _far: SmtpSink, loopback: str) -> Iterator[Suite]:
    environment = {
        "RELAY_MX_PORT": str(_far.port),
        "INGRESS_RELAY_SECONDS": "5",
        # The receivers of webhooks are on loopback too.
        "CONFIG_API_WEBHOOK_NETWORKS": "127.0.0.0/8,::1/128",
        **{f"{service}_HOST": loopback for service in ("INGRESS", "CONFIG_API")},
    }
    with Suite(environment, nameservers=outside.address, host=loopback) as running:
        world.local_domain(running)
        world.account(running)
        world.until_in_force(running)
        until(lambda: world.reply_to_rcpt(running, world.ALICE)[0] == 250, "ingress has connected to policy and relay")
        yield running
        print(running.logs[-20_000:])


@pytest.fixture
def suite(_suite: Suite, far: SmtpSink) -> Suite:
    """A running Posthouse with the local domain ours.test and alice's account.

    The mail of earlier tests is still in the suite.
    """
    return _suite
