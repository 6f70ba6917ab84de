"""Look-ups of the servers of a destination, with a real DNS server on loopback."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from libs.dns.servers import parse_server
from libs.dns.stub_resolver import Outcome, StubResolver, absolute
from services.relay.delivery.targets.dns import HostsFile, Resolver
from services.relay.delivery.targets.mx import MxResolver, OwnIdentity, Targets, parse_literal
from services.relay.delivery.targets.options import PROHIBITED_NETWORKS, networks, of_literals, own_addresses
from services.relay.delivery.targets.own_addresses import OwnAddresses, interface_addresses
from services.relay.model.attempt import Result
from tests.peers.dns import DnsServer
from tests.peers.dns_misbehaviour import Behaviour

GATEWAY = "mx.posthouse.test"
OURSELVES = OwnIdentity(
    frozenset((GATEWAY,)),
    OwnAddresses(((ip_address("192.0.2.99"), 0), (ip_address("192.0.2.98"), 2525))),
    networks(PROHIBITED_NETWORKS),
)


@pytest.fixture
async def resolver(dns_server: DnsServer) -> AsyncIterator[Resolver]:
    resolver = Resolver((dns_server.address,))
    yield resolver
    await resolver.close()


@pytest.fixture
def mx_resolver(resolver: Resolver) -> MxResolver:
    return MxResolver(resolver, random.Random(7), 25)


def tried(targets: Targets) -> list[str]:
    return [host.name for host in targets.hosts if not host.left_out]


def left_out(targets: Targets) -> dict[str, str]:
    return {host.name: host.left_out for host in targets.hosts if host.left_out}


def mx(dns: DnsServer, domain: str, *hosts: tuple[int, str, str]) -> None:
    """Adds MX records of (preference, host, address). The answer of the DNS server has them in this order."""
    dns.add(domain, "MX", *(f"{preference} {host}." for preference, host, _ in hosts))
    for _, host, address in hosts:
        if address:
            dns.add(host, "AAAA" if ":" in address else "A", address)


async def test_hosts_come_by_preference_not_in_the_order_of_the_answer(
    dns_server: DnsServer, mx_resolver: MxResolver
) -> None:
    """Case C115 of docs/cases.md describes this behaviour."""
    mx(dns_server, "example.net", (10, "b.test", "192.0.2.2"), (1, "a.test", "192.0.2.1"), (20, "c.test", "192.0.2.3"))
    targets = await mx_resolver.of_domain("example.net", OURSELVES)
    assert tried(targets) == ["a.test", "b.test", "c.test"]
    assert targets.hosts[0].addresses == ("192.0.2.1",)


async def test_hosts_of_equal_preference_are_shuffled(dns_server: DnsServer, mx_resolver: MxResolver) -> None:
    mx(dns_server, "example.net", *((10, f"{name}.test", f"192.0.2.{number}") for number, name in enumerate("abcd")))
    first = {tried(await mx_resolver.of_domain("example.net", OURSELVES))[0] for _ in range(40)}
    assert first == {"a.test", "b.test", "c.test", "d.test"}


async def test_f07_of_many_equal_hosts_every_one_gets_its_turn(dns_server: DnsServer, mx_resolver: MxResolver) -> None:
    """F07: relay chooses at random among all hosts of the same preference, not only among the first of the answer."""
    hosts = [(10, f"h{number}.test", f"192.0.2.{number}") for number in range(1, 41)]
    mx(dns_server, "example.net", (5, "best.test", "192.0.2.200"), *hosts)
    seen: set[str] = set()
    for _ in range(60):
        first, *others = tried(await mx_resolver.of_domain("example.net", OURSELVES))
        assert (first, len(others)) == ("best.test", 15)
        seen.update(others)
    assert seen == {name for _, name, _ in hosts}


async def test_a_prohibited_address_is_not_a_loop_while_the_other_family_has_no_answer(
    dns_server: DnsServer, mx_resolver: MxResolver
) -> None:
    """An address that could not be looked up is not treated as an address that does not exist."""
    mx(dns_server, "example.net", (10, "a.test", "127.0.0.1"))
    dns_server.behave("a.test", Behaviour.SERVFAIL, "AAAA")
    targets = await mx_resolver.of_domain("example.net", OURSELVES)
    assert targets.failure is not None
    assert (targets.failure.result, targets.failure.enhanced_code) == (Result.DEFERRED, "4.4.3")


async def test_null_mx_bounces_at_once_and_no_address_is_asked_for(
    dns_server: DnsServer, mx_resolver: MxResolver
) -> None:
    """Case C108 of docs/cases.md describes this behaviour."""
    dns_server.load({"null.test": {"MX": "0 .", "A": "192.0.2.1"}})
    targets = await mx_resolver.of_domain("null.test", OURSELVES)
    assert targets.failure is not None
    assert (targets.failure.code, targets.failure.enhanced_code) == (556, "5.1.10")
    assert {query.type for query in dns_server.queries} == {"MX"}


async def test_a_root_entry_among_others_is_skipped(dns_server: DnsServer, mx_resolver: MxResolver) -> None:
    """Case C108 of docs/cases.md describes this behaviour."""
    dns_server.load({"mixed.test": {"MX": ["10 .", "20 real.test."]}, "real.test": {"A": "192.0.2.1"}})
    assert tried(await mx_resolver.of_domain("mixed.test", OURSELVES)) == ["real.test"]


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour.SERVFAIL,
        Behaviour.REFUSED,
        Behaviour.FORMERR,
        Behaviour.SILENT,
        Behaviour.SHORT_MX,
        Behaviour.CUT,
        Behaviour.POINTER_LOOP,
        Behaviour.GARBAGE,
        Behaviour.TRUNCATED_WITHOUT_TCP,
    ],
)
async def test_mail_is_deferred_without_an_mx_answer_although_an_address_exists(
    dns_server: DnsServer, behaviour: Behaviour
) -> None:
    """Cases C109 and C117 of docs/cases.md describe this behaviour."""
    mx_resolver = MxResolver(Resolver((dns_server.address,), seconds=1), random.Random(7), 25)
    dns_server.load({"broken.test": {"A": "192.0.2.1"}, "fine.test": {"A": "192.0.2.2"}})
    dns_server.behave("broken.test", behaviour, "MX")
    targets, fine = await asyncio.gather(
        mx_resolver.of_domain("broken.test", OURSELVES), mx_resolver.of_domain("fine.test", OURSELVES)
    )
    assert targets.failure is not None
    assert (targets.failure.result, targets.failure.enhanced_code) == (Result.DEFERRED, "4.4.3")
    assert not dns_server.asked("broken.test", "A")
    assert tried(fine) == ["fine.test"]


async def test_without_mx_the_domain_itself_is_the_host(dns_server: DnsServer, mx_resolver: MxResolver) -> None:
    dns_server.load({"plain.test": {"A": "192.0.2.1", "AAAA": "2001:db8::1"}})
    targets = await mx_resolver.of_domain("plain.test", OURSELVES)
    assert targets.hosts[0].addresses == ("2001:db8::1", "192.0.2.1")


async def test_a_domain_that_does_not_exist_bounces(dns_server: DnsServer, mx_resolver: MxResolver) -> None:
    for domain in ("nowhere.test", "x" * 64 + ".test", "[999.1.1.1]", "[x]"):
        targets = await mx_resolver.of_domain(domain, OURSELVES)
        assert targets.failure is not None
        assert (targets.failure.result, targets.failure.enhanced_code) == (Result.FAILED, "5.1.2")
    dns_server.add("text.test", "TXT", "nothing else")
    targets = await mx_resolver.of_domain("text.test", OURSELVES)
    assert targets.failure is not None
    assert targets.failure.enhanced_code == "5.1.2"


async def test_mail_bounces_without_an_address_and_is_deferred_without_an_answer(
    dns_server: DnsServer, mx_resolver: MxResolver
) -> None:
    mx(dns_server, "gone.test", (10, "gone-host.test", ""))
    targets = await mx_resolver.of_domain("gone.test", OURSELVES)
    assert targets.failure is not None
    assert (targets.failure.result, targets.failure.enhanced_code) == (Result.FAILED, "5.4.4")
    mx(dns_server, "silent.test", (10, "silent-host.test", ""), (20, "gone-host.test", ""))
    dns_server.behave("silent-host.test", Behaviour.SERVFAIL)
    targets = await mx_resolver.of_domain("silent.test", OURSELVES)
    assert targets.failure is not None
    assert (targets.failure.result, targets.failure.enhanced_code) == (Result.DEFERRED, "4.4.3")
    mx(dns_server, "half.test", (10, "silent-host.test", ""), (20, "alive.test", "192.0.2.3"))
    assert tried(await mx_resolver.of_domain("half.test", OURSELVES)) == ["alive.test"]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("localhost.test", "127.0.0.1"),
        ("loop6.test", "::1"),
        ("zero.test", "0.0.0.0"),
        ("mapped.test", "::ffff:127.0.0.1"),
        ("own-address.test", "192.0.2.99"),
        (GATEWAY, "192.0.2.1"),
        ("multicast.test", "224.0.0.1"),
    ],
)
async def test_mx_hosts_that_are_ourselves_or_prohibited_are_never_tried(
    dns_server: DnsServer, mx_resolver: MxResolver, host: str, address: str
) -> None:
    """Case C111 of docs/cases.md describes this behaviour."""
    mx(dns_server, "loop.test", (10, host, address))
    targets = await mx_resolver.of_domain("loop.test", OURSELVES)
    assert tried(targets) == []
    assert targets.failure is not None
    assert (targets.failure.result, targets.failure.enhanced_code) == (Result.FAILED, "5.4.6")


def test_own_addresses_are_compared_as_ipv4_where_they_are_mapped() -> None:
    found = own_addresses("192.0.2.1, [::ffff:192.0.2.2]:2525, [2001:db8::1]")
    assert found.pairs == {
        (ip_address("192.0.2.1"), 0),
        (ip_address("192.0.2.2"), 2525),
        (ip_address("2001:db8::1"), 0),
    }


async def test_an_own_address_on_another_port_is_another_server(
    dns_server: DnsServer, mx_resolver: MxResolver, resolver: Resolver
) -> None:
    mx(dns_server, "port.test", (10, "port-host.test", "192.0.2.98"))
    assert tried(await mx_resolver.of_domain("port.test", OURSELVES)) == ["port-host.test"]
    assert tried(await MxResolver(resolver, random.Random(1), 2525).of_domain("port.test", OURSELVES)) == []


async def test_only_hosts_of_better_preference_than_ourselves_are_tried(
    dns_server: DnsServer, mx_resolver: MxResolver
) -> None:
    """C111: hosts of the same or a worse preference are not tried (RFC 5321 section 5.1)."""
    mx(
        dns_server,
        "backup.test",
        (30, "worse.test", "192.0.2.3"),
        (20, GATEWAY, "192.0.2.99"),
        (20, "equal.test", "192.0.2.4"),
        (10, "better.test", "192.0.2.1"),
    )
    targets = await mx_resolver.of_domain("backup.test", OURSELVES)
    assert tried(targets) == ["better.test"]
    assert left_out(targets) == {
        GATEWAY: "is this gateway",
        "equal.test": "is of no better preference than this gateway",
        "worse.test": "is of no better preference than this gateway",
    }


@pytest.mark.parametrize("silent", [False, True], ids=["no address", "no answer"])
async def test_our_name_is_recognised_although_its_address_is_not_known(
    dns_server: DnsServer, inside: DnsServer, mx_resolver: MxResolver, silent: bool
) -> None:
    """C111: another view of the DNS may lack our address.

    Hosts of no better preference would send the mail back to us.
    """
    for server in (dns_server, inside):
        mx(server, "customer.test", (10, GATEWAY, ""), (20, "worse.test", "192.0.2.2"))
        if silent:
            server.behave(GATEWAY, Behaviour.SERVFAIL)
    targets = await mx_resolver.of_domain("customer.test", OURSELVES)
    assert (tried(targets), targets.failure and targets.failure.enhanced_code) == ([], "5.4.6")
    targets = await relay_domain(mx_resolver, dns_server, inside)
    assert (tried(targets), targets.failure and targets.failure.enhanced_code) == ([], "4.4.6")
    # Our own name is also recognised when it is the only MX host.
    for server in (dns_server, inside):
        mx(server, "alone.test", (10, GATEWAY, ""))
    targets = await mx_resolver.of_domain("alone.test", OURSELVES)
    assert targets.failure is not None
    assert targets.failure.enhanced_code == "5.4.6"
    targets = await mx_resolver.of_relay_domain("alone.test", OURSELVES, (dns_server.address,), (inside.address,))
    assert targets.failure is not None
    assert targets.failure.enhanced_code == "4.4.6"


async def test_an_alias_of_our_name_is_ours_too(dns_server: DnsServer, mx_resolver: MxResolver) -> None:
    """C111, C113: behind address translation relay does not know its public address, so it must recognise its name."""
    mx(dns_server, "customer.test", (10, "mail.customer.test", ""), (10, "equal.test", "192.0.2.2"))
    dns_server.load({"mail.customer.test": {"CNAME": f"{GATEWAY}."}, GATEWAY: {"A": "192.0.2.1"}})
    targets = await mx_resolver.of_domain("customer.test", OURSELVES)
    assert (tried(targets), targets.failure and targets.failure.enhanced_code) == ([], "5.4.6")


async def test_our_name_is_recognised_among_any_number_of_equal_hosts(
    dns_server: DnsServer, mx_resolver: MxResolver
) -> None:
    """C111: of a long list of hosts only a part is looked up, and our own name must be noticed anyway."""
    equals = [(10, f"e{number}.test", f"192.0.2.{number}") for number in range(1, 21)]
    mx(dns_server, "many.test", *equals, (10, GATEWAY, "192.0.2.99"), (5, "better.test", "192.0.2.50"))
    assert tried(await mx_resolver.of_domain("many.test", OURSELVES)) == ["better.test"]


async def test_mail_is_deferred_and_does_not_loop_when_a_better_host_has_no_answer(
    dns_server: DnsServer, mx_resolver: MxResolver
) -> None:
    mx(dns_server, "backup.test", (10, "better.test", ""), (20, GATEWAY, "192.0.2.99"))
    dns_server.behave("better.test", Behaviour.SERVFAIL)
    targets = await mx_resolver.of_domain("backup.test", OURSELVES)
    assert targets.failure is not None
    assert (targets.failure.result, targets.failure.enhanced_code) == (Result.DEFERRED, "4.4.3")


async def test_aliases_are_followed_and_mail_is_deferred_when_they_loop(
    dns_server: DnsServer, mx_resolver: MxResolver
) -> None:
    """Case C113 of docs/cases.md describes this behaviour."""
    dns_server.load(
        {
            "alias.test": {"CNAME": "target.test."},
            "target.test": {"MX": "10 mx-alias.test."},
            "mx-alias.test": {"CNAME": "host.test."},
            "host.test": {"A": "192.0.2.1"},
            "loop-a.test": {"CNAME": "loop-b.test."},
            "loop-b.test": {"CNAME": "loop-a.test."},
        }
    )
    targets = await mx_resolver.of_domain("alias.test", OURSELVES)
    assert [(host.name, host.addresses) for host in targets.hosts] == [("mx-alias.test", ("192.0.2.1",))]
    looped = await mx_resolver.of_domain("loop-a.test", OURSELVES)
    assert looped.failure is not None
    assert looped.failure.result is Result.DEFERRED


async def test_a_literal_is_its_own_host_unless_prohibited(mx_resolver: MxResolver) -> None:
    """Case C53 of docs/cases.md describes this behaviour."""
    targets = await mx_resolver.of_domain("[192.0.2.7]", OURSELVES)
    assert targets.hosts[0].addresses == ("192.0.2.7",)
    for domain in ("[127.0.0.1]", "[IPv6:::1]", "[192.0.2.99]", "[IPv6:::ffff:127.0.0.1]"):
        targets = await mx_resolver.of_domain(domain, OURSELVES)
        assert targets.failure is not None
        assert targets.failure.enhanced_code == "5.4.6"


@pytest.mark.parametrize(
    "literal", ["[10.0.0.5]", "[192.168.1.1]", "[169.254.169.254]", "[IPv6:fd00::1]", "[IPv6:fe80::1]"]
)
async def test_a_literal_leads_to_no_private_network_unless_the_operator_says_what_is_prohibited(
    dns_server: DnsServer, mx_resolver: MxResolver, literal: str
) -> None:
    """C53: an MX host, unlike an address literal, may be in a private network."""
    by_default = replace(OURSELVES, prohibited_literals=of_literals(PROHIBITED_NETWORKS))
    targets = await mx_resolver.of_domain(literal, by_default)
    assert (tried(targets), targets.failure and targets.failure.enhanced_code) == ([], "5.4.6")
    for said in ("", "127.0.0.0/8"):
        targets = await mx_resolver.of_domain(literal, replace(OURSELVES, prohibited_literals=of_literals(said)))
        assert tried(targets) != []
    mx(dns_server, "intranet.test", (10, "inner.test", literal.strip("[]").removeprefix("IPv6:")))
    assert tried(await mx_resolver.of_domain("intranet.test", by_default)) == ["inner.test"]


def test_literals_are_parsed_strictly() -> None:
    assert str(parse_literal("[IPv6:2001:db8::1]")) == "2001:db8::1"
    assert str(parse_literal("[ipv6:::ffff:192.0.2.1]")) == "192.0.2.1"
    assert parse_literal("example.net") is None
    assert parse_literal("[256.1.1.1]") is None


async def test_names_are_looked_up_as_absolute_names(dns_server: DnsServer, mx_resolver: MxResolver) -> None:
    """C111: with a search list, a relative name could become one of our own names."""
    dns_server.add("single", "A", "192.0.2.1")
    assert tried(await mx_resolver.of_domain("single", OURSELVES)) == ["single"]
    assert {query.name for query in dns_server.queries} == {"single"}


async def test_a_named_host_is_never_looked_up_as_mx(dns_server: DnsServer, mx_resolver: MxResolver) -> None:
    mx(dns_server, "hub.test", (10, "elsewhere.test", "192.0.2.1"))
    dns_server.add("hub.test", "A", "127.0.0.1")
    targets = await mx_resolver.of_named_host("[hub.test]", 587)
    assert (targets.hosts[0].name, targets.hosts[0].port, targets.hosts[0].addresses) == (
        "hub.test",
        587,
        ("127.0.0.1",),
    )
    assert not dns_server.asked("hub.test", "MX")


@pytest.mark.parametrize(
    ("name", "address"),
    [("[::1]", "::1"), ("127.0.0.1", "127.0.0.1"), ("[IPv6:::1]", "::1"), ("localhost", "127.0.0.1")],
)
async def test_named_addresses_need_no_look_up(
    dns_server: DnsServer, mx_resolver: MxResolver, name: str, address: str
) -> None:
    targets = await mx_resolver.of_named_host(name, 25)
    assert targets.hosts[0].addresses[0] == address
    assert dns_server.queries == ()


async def test_the_hosts_file_is_used_only_for_named_hosts(
    dns_server: DnsServer, resolver: Resolver, tmp_path: Path
) -> None:
    path = tmp_path / "hosts"
    path.write_text("# comment\n192.0.2.5 Mailbox other # mailbox2\n::1\tmailbox\nnonsense mailbox3\n\n")
    mx_resolver = MxResolver(resolver, random.Random(1), 25, HostsFile(path))
    targets = await mx_resolver.of_named_host("mailbox", 24)
    assert targets.hosts[0].addresses == ("192.0.2.5", "::1")
    assert dns_server.queries == ()
    for name in ("mailbox2", "mailbox3"):
        assert (await mx_resolver.of_named_host(name, 24)).failure is not None
    mx(dns_server, "example.net", (10, "mailbox", "192.0.2.1"))
    assert (await mx_resolver.of_domain("example.net", OURSELVES)).hosts[0].addresses == ("192.0.2.1",)
    assert HostsFile(tmp_path / "missing").addresses("mailbox") == ()


async def test_a_named_host_in_another_script_is_looked_up_as_an_a_label(
    dns_server: DnsServer, mx_resolver: MxResolver
) -> None:
    dns_server.add("xn--mller-kva.test", "A", "192.0.2.1")
    targets = await mx_resolver.of_named_host("m\u00fcller.test", 25)
    assert [(host.name, host.addresses) for host in targets.hosts] == [("xn--mller-kva.test", ("192.0.2.1",))]
    assert (await mx_resolver.of_named_host("\u2603 \u2603", 25)).failure is not None


async def test_a_named_host_without_address_is_deferred(dns_server: DnsServer, mx_resolver: MxResolver) -> None:
    targets = await mx_resolver.of_named_host("hub.test", 25)
    assert targets.failure is not None
    assert (targets.failure.result, targets.failure.enhanced_code) == (Result.DEFERRED, "4.4.4")
    dns_server.behave("hub2.test", Behaviour.SERVFAIL)
    targets = await mx_resolver.of_named_host("hub2.test", 25)
    assert targets.failure is not None
    assert targets.failure.enhanced_code == "4.4.3"


# Relay domains


@pytest.fixture
def inside() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


async def relay_domain(mx_resolver: MxResolver, *servers: DnsServer) -> Targets:
    preferred, *alternate = [server.address for server in servers]
    return await mx_resolver.of_relay_domain("customer.test", OURSELVES, [preferred], alternate)


async def test_the_mx_hosts_from_both_groups_of_name_servers_are_merged(
    dns_server: DnsServer, inside: DnsServer, mx_resolver: MxResolver
) -> None:
    """The public zone names this gateway as MX host; the inner zone names the customer's own server."""
    mx(dns_server, "customer.test", (10, GATEWAY, "192.0.2.99"), (8, "public.test", "192.0.2.2"))
    mx(inside, "customer.test", (5, "inner.test", "10.0.0.5"), (7, "public.test", "10.0.0.6"))
    targets = await relay_domain(mx_resolver, dns_server, inside)
    # Both views name public.test, so it is two candidates, each with the addresses from its own name servers.
    assert [(host.name, host.preference, host.addresses) for host in targets.hosts if not host.left_out] == [
        ("inner.test", 5, ("10.0.0.5",)),
        ("public.test", 7, ("10.0.0.6",)),
        ("public.test", 8, ("192.0.2.2",)),
    ]
    assert not dns_server.asked("inner.test")


