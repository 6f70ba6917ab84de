"""DNS block lists (C83, C84; RFC 5782), tested through complete decisions."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from services.policy.lookups.dnsbl import query_name
from tests.peers.dns import Behaviour, DnsServer
from tests.policy.requests import rcpt, replied
from tests.policy.serving import serving
from tests.policy.world import STRANGER, STRANGER_V6, snapshot


def rules(*zones: str) -> dict[str, object]:
    return {"content_checks": {"dnsbl": {"mode": "enforce", "zones": [{"zone": zone} for zone in zones]}}}


async def decided(dns_server: DnsServer, *zones: str, client: str = STRANGER, seconds: float = 2.0) -> str:
    async with serving(snapshot(rules(*zones)), dns=dns_server.address, lookup_seconds=seconds) as policy:
        return replied(await policy.decide(rcpt("alice@local.test", client=client)))


def broken(zone: str) -> float | None:
    return REGISTRY.get_sample_value("posthouse_policy_dnsbl_zone_broken", {"zone": zone})


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.10", "10.2.0.192.list.test"),
        (
            "2001:db8:1:2::25",
            "5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.list.test",
        ),
    ],
)
def test_c84_query_names_are_built(address: str, name: str) -> None:
    assert query_name(address, "list.test") == name


@pytest.mark.parametrize("answer", ["127.255.255.252", "127.255.255.254", "127.255.255.255", "203.0.113.7"])
async def test_c83_an_error_code_or_an_address_outside_127_is_not_a_listing(answer: str, dns_server: DnsServer) -> None:
    zone = f"z{answer.replace('.', '-')}.test"
    dns_server.add(query_name(STRANGER, zone), "A", answer)
    assert await decided(dns_server, zone) == "accept"
    assert broken(zone) == 1


@pytest.mark.parametrize("behaviour", [Behaviour.SERVFAIL, Behaviour.REFUSED, Behaviour.NODATA, Behaviour.NXDOMAIN])
async def test_c83_a_missing_answer_and_an_empty_one_are_not_listings(
    behaviour: Behaviour, dns_server: DnsServer
) -> None:
    dns_server.behave(query_name(STRANGER, "list.test"), behaviour)
    assert await decided(dns_server, "list.test") == "accept"


async def test_c83_nobody_is_refused_while_the_test_entry_has_no_answer(dns_server: DnsServer) -> None:
    dns_server.add(query_name(STRANGER, "unsure.test"), "A", "127.0.0.2")
    dns_server.behave("1.0.0.127.unsure.test", Behaviour.SERVFAIL)
    assert await decided(dns_server, "unsure.test") == "accept"


async def test_c84_a_list_of_only_ipv6_addresses_has_its_own_test_entry(dns_server: DnsServer) -> None:
    """::FFFF:7F00:1 must not be listed in a zone that works (RFC 5782 section 5)."""
    for zone in ("six.test", "wild.test"):
        dns_server.add(query_name(STRANGER_V6, zone), "A", "127.0.0.2")
    dns_server.add(query_name("::ffff:7f00:1", "wild.test"), "A", "127.0.0.2")
    assert await decided(dns_server, "six.test", client=STRANGER_V6) == "554 5.7.1"
    assert await decided(dns_server, "wild.test", client=STRANGER_V6) == "accept"
    assert broken("wild.test") == 1


async def test_c83_one_listing_among_several_records_is_enough(dns_server: DnsServer) -> None:
    dns_server.add(query_name(STRANGER, "list.test"), "A", "127.0.0.200", "127.0.0.4")
    assert await decided(dns_server, "list.test") == "554 5.7.1"


async def test_c83_a_list_that_lists_everything_is_ignored(dns_server: DnsServer) -> None:
    dns_server.add("*.everything.test", "A", "127.0.0.2")
    assert await decided(dns_server, "everything.test") == "accept"
    assert broken("everything.test") == 1


async def test_f30_a_list_without_the_usual_test_entry_is_used(dns_server: DnsServer) -> None:
    dns_server.add(query_name(STRANGER, "bare.test"), "A", "127.0.0.2")
    assert await decided(dns_server, "bare.test") == "554 5.7.1"
    assert broken("bare.test") == 0


async def test_c83_a_list_that_is_known_to_list_everything_is_not_asked(dns_server: DnsServer) -> None:
    dns_server.add("*.everything.test", "A", "127.0.0.2")
    async with serving(snapshot(rules("everything.test")), dns=dns_server.address) as policy:
        for client in (STRANGER, "192.0.2.11"):
            assert replied(await policy.decide(rcpt("alice@local.test", client=client))) == "accept"
    asked = {query.name for query in dns_server.queries}
    assert query_name(STRANGER, "everything.test") in asked
    assert query_name("192.0.2.11", "everything.test") not in asked


async def test_a_silent_list_does_not_delay_the_others_beyond_the_deadline(dns_server: DnsServer) -> None:
    dns_server.behave("*.silent.test", Behaviour.SILENT)
    dns_server.add(query_name(STRANGER, "list.test"), "A", "127.0.0.2")
    assert await decided(dns_server, "silent.test", "list.test", seconds=0.5) == "554 5.7.1"


@pytest.mark.parametrize(
    "client", ["10.1.2.3", "172.20.0.1", "192.168.1.1", "127.0.0.1", "100.64.0.1", "169.254.1.1", "::1", "fd00::1"]
)
async def test_c84_private_clients_are_not_asked_about(client: str, dns_server: DnsServer) -> None:
    dns_server.add("*.list.test", "A", "127.0.0.2")
    assert await decided(dns_server, "list.test", client=client) == "accept"
    assert dns_server.queries == ()


async def test_c84_mapped_and_ipv6_clients_are_looked_up(dns_server: DnsServer) -> None:
    for client in (STRANGER, STRANGER_V6):
        dns_server.add(query_name(client, "list.test"), "A", "127.0.0.2")
    assert await decided(dns_server, "list.test", client=f"::ffff:{STRANGER}") == "554 5.7.1"
    assert await decided(dns_server, "list.test", client=STRANGER_V6) == "554 5.7.1"
