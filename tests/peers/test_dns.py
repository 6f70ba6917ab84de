"""A real resolver sees that the DNS peer answers, waits, misbehaves and stays silent as a test says."""

from __future__ import annotations

import asyncio

import dns.asyncquery
import dns.asyncresolver
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
import pytest

from tests.peers.background import NotReachedError
from tests.peers.dns import Behaviour, DnsServer


def ask(server: DnsServer, name: str, kind: str, **options: object) -> dns.message.Message:
    query = dns.message.make_query(name, kind, **options)  # type: ignore[arg-type]
    return dns.query.udp(query, server.host, timeout=60, port=server.port)


def texts(answer: dns.message.Message) -> list[str]:
    return [record.to_text() for rrset in answer.answer for record in rrset]


def resolver_of(server: DnsServer, lifetime: float = 5) -> dns.resolver.Resolver:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = [server.host]
    resolver.port = server.port
    resolver.lifetime = lifetime
    return resolver


def test_records_of_every_type_are_answered_in_the_order_in_which_they_were_added(dns_server: DnsServer) -> None:
    dns_server.load_yaml(
        """
        example.test:
          A: 192.0.2.1
          AAAA: "2001:db8::1"
          MX: [30 c.example.test., 10 a.example.test., 20 b.example.test.]
          TXT: [v=spf1 -all, 'say "hi" \\']
          NS: ns.example.test.
          SOA: ns.example.test. root.example.test. 1 3600 600 86400 60
        _25._tcp.mx.example.test:
          TLSA: 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
        """
    )
    wanted = ["30 c.example.test.", "10 a.example.test.", "20 b.example.test."]
    assert [texts(ask(dns_server, "example.test", "MX")) for _ in range(5)] == [wanted] * 5
    assert texts(ask(dns_server, "EXAMPLE.test", "A")) == ["192.0.2.1"]
    assert texts(ask(dns_server, "example.test", "AAAA")) == ["2001:db8::1"]
    assert texts(ask(dns_server, "example.test", "TXT")) == ['"v=spf1 -all"', r'"say \"hi\" \\"']
    assert texts(ask(dns_server, "example.test", "NS")) == ["ns.example.test."]
    assert texts(ask(dns_server, "_25._tcp.mx.example.test", "TLSA"))[0].startswith("3 1 1 0123")


def test_a_name_without_the_type_gives_nodata_and_an_unknown_name_gives_nxdomain(dns_server: DnsServer) -> None:
    dns_server.add("deep.down.example.test", "A", "192.0.2.1")
    dns_server.add("example.test", "SOA", "ns.example.test. root.example.test. 1 3600 600 86400 60")
    for name, kind, rcode in (
        ("deep.down.example.test", "MX", dns.rcode.NOERROR),
        ("down.example.test", "A", dns.rcode.NOERROR),
        ("up.example.test", "A", dns.rcode.NXDOMAIN),
        ("other.test", "A", dns.rcode.NXDOMAIN),
    ):
        answer = ask(dns_server, name, kind)
        assert (answer.rcode(), answer.answer) == (rcode, [])
        assert [rrset.rdtype.name for rrset in answer.authority] == (["SOA"] if "example" in name else [])


def test_wildcards_apply_to_names_that_do_not_exist(dns_server: DnsServer) -> None:
    dns_server.add("*.example.test", "A", "192.0.2.9")
    dns_server.add("real.example.test", "TXT", "here")
    assert texts(ask(dns_server, "any.thing.example.test", "A")) == ["192.0.2.9"]
    assert ask(dns_server, "any.example.test", "MX").rcode() == dns.rcode.NOERROR
    assert texts(ask(dns_server, "real.example.test", "A")) == []
    assert ask(dns_server, "below.real.example.test", "A").rcode() == dns.rcode.NXDOMAIN