SPLIT_HORIZONS = pytest.mark.parametrize(
    ("outer_name", "inner_name"),
    [
        # The domain itself names the gateway in the public view, and the main server in the inner view.
        ("customer.test", "customer.test"),
        ("mail.customer.test", "mail.customer.test"),
        # In both views, or in one of them, the name is that of the gateway itself.
        (GATEWAY, GATEWAY),
        ("mail.customer.test", GATEWAY),
        (GATEWAY, "mail.customer.test"),
    ],
)


@SPLIT_HORIZONS
@pytest.mark.parametrize("swapped", [False, True], ids=["outside preferred", "inside preferred"])
async def test_f51_the_same_name_in_both_views_is_two_candidates(
    dns_server: DnsServer, inside: DnsServer, mx_resolver: MxResolver, outer_name: str, inner_name: str, swapped: bool
) -> None:
    """F51: each candidate has the preference and the addresses from its own name servers."""
    mx(dns_server, "customer.test", (20, outer_name, "192.0.2.99"))
    mx(inside, "customer.test", (10, inner_name, "10.0.0.5"))
    servers = (inside, dns_server) if swapped else (dns_server, inside)
    targets = await relay_domain(mx_resolver, *servers)
    assert [(host.name, host.preference, host.addresses, host.left_out) for host in targets.hosts] == [
        (inner_name, 10, ("10.0.0.5",), ""),
        (outer_name, 20, ("192.0.2.99",), "is this gateway"),
    ]


