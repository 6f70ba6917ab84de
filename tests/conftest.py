"""The fixtures that give tests their real peers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers.dns import DnsServer


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    """An empty DNS server on loopback; give `dns_server.address` to the *_NAMESERVERS variables."""
    with DnsServer() as server:
        yield server