def test_aliases_are_followed_and_loops_are_ended(dns_server: DnsServer) -> None:
    dns_server.load(
        {
            "www.example.test": {"CNAME": "web.example.test."},
            "web.example.test": {"CNAME": "host.example.test."},
            "host.example.test": {"A": "192.0.2.1"},
            "gone.example.test": {"CNAME": "nowhere.test."},
            "broken.example.test": {"CNAME": "servfail.test."},
            "a.loop.test": {"CNAME": "b.loop.test."},
            "b.loop.test": {"CNAME": "a.loop.test."},
        }
    )
    dns_server.behave("servfail.test", Behaviour.SERVFAIL)
    assert texts(ask(dns_server, "www.example.test", "A")) == ["web.example.test.", "host.example.test.", "192.0.2.1"]
    assert texts(ask(dns_server, "www.example.test", "CNAME")) == ["web.example.test."]
    gone = ask(dns_server, "gone.example.test", "A")
    assert (gone.rcode(), texts(gone)) == (dns.rcode.NXDOMAIN, ["nowhere.test."])
    assert ask(dns_server, "broken.example.test", "A").rcode() == dns.rcode.SERVFAIL
    assert ask(dns_server, "a.loop.test", "A").rcode() == dns.rcode.SERVFAIL


def test_reverse_names_of_both_families_are_answered(dns_server: DnsServer) -> None:
    dns_server.host_with_ptr("mx.example.test", "192.0.2.1", "2001:db8::1")
    resolver = resolver_of(dns_server)
    for address in ("192.0.2.1", "2001:db8::1"):
        assert [str(name) for name in resolver.resolve_address(address)] == ["mx.example.test."]
    assert dns_server.queries[-1].name.endswith("8.b.d.0.1.0.0.2.ip6.arpa")


@pytest.mark.parametrize(
    ("behaviour", "rcode"),
    [
        (Behaviour.NXDOMAIN, dns.rcode.NXDOMAIN),
        (Behaviour.NODATA, dns.rcode.NOERROR),
        (Behaviour.SERVFAIL, dns.rcode.SERVFAIL),
        (Behaviour.REFUSED, dns.rcode.REFUSED),
        (Behaviour.FORMERR, dns.rcode.FORMERR),
        (Behaviour.NOTIMP, dns.rcode.NOTIMP),
    ],
)
def test_response_codes_replace_the_answer_for_their_type_only(
    dns_server: DnsServer, behaviour: Behaviour, rcode: dns.rcode.Rcode
) -> None:
    dns_server.load({"example.test": {"A": "192.0.2.1", "MX": "10 example.test."}})
    dns_server.behave("example.test", behaviour, "MX")
    answer = ask(dns_server, "example.test", "MX")
    assert (answer.rcode(), answer.answer) == (rcode, [])
    assert texts(ask(dns_server, "example.test", "A")) == ["192.0.2.1"]
    dns_server.normal("example.test", "MX")
    assert texts(ask(dns_server, "example.test", "MX")) == ["10 example.test."]


def test_silence_causes_a_time_out_and_can_be_limited(dns_server: DnsServer) -> None:
    dns_server.add("a.example.test", "A", "192.0.2.1")
    dns_server.behave("*.example.test", Behaviour.SILENT, times=1)
    with pytest.raises(dns.resolver.LifetimeTimeout):
        resolver_of(dns_server, lifetime=0.2).resolve("a.example.test", "A")
    assert texts(ask(dns_server, "a.example.test", "A")) == ["192.0.2.1"]


def test_answers_that_are_truncated_over_udp_are_complete_over_tcp(dns_server: DnsServer) -> None:
    dns_server.add("short.example.test", "A", "192.0.2.1")
    dns_server.behave("short.example.test", Behaviour.TRUNCATED)
    dns_server.add("long.example.test", "TXT", "x" * 3000)
    resolver = resolver_of(dns_server)
    assert [record.to_text() for record in resolver.resolve("short.example.test", "A")] == ["192.0.2.1"]
    assert len(resolver.resolve("long.example.test", "TXT")[0].to_text()) > 3000
    assert [query.transport for query in dns_server.queries] == ["udp", "tcp"] * 2
    dns_server.behave("short.example.test", Behaviour.TRUNCATED_WITHOUT_TCP)
    with pytest.raises(dns.exception.DNSException):
        resolver_of(dns_server, lifetime=0.5).resolve("short.example.test", "A")