@SPLIT_HORIZONS
@pytest.mark.parametrize("inner_preference", [20, 30])
async def test_f51_the_candidate_of_the_gateway_excludes_hosts_that_are_not_better(
    dns_server: DnsServer, inside: DnsServer, mx_resolver: MxResolver, outer_name: str, inner_name: str,
    inner_preference: int,
) -> None:  # fmt: skip
    mx(dns_server, "customer.test", (20, outer_name, "192.0.2.99"))
    mx(inside, "customer.test", (inner_preference, inner_name, "10.0.0.5"))
    targets = await relay_domain(mx_resolver, dns_server, inside)
    assert targets.failure is not None
    assert (targets.failure.result, targets.failure.enhanced_code) == (Result.DEFERRED, "4.4.6")


async def test_f51_equal_views_give_one_candidate(
    dns_server: DnsServer, inside: DnsServer, mx_resolver: MxResolver
) -> None:
    for server in (dns_server, inside):
        mx(server, "customer.test", (10, "mail.customer.test", "192.0.2.1"))
    targets = await relay_domain(mx_resolver, dns_server, inside)
    assert [host.addresses for host in targets.hosts] == [("192.0.2.1",)]


async def test_f51_a_silent_view_defers_when_the_other_has_no_better_host(
    dns_server: DnsServer, inside: DnsServer, mx_resolver: MxResolver
) -> None:
    mx(dns_server, "customer.test", (20, "mail.customer.test", "192.0.2.99"), (30, "worse.test", "192.0.2.2"))
    inside.behave("customer.test", Behaviour.SERVFAIL)
    targets = await relay_domain(mx_resolver, dns_server, inside)
    assert targets.failure is not None
    assert (targets.failure.result, targets.failure.enhanced_code) == (Result.DEFERRED, "4.4.3")


