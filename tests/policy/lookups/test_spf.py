"""What the public test suite of SPF does not test: limits, malformed records, and many checks at once (C89)."""

from __future__ import annotations

import asyncio
import threading

import pytest

from libs.dns.servers import server_list
from services.policy.lookups import spf
from services.policy.lookups.resolver import Resolver
from services.policy.rules.content import spf_result
from services.policy.rules.lookup import Lookup, Question
from services.policy.rules.model import CheckResult
from tests.peers.dns import DnsServer


@pytest.fixture
def resolver(dns_server: DnsServer) -> Resolver:
    return Resolver(server_list(dns_server.address), seconds=2)


async def result(resolver: Resolver, sender: str, helo: str = "", client: str = "192.0.2.1") -> CheckResult:
    return spf_result((await spf.check(resolver, Question(Lookup.SPF, sender, helo=helo, client=client))).lookup_result)


async def test_c89_too_many_look_ups_or_void_look_ups_are_a_permanent_error(
    resolver: Resolver, dns_server: DnsServer
) -> None:
    dns_server.add("void.test", "TXT", "v=spf1 a:v1.test a:v2.test a:v3.test -all")
    dns_server.add("many.test", "TXT", "v=spf1 " + " ".join(f"include:i{n}.test" for n in range(11)) + " -all")
    for number in range(11):
        dns_server.add(f"i{number}.test", "TXT", "v=spf1 ?all")
    assert await result(resolver, "joe@void.test") is CheckResult.PERMERROR
    assert await result(resolver, "joe@many.test") is CheckResult.PERMERROR


async def test_c89_ten_names_of_one_mx_count_as_one_look_up(resolver: Resolver, dns_server: DnsServer) -> None:
    dns_server.add("mx.test", "TXT", "v=spf1 mx include:i1.test include:i2.test -all")
    for number in range(10):
        dns_server.add("mx.test", "MX", f"10 m{number}.test.")
        dns_server.add(f"m{number}.test", "A", f"192.0.2.{100 + number}")
    dns_server.add("i1.test", "TXT", "v=spf1 ?all")
    dns_server.add("i2.test", "TXT", "v=spf1 ip4:192.0.2.1/32 -all")
    assert await result(resolver, "joe@mx.test") is CheckResult.PASS


@pytest.mark.parametrize(
    ("sender", "helo"), [("", ""), ("joe@[192.0.2.1]", ""), ("", "[192.0.2.1]"), ("joe@single", ""), ("", "single")]
)
async def test_identities_without_a_full_domain_have_no_result(sender: str, helo: str, resolver: Resolver) -> None:
    assert await result(resolver, sender, helo) is CheckResult.NONE


@pytest.mark.parametrize(
    "sender", ['"a@b"@bank.test', '"x@pass.test"@bank.test', '"@pass.test"@bank.test', "a%b@bank.test"]
)
async def test_an_at_sign_in_the_local_part_does_not_change_the_domain(
    sender: str, resolver: Resolver, dns_server: DnsServer
) -> None:
    dns_server.add("bank.test", "TXT", "v=spf1 -all")
    dns_server.add("pass.test", "TXT", "v=spf1 +all")
    assert await result(resolver, sender) is CheckResult.FAIL


async def test_an_address_literal_causes_no_look_ups(resolver: Resolver, dns_server: DnsServer) -> None:
    assert await result(resolver, "joe@[192.0.2.1]") is CheckResult.NONE
    assert dns_server.queries == ()


@pytest.mark.parametrize(
    "record", ['"v=spf1 ip4:\\255\\000 -all"', "v=spf1 exists:%{zz}.test -all", "v=spf1 redirect=%{d}%", "v=spf1 a:%"]
)
async def test_an_invalid_record_is_a_permanent_error(record: str, resolver: Resolver, dns_server: DnsServer) -> None:
    dns_server.add("garbage.test", "TXT", record)
    assert await result(resolver, "joe@garbage.test") is CheckResult.PERMERROR


async def test_a_record_that_includes_itself_is_a_permanent_error(resolver: Resolver, dns_server: DnsServer) -> None:
    dns_server.add("loop.test", "TXT", "v=spf1 include:loop.test -all")
    dns_server.add("turn.test", "TXT", "v=spf1 redirect=turn.test")
    assert await result(resolver, "joe@loop.test") is CheckResult.PERMERROR
    assert await result(resolver, "joe@turn.test") is CheckResult.PERMERROR


async def test_a_check_that_takes_too_long_has_no_answer(
    dns_server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spf, "_CHECK_SECONDS", 0.3)
    resolver = Resolver(server_list(dns_server.address), seconds=30)
    gate = dns_server.hold("slow.test")
    try:
        assert await result(resolver, "joe@slow.test") is CheckResult.TEMPERROR
    finally:
        gate.open()


async def test_f05_a_domain_of_one_label_has_no_result(resolver: Resolver, dns_server: DnsServer) -> None:
    """A domain of one label has the result "none" (RFC 7208 section 4.3)."""
    dns_server.add("solo", "TXT", "v=spf1 +all")
    assert await result(resolver, "a@solo") is CheckResult.NONE
    assert await result(resolver, "", "solo.") is CheckResult.NONE


def _threads() -> set[str]:
    """Returns the names of the running threads, without asyncio's pool, in which the tests wait for queries."""
    return {thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


async def test_a_check_uses_no_thread_while_the_dns_is_silent(resolver: Resolver, dns_server: DnsServer) -> None:
    """While 40 checks wait for the DNS, no thread is started for them, and a further check is still answered."""
    gates = [dns_server.hold(f"s{number}.test") for number in range(40)]
    threads = _threads()
    checks = [
        asyncio.create_task(
            spf.check(resolver.for_party("p"), Question(Lookup.SPF, f"a@s{number}.test", client="192.0.2.1"))
        )
        for number in range(40)
    ]
    for number in range(40):
        await dns_server.query_came(f"s{number}.test", "TXT")
    assert _threads() == threads
    dns_server.add("honest.test", "TXT", "v=spf1 +all")
    assert await result(resolver, "joe@honest.test") is CheckResult.PASS
    for gate in gates:
        gate.open()
    await asyncio.gather(*checks)


async def test_the_addresses_of_one_mechanism_are_looked_up_at_the_same_time(
    resolver: Resolver, dns_server: DnsServer
) -> None:
    dns_server.add("mx.test", "TXT", "v=spf1 mx -all")
    gates = []
    for number in range(10):
        dns_server.add("mx.test", "MX", f"10 m{number}.test.")
        dns_server.add(f"m{number}.test", "A", f"192.0.2.{100 + number}")
        gates.append(dns_server.hold(f"m{number}.test"))
    check = asyncio.create_task(result(resolver, "joe@mx.test", client="192.0.2.109"))
    for number in range(10):
        await dns_server.query_came(f"m{number}.test", "A")
    for gate in gates:
        gate.open()
    assert await check is CheckResult.PASS
