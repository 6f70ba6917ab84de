"""The checks of a domain, as other mail servers see it, with a real name server and a real SMTP server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import trustme

from services.command_line.domain_checks import DomainChecks, findings
from tests.peers.dns import DnsServer
from tests.peers.smtp_sink import Offer, SmtpSink

KEY: dict[str, Any] = {"dns_name": "s1._domainkey.seen.test", "dns_record": "v=DKIM1; k=rsa; p=AAAA", "enabled": True}


@pytest.fixture
def names() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


def seen(names: DnsServer, port: int, *keys: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Returns level and text of the last finding of each check."""
    checks = DomainChecks("seen.test", nameserver=names.address, port=port)
    return {finding.id: (finding.level, finding.text) for finding in findings(checks, keys)}


def test_a_domain_without_faults_passes_every_check(names: DnsServer) -> None:
    certificate = trustme.CA().issue_cert("mx.seen.test")
    names.add("seen.test", "MX", "10 mx.seen.test.")
    names.add("mx.seen.test", "A", "127.0.0.1")
    names.add("1.0.0.127.in-addr.arpa", "PTR", "mx.seen.test.")
    names.add("seen.test", "TXT", '"v=spf1 mx -all"')
    names.add("_dmarc.seen.test", "TXT", '"v=DMARC1; p=reject"')
    names.add(KEY["dns_name"], "TXT", '"v=DKIM1; k=rsa; " "p=AAAA"')
    with SmtpSink(offer=Offer(starttls=True), certificate=certificate) as sink:
        levels = {check: level for check, (level, _) in seen(names, sink.port, KEY).items()}
    assert levels == dict.fromkeys(("ptr", "port_25", "spf", "dmarc", "dkim"), "ok")


def test_a_domain_without_records_gets_an_error_and_warnings(names: DnsServer) -> None:
    result = seen(names, 25)
    assert {check: level for check, (level, _) in result.items()} == {
        "mx": "error",
        "spf": "warning",
        "dmarc": "warning",
        "dkim": "warning",
    }


def test_faults_of_a_domain_are_reported(names: DnsServer) -> None:
    names.add("seen.test", "MX", "10 mx.seen.test.")
    names.add("mx.seen.test", "A", "127.0.0.1")
    names.add("seen.test", "TXT", '"v=spf1 -all"')
    names.add("seen.test", "TXT", '"v=spf1 mx -all"')
    names.add(KEY["dns_name"], "TXT", '"v=DKIM1; k=rsa; p=BBBB"')
    result = seen(names, 1, KEY)
    assert {check: level for check, (level, _) in result.items()} == {
        "ptr": "warning",
        "port_25": "error",
        "spf": "error",
        "dmarc": "warning",
        "dkim": "error",
    }
    assert "another key" in result["dkim"][1]


@pytest.mark.parametrize(
    ("published", "is_same"),
    [
        ("v=DKIM1; k=rsa; p=AAAA", True),
        ("v=DKIM1; h=sha256; p=AA AA; t=s", True),
        ("p=AAAA", True),
        ("v=DKIM1; k=ed25519; p=AAAA", False),
        ("v=DKIM1; k=rsa; p=", False),
        ("something else", False),
    ],
)
def test_a_record_that_another_program_wrote_is_compared_by_its_key(
    names: DnsServer, published: str, is_same: bool
) -> None:
    names.add(KEY["dns_name"], "TXT", f'"{published}"')
    assert DomainChecks("seen.test", nameserver=names.address).has_record(KEY) is is_same
    assert (seen(names, 1, KEY)["dkim"][0] == "ok") is is_same