@pytest.mark.parametrize(("listener", "port"), [("0.0.0.0:25", 25), ("[::]:25", 25), ("0.0.0.0", 25)])
async def test_f51_a_listener_at_the_wildcard_address_is_at_every_address_of_the_machine(
    listener: str, port: int
) -> None:
    version = 6 if ":" in listener.removesuffix(":25") else 4
    machine = {address for address in interface_addresses() if address.version == version}
    found = own_addresses(listener)
    assert all(found.contain(address, port) for address in machine)
    assert not any(found.contain(ip_address(other), port) for other in ("192.0.2.1", "2001:db8::1"))
    if listener.endswith(":25"):
        assert not any(found.contain(address, 2525) for address in machine)


def test_f51_addresses_that_the_machine_gets_later_are_its_own() -> None:
    """The addresses of the machine may change while relay runs."""
    now, machine = 0.0, {ip_address("192.0.2.1")}
    found = OwnAddresses([(ip_address("0.0.0.0"), 25)], lambda: frozenset(machine), lambda: now)
    assert not found.contain(ip_address("192.0.2.2"), 25)
    machine.add(ip_address("192.0.2.2"))
    now += 11
    assert found.contain(ip_address("192.0.2.2"), 25)
    assert found.contain(ip_address("127.0.0.9"), 25)


