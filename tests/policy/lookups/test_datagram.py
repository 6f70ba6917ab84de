"""Plain answers are read as dnspython reads them; whatever is not plain is left to it."""

from __future__ import annotations

import struct
from typing import Any

import dns.asyncresolver
import dns.message
import dns.nameserver
import dns.resolver
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.policy.lookups import datagram
from services.policy.lookups.resolver import Resolver, nameservers
from services.policy.rules.lookup import Outcome
from tests.peers.dns import Behaviour, DnsServer

ZONE = """
host.test:
  A: [203.0.113.1, 203.0.113.2]
  AAAA: ["2001:db8::1", "::ffff:192.0.2.1"]
  MX: ["10 MX1.host.test.", "5 mx2.host.test."]
alias.test: {CNAME: other.test.}
other.test: {CNAME: host.test.}
dangling.test: {CNAME: nowhere.test.}
null.test: {MX: "0 ."}
text.test: {TXT: ['"one" "two"', '""', '"\\\\200"']}
_dmarc.text.test: {TXT: "v=DMARC1; p=none"}
1.2.0.192.in-addr.arpa: {PTR: [Host.Test., strange\\ name.test.]}
deep.below.test: {A: 203.0.113.9}
"""
NAMES = ("host.test", "alias.test", "dangling.test", "null.test", "text.test", "_dmarc.text.test")
QUESTIONS = [
    (name, kind) for name in (*NAMES, "below.test", "nowhere.test", "1.2.0.192.in-addr.arpa") for kind in datagram.TYPES
]


@pytest.fixture
def server(dns_server: DnsServer) -> DnsServer:
    dns_server.load_yaml(ZONE)
    return dns_server


@pytest.mark.parametrize(("name", "kind"), QUESTIONS)
async def test_both_ways_bring_the_same(name: str, kind: str, server: DnsServer) -> None:
    quick, general = (Resolver(nameservers(server.address), seconds=5, clock=lambda: 0.0) for _ in range(2))
    general._servers = []
    assert await quick.resolve(name, kind) == await general.resolve(name, kind)


async def test_a_name_that_is_not_plain_is_asked_for_all_the_same(server: DnsServer) -> None:
    server.add("a\\ b.test", "A", "203.0.113.1")
    resolver = Resolver(nameservers(server.address), seconds=5)
    assert (await resolver.resolve("a\\032b.test", "A")).outcome is Outcome.FOUND


async def test_what_does_not_match_is_passed_over(server: DnsServer) -> None:
    server.behave("host.test", Behaviour.FORGED_FIRST)
    (address,) = Resolver(nameservers(server.address), seconds=5)._servers
    found = await datagram.ask(address, "host.test", datagram.A, 5)
    assert found is not None
    assert found.records == ("203.0.113.1", "203.0.113.2")


async def test_a_server_that_fails_is_asked_once(server: DnsServer) -> None:
    server.behave("host.test", Behaviour.SERVFAIL)
    resolver = Resolver(nameservers(server.address), seconds=5)
    assert (await resolver.resolve("host.test", "A")).outcome is Outcome.NO_ANSWER
    assert [query.name for query in server.queries] == ["host.test"]


async def test_the_next_server_answers_where_one_fails(server: DnsServer) -> None:
    with DnsServer() as failing:
        failing.behave("*.test", Behaviour.SERVFAIL)
        resolver = Resolver(nameservers(f"{failing.address},{server.address}"), seconds=5)
        assert (await resolver.resolve("host.test", "A")).outcome is Outcome.FOUND


async def test_later_questions_pass_a_silent_server_over(server: DnsServer) -> None:
    with DnsServer() as silent:
        silent.behave("*.test", Behaviour.SILENT)
        resolver = Resolver(nameservers(f"{silent.address},{server.address}"), seconds=20)
        resolver._resolver.timeout = 0.05
        assert (await resolver.resolve("host.test", "A")).outcome is Outcome.FOUND
        asked = len(silent.queries)
        assert (await resolver.resolve("host.test", "MX")).outcome is Outcome.FOUND
        assert len(silent.queries) == asked


def _answer(kind: int) -> tuple[bytes, bytes]:
    """A whole answer with an alias, an authority section and compression, and its question."""
    query = dns.message.make_query("alias.test", dns.rdatatype.RdataType(kind))
    response = dns.message.make_response(query)
    name = dns.rdatatype.to_text(dns.rdatatype.RdataType(kind))
    texts = {"A": "203.0.113.1", "AAAA": "2001:db8::1", "MX": "10 mx.host.test.", "PTR": "host.test.", "TXT": '"a" "b"'}
    response.answer.append(dns.rrset.from_text("alias.test.", 60, "IN", "CNAME", "host.test."))
    response.answer.append(dns.rrset.from_text("host.test.", 60, "IN", name, texts[name]))
    response.authority.append(dns.rrset.from_text("test.", 60, "IN", "SOA", "ns.test. root.test. 1 2 3 4 5"))
    question = datagram._question("alias.test", kind)
    assert question is not None
    return response.to_wire(), question


@given(
    kind=st.sampled_from(sorted(datagram.TYPES.values())),
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 200),
)
def test_no_answer_is_read_for_ever_or_breaks_anything(kind: int, changes: list[tuple[int, int]], cut: int) -> None:
    whole, question = _answer(kind)
    damaged = bytearray(whole)
    for at, octet in changes:
        damaged[at % len(damaged)] = octet
    expected: tuple[type[Exception], ...] = (
        datagram.ServerFailedError,
        datagram._NotPlainError,
        IndexError,
        struct.error,
    )
    found: Any = None
    try:
        found = datagram._read(bytes(damaged[: len(damaged) - cut % 60]), question, kind)
    except expected:
        return
    assert isinstance(found, datagram.Plain)