async def test_a_held_answer_comes_when_its_gate_is_opened(dns_server: DnsServer) -> None:
    dns_server.add("example.test", "A", "192.0.2.1")
    gate = dns_server.hold("example.test", "A")
    query = dns.message.make_query("example.test", "A")
    asking = asyncio.create_task(dns.asyncquery.udp(query, dns_server.host, timeout=60, port=dns_server.port))
    await gate.reached()
    assert not asking.done()
    gate.open()
    assert texts(await asking) == ["192.0.2.1"]


def test_forged_answers_come_before_the_true_answer(dns_server: DnsServer) -> None:
    dns_server.add("example.test", "A", "192.0.2.1")
    dns_server.behave("example.test", Behaviour.FORGED_FIRST)
    query = dns.message.make_query("example.test", "A")
    careful = dns.query.udp(
        query, dns_server.host, timeout=60, port=dns_server.port, ignore_unexpected=True, ignore_errors=True
    )
    assert texts(careful) == ["192.0.2.1"]
    with pytest.raises(dns.query.UnexpectedSource):
        dns.query.udp(query, dns_server.host, timeout=60, port=dns_server.port)


@pytest.mark.parametrize(
    "behaviour", [Behaviour.SHORT, Behaviour.CUT, Behaviour.POINTER_LOOP, Behaviour.SHORT_MX, Behaviour.GARBAGE]
)
def test_malformed_answers_are_sent_as_configured(dns_server: DnsServer, behaviour: Behaviour) -> None:
    dns_server.add("example.test", "MX", "10 mx.example.test.")
    dns_server.behave("example.test", behaviour)
    with pytest.raises(dns.exception.DNSException):
        ask(dns_server, "example.test", "MX")


def test_answers_below_a_secure_name_have_the_ad_bit_if_requested(dns_server: DnsServer) -> None:
    dns_server.load({"mx.safe.test": {"A": "192.0.2.1"}, "alias.safe.test": {"CNAME": "mx.other.test."}})
    dns_server.add("mx.other.test", "A", "192.0.2.2")
    dns_server.secure("safe.test")

    def authenticated(name: str, *, dnssec: bool) -> bool:
        return bool(ask(dns_server, name, "A", want_dnssec=dnssec).flags & dns.flags.AD)

    assert authenticated("mx.safe.test", dnssec=True)
    assert authenticated("missing.safe.test", dnssec=True)
    assert not authenticated("mx.safe.test", dnssec=False)
    assert not authenticated("mx.other.test", dnssec=True)
    assert not authenticated("alias.safe.test", dnssec=True)


def test_records_can_be_changed_while_the_server_runs_and_queries_are_kept(dns_server: DnsServer) -> None:
    dns_server.add("Example.test.", "A", "192.0.2.1", "192.0.2.2")
    assert texts(ask(dns_server, "example.test", "A")) == ["192.0.2.1", "192.0.2.2"]
    dns_server.replace("example.test", "A", "192.0.2.3")
    assert texts(ask(dns_server, "eXample.test", "A")) == ["192.0.2.3"]
    dns_server.remove("example.test")
    assert ask(dns_server, "example.test", "A").rcode() == dns.rcode.NXDOMAIN
    assert [query.spelled for query in dns_server.asked("example.test", "A")] == [
        "example.test",
        "eXample.test",
        "example.test",
    ]
    dns_server.wait_for_query("example.test", "A", times=3)
    with pytest.raises(NotReachedError):
        dns_server.wait_for_query("example.test", "A", times=4, seconds=0.01)


def test_the_server_keeps_its_port_when_started_again(dns_server: DnsServer) -> None:
    dns_server.add("example.test", "A", "192.0.2.1")
    dns_server.stop()
    with pytest.raises((dns.exception.Timeout, OSError)):
        dns.query.udp(dns.message.make_query("example.test", "A"), dns_server.host, timeout=0.2, port=dns_server.port)
    dns_server.start()
    assert texts(ask(dns_server, "example.test", "A")) == ["192.0.2.1"]