async def test_mail_is_deferred_without_a_better_host_than_the_gateway(
    dns_server: DnsServer, inside: DnsServer, mx_resolver: MxResolver
) -> None:
    mx(dns_server, "customer.test", (10, GATEWAY, "192.0.2.99"), (20, "worse.test", "192.0.2.2"))
    targets = await relay_domain(mx_resolver, dns_server, inside)
    assert targets.failure is not None
    assert (targets.failure.result, targets.failure.enhanced_code) == (Result.DEFERRED, "4.4.6")


async def test_mail_is_deferred_when_one_group_is_silent_and_no_host_is_left(
    dns_server: DnsServer, inside: DnsServer, mx_resolver: MxResolver
) -> None:
    mx(dns_server, "customer.test", (10, GATEWAY, "192.0.2.99"))
    inside.behave("customer.test", Behaviour.SERVFAIL)
    targets = await relay_domain(mx_resolver, dns_server, inside)
    assert targets.failure is not None
    assert (targets.failure.result, targets.failure.enhanced_code) == (Result.DEFERRED, "4.4.3")


async def test_one_silent_group_does_not_affect_the_other(
    dns_server: DnsServer, inside: DnsServer, mx_resolver: MxResolver
) -> None:
    dns_server.behave("customer.test", Behaviour.REFUSED)
    mx(inside, "customer.test", (10, "inner.test", "10.0.0.5"))
    assert tried(await relay_domain(mx_resolver, dns_server, inside)) == ["inner.test"]


