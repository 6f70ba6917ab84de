"""A query over UDP has the same result as with dnspython's resolver, which is used when an answer is truncated."""

from __future__ import annotations

import dns.name
import pytest

from libs.dns.servers import server_list
from services.policy.lookups import datagram
from services.policy.lookups.resolver import Resolver
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
ASKED = (*NAMES, "below.test", "nowhere.test", "1.2.0.192.in-addr.arpa")
QUESTIONS = [(name, kind) for name in ASKED for kind in ("A", "AAAA", "MX", "PTR", "TXT")]


@pytest.fixture
def server(dns_server: DnsServer) -> DnsServer:
    dns_server.load_yaml(ZONE)
    return dns_server


@pytest.mark.parametrize(("name", "kind"), QUESTIONS)
async def test_a_query_over_udp_has_the_same_result_as_with_dnspython(name: str, kind: str, server: DnsServer) -> None:
    quick, general = (Resolver(server_list(server.address), seconds=5, clock=lambda: 0.0) for _ in range(2))
    general._servers = []
    assert await quick.resolve(name, kind) == await general.resolve(name, kind)


async def test_a_name_with_a_space_is_looked_up(server: DnsServer) -> None:
    server.add("a\\ b.test", "A", "203.0.113.1")
    resolver = Resolver(server_list(server.address), seconds=5)
    assert (await resolver.resolve("a\\032b.test", "A")).outcome is Outcome.FOUND


async def test_datagrams_that_do_not_match_are_ignored(server: DnsServer) -> None:
    server.behave("host.test", Behaviour.FORGED_FIRST)
    (address,) = Resolver(server_list(server.address), seconds=5)._servers
    found = await datagram.ask(address, dns.name.from_text("host.test"), "A", 5)
    assert found is not None
    assert found.answer is not None
    assert sorted(record.address for record in found.resolve_chaining().answer or ()) == ["203.0.113.1", "203.0.113.2"]


async def test_a_server_that_fails_is_asked_once(server: DnsServer) -> None:
    server.behave("host.test", Behaviour.SERVFAIL)
    resolver = Resolver(server_list(server.address), seconds=5)
    assert (await resolver.resolve("host.test", "A")).outcome is Outcome.NO_ANSWER
    assert [query.name for query in server.queries] == ["host.test"]


async def test_the_next_server_answers_when_one_fails(server: DnsServer) -> None:
    with DnsServer() as failing:
        failing.behave("*.test", Behaviour.SERVFAIL)
        resolver = Resolver(server_list(f"{failing.address},{server.address}"), seconds=5)
        assert (await resolver.resolve("host.test", "A")).outcome is Outcome.FOUND


async def test_later_questions_skip_a_silent_server(server: DnsServer) -> None:
    with DnsServer() as silent:
        silent.behave("*.test", Behaviour.SILENT)
        resolver = Resolver(server_list(f"{silent.address},{server.address}"), seconds=20)
        resolver._try_seconds = 0.05
        assert (await resolver.resolve("host.test", "A")).outcome is Outcome.FOUND
        asked = len(silent.queries)
        assert (await resolver.resolve("host.test", "MX")).outcome is Outcome.FOUND
        assert len(silent.queries) == asked
