"""The fixtures that give tests their real peers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trustme

from tests.peers.dns import DnsServer
from tests.peers.smtp_sink import SmtpSink


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    """An empty DNS server on loopback; give `dns_server.address` to the *_NAMESERVERS variables."""
    with DnsServer() as server:
        yield server


@pytest.fixture(scope="session")
def certificates() -> trustme.CA:
    """A certificate authority: `certificates.issue_cert("mx.example.test")`, `certificates.configure_trust(context)`."""
    return trustme.CA()


@pytest.fixture
def smtp_sink() -> Iterator[SmtpSink]:
    """A plain SMTP server that accepts everything; make an `SmtpSink` yourself for TLS, AUTH, LMTP or an address."""
    with SmtpSink() as sink:
        yield sink