async def test_without_alternate_servers_only_preferred_ones_are_asked(
    dns_server: DnsServer, inside: DnsServer, mx_resolver: MxResolver
) -> None:
    mx(inside, "customer.test", (10, "inner.test", "10.0.0.5"))
    assert tried(await relay_domain(mx_resolver, inside)) == ["inner.test"]
    assert dns_server.queries == ()


async def test_a_relay_domain_without_mx_is_its_own_host(
    dns_server: DnsServer, inside: DnsServer, mx_resolver: MxResolver
) -> None:
    inside.add("customer.test", "A", "10.0.0.5")
    targets = await relay_domain(mx_resolver, dns_server, inside)
    assert [host.addresses for host in targets.hosts] == [("10.0.0.5",)]
    assert (await relay_domain(mx_resolver, dns_server, inside)).failure is None


async def test_a_relay_domain_that_no_server_knows_waits(
    dns_server: DnsServer, inside: DnsServer, mx_resolver: MxResolver
) -> None:
    targets = await relay_domain(mx_resolver, dns_server, inside)
    assert targets.failure is not None
    assert (targets.failure.result, targets.failure.enhanced_code) == (Result.DEFERRED, "4.4.4")


# The resolver


async def test_relay_caches_dns_answers_for_their_lifetime(dns_server: DnsServer) -> None:
    now = 1000.0
    resolver = Resolver((dns_server.address,), clock=lambda: now)
    dns_server.add("host.test", "A", "192.0.2.1", ttl=60)
    for _ in range(3):
        assert (await resolver.lookup("host.test", "A")).answers == ("192.0.2.1",)
    assert len(dns_server.queries) == 1
    now += 61
    await resolver.lookup("host.test", "A")
    assert len(dns_server.queries) == 2


