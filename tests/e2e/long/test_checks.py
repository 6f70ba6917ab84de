"""Each service of a complete suite checks its own machine, and `/v1/checks` shows all results."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.e2e import world
from tests.peers.dns import DnsServer, reverse_name
from tests.peers.process import until
from tests.peers.suite import Suite

pytestmark = pytest.mark.e2e

HOSTNAME = "mx.ours.test"
ADDRESS = "1.2.3.4"


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with DnsServer({".": {"SOA": "a.root. b.root. 1 2 3 4 5"}, HOSTNAME: {"A": ADDRESS}}) as server:
        server.secure(".")
        server.add(reverse_name(ADDRESS), "PTR", f"{HOSTNAME}.")
        yield server


def run(suite: Suite) -> dict[tuple[str, str], dict[str, Any]]:
    """Runs the checks and returns the worst result of each check, by service and id."""
    answer = suite.api.post("/v1/checks:run")
    assert answer.status_code == 200, answer.text
    results: dict[tuple[str, str], dict[str, Any]] = {}
    for each in answer.json()["items"]:
        results.setdefault((each["service"], each["id"]), each)
    return results


def test_every_service_reports_the_checks_of_its_own_machine(dns: DnsServer) -> None:
    environment = {"CONFIG_API_NAMESERVERS": dns.address}
    with Suite(environment, nameservers=dns.address) as suite:
        results = run(suite)
        _status_shows_the_certificate_that_clients_see(suite)
        of_all = {"disk", "clock", "open_files", "name_servers"}
        expected = {
            "config_api": {*of_all, "hostname", "relay_domains", "access_rules", "relay_rules"},
            "policy": {*of_all, "block_lists"},
            "relay": {*of_all, "dkim_records"},
            "ingress": {*of_all, "certificate"},
        }
        assert set(results) == {(service, check) for service, checks in expected.items() for check in checks}
        assert {results[service, "name_servers"]["level"] for service in expected} == {"ok"}
        assert results["config_api", "hostname"]["level"] == "error"
        _change_settings(suite)
        dns.add(f"{'.'.join(reversed(ADDRESS.split('.')))}.zen.test", "A", "127.0.0.2")

        def shows_faults() -> bool:
            """Returns whether the results show that policy and relay have the new settings."""
            found = run(suite)
            return (
                found["relay", "dkim_records"]["level"] == "error"
                and found["policy", "block_lists"]["level"] == "error"
                and found["config_api", "hostname"]["level"] == "ok"
                and HOSTNAME in found["ingress", "certificate"]["text"]
            )

        until(shows_faults, "the checks use the new settings")
        shown = suite.api.get("/v1/checks").json()["items"]
        assert f"lists {ADDRESS}" in next(each["text"] for each in shown if each["id"] == "block_lists")
        assert "is not published" in next(each["text"] for each in shown if each["id"] == "dkim_records")


def _change_settings(suite: Suite) -> None:
    world.change(suite, "/v1/settings/general", {"profile": {"hostname": HOSTNAME}})
    world.change(suite, "/v1/settings/content-checks", {"dnsbl": {"mode": "enforce", "zones": [{"zone": "zen.test"}]}})
    world.create(suite, "/v1/local-domains", {"name": "ours.test"})
    world.create(suite, "/v1/dkim-keys", {"domain": "ours.test", "selector": "s1", "algorithm": "ed25519-sha256"})


def _status_shows_the_certificate_that_clients_see(suite: Suite) -> None:
    (certificate,) = suite.api.get("/v1/status").json()["certificates"]
    assert Path(certificate["file"]).name == "self-signed.crt"
    assert "localhost" in certificate["names"]
    assert len(certificate["replicas"]) == 1
    shown = x509.load_pem_x509_certificate(Path(certificate["file"]).read_bytes())
    assert datetime.datetime.fromisoformat(certificate["ends_at"]) == shown.not_valid_after_utc
