"""A running suite with a domain, an account and the outside world on loopback."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e import world
from tests.peers.dns import DnsServer
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink
from tests.peers.suite import Suite


@pytest.fixture
def far(dns_server: DnsServer, smtp_sink: SmtpSink) -> SmtpSink:
    """The mail server of far.test, found by MX."""
    dns_server.add("far.test", "MX", "10 mx.far.test.")
    dns_server.add("mx.far.test", "A", smtp_sink.host)
    return smtp_sink


@pytest.fixture
def suite(start_suite: Callable[[Suite], Suite], dns_server: DnsServer, far: SmtpSink) -> Suite:
    """Posthouse with ours.test as a local domain and alice in it; far.test is out there."""
    running = start_suite(
        Suite({"RELAY_MX_PORT": str(far.port), "INGRESS_RELAY_SECONDS": "5"}, nameservers=dns_server.address)
    )
    world.local_domain(running)
    world.account(running)
    until(lambda: world.reply_to_rcpt(running, world.ALICE)[0] == 250, "policy knows the account")
    return running