async def test_negative_answers_are_cached_by_the_soa_and_failures_never(dns_server: DnsServer) -> None:
    resolver = Resolver((dns_server.address,))
    dns_server.add("zone.test", "SOA", "ns.zone.test. root.zone.test. 1 3600 600 86400 30", ttl=30)
    for _ in range(2):
        lookup = await resolver.lookup("host.zone.test", "A")
        assert (lookup.outcome, lookup.nonexistent) == (Outcome.NONE, True)
    assert len(dns_server.asked("host.zone.test")) == 1
    dns_server.behave("bad.test", Behaviour.SERVFAIL)
    assert (await resolver.lookup("bad.test", "A")).outcome is Outcome.NO_ANSWER
    dns_server.normal("bad.test")
    assert (await resolver.lookup("bad.test", "A")).outcome is Outcome.NONE


async def test_simultaneous_equal_questions_are_asked_once(dns_server: DnsServer) -> None:
    resolver = Resolver((dns_server.address,))
    dns_server.add("host.test", "A", "192.0.2.1")
    gate = dns_server.hold("host.test")
    waiting = [asyncio.create_task(resolver.lookup("host.test", "A")) for _ in range(20)]
    await gate.reached()
    # When one of the callers gives up, the others still get the answer.
    waiting[0].cancel()
    gate.open()
    answers = await asyncio.gather(*waiting[1:])
    assert {answer.answers for answer in answers} == {("192.0.2.1",)}
    assert len(dns_server.queries) == 1


@pytest.mark.parametrize("behaviour", [Behaviour.TRUNCATED, Behaviour.FORGED_FIRST])
async def test_truncated_and_forged_answers_are_not_used(dns_server: DnsServer, behaviour: Behaviour) -> None:
    """Case C86 of docs/cases.md describes this behaviour."""
    dns_server.add("host.test", "A", "192.0.2.1")
    dns_server.behave("host.test", behaviour)
    assert (await Resolver((dns_server.address,)).lookup("host.test", "A")).answers == ("192.0.2.1",)


async def test_the_second_name_server_is_asked_when_the_first_fails(dns_server: DnsServer, inside: DnsServer) -> None:
    dns_server.behave("host.test", Behaviour.SERVFAIL)
    inside.add("host.test", "A", "192.0.2.1")
    resolver = Resolver((dns_server.address, inside.address))
    assert (await resolver.lookup("host.test", "A")).answers == ("192.0.2.1",)


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour.FORMERR_TO_EDNS,
        Behaviour.BARE_FORMERR_TO_EDNS,
        Behaviour.NOTIMP_TO_EDNS,
        Behaviour.BADVERS_TO_EDNS,
    ],
)
@pytest.mark.parametrize("servers", [1, 2])
async def test_f04_a_server_that_does_not_know_edns_is_asked_without_it(
    dns_server: DnsServer, inside: DnsServer, behaviour: Behaviour, servers: int
) -> None:
    """F04: all later questions to this server are sent without EDNS from the start (RFC 6891 section 7)."""
    resolver = Resolver(tuple(server.address for server in (dns_server, inside)[:servers]))
    for server in (dns_server, inside):
        server.behave("*.old.test", behaviour)
        mx(server, "a.old.test", (10, "mx.old.test", "192.0.2.1"))
    assert (await resolver.lookup("a.old.test", "MX")).answers == ("10 mx.old.test.",)
    assert (await resolver.lookup("mx.old.test", "A")).answers == ("192.0.2.1",)
    assert (await resolver.lookup("none.old.test", "A")).outcome is Outcome.NONE
    assert [query.payload > 0 for query in dns_server.queries] == [True, False, False, False]
    await resolver.close()


async def test_only_ad_counts_as_authenticated(dns_server: DnsServer) -> None:
    resolver = Resolver((dns_server.address,))
    dns_server.add("signed.test", "A", "192.0.2.1")
    dns_server.add("unsigned.test", "A", "192.0.2.1")
    dns_server.secure("signed.test")
    assert (await resolver.lookup("signed.test", "A")).authenticated
    assert not (await resolver.lookup("unsigned.test", "A")).authenticated


def test_name_servers_are_addresses() -> None:
    assert parse_server("192.0.2.1") == ("192.0.2.1", 53)
    assert parse_server("192.0.2.1:5353") == ("192.0.2.1", 5353)
    assert parse_server("[2001:db8::1]:5353") == ("2001:db8::1", 5353)
    assert parse_server("2001:db8::1") == ("2001:db8::1", 53)
    with pytest.raises(ValueError, match=r"ns\.test"):
        Resolver(("ns.test",))
    assert absolute("a..b") is None


async def test_f08_without_name_servers_there_is_no_answer(tmp_path: Path) -> None:
    resolver = Resolver()
    stub = StubResolver(seconds=1.0, resolv_conf=tmp_path / "resolv.conf")
    resolver._stub = stub
    lookup = await resolver.lookup("host.test", "A")
    assert (lookup.outcome, lookup.error) == (Outcome.NO_ANSWER, "no name server")
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.53\n")
    assert str(stub._stub(stub.servers, edns=True).nameservers[0]) == "Do53:192.0.2.53@53"
