"""SPF beyond the public suite: limits, garbage, pile-ups (C89)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from services.policy.lookups import spf as module
from services.policy.lookups.resolver import Resolver, nameservers
from services.policy.lookups.spf import SpfChecker
from services.policy.rules.content import spf_result
from services.policy.rules.lookup import Lookup, Question
from services.policy.rules.model import CheckResult
from tests.peers.dns import DnsServer


@pytest.fixture
def checker(dns_server: DnsServer) -> Iterator[SpfChecker]:
    made = SpfChecker(Resolver(nameservers(dns_server.address), seconds=2))
    yield made
    made.close()


async def result(checker: SpfChecker, sender: str, helo: str = "", client: str = "192.0.2.1") -> CheckResult:
    return spf_result((await checker.check(Question(Lookup.SPF, sender, helo=helo, client=client))).finding)


async def test_c89_the_void_limit_and_the_look_up_limit(checker: SpfChecker, dns_server: DnsServer) -> None:
    dns_server.add("void.test", "TXT", "v=spf1 a:v1.test a:v2.test a:v3.test -all")
    dns_server.add("many.test", "TXT", "v=spf1 " + " ".join(f"include:i{n}.test" for n in range(11)) + " -all")
    for number in range(11):
        dns_server.add(f"i{number}.test", "TXT", "v=spf1 ?all")
    assert await result(checker, "joe@void.test") is CheckResult.PERMERROR
    assert await result(checker, "joe@many.test") is CheckResult.PERMERROR


async def test_c89_ten_names_of_one_mx_are_one_look_up(checker: SpfChecker, dns_server: DnsServer) -> None:
    dns_server.add("mx.test", "TXT", "v=spf1 mx include:i1.test include:i2.test -all")
    for number in range(10):
        dns_server.add("mx.test", "MX", f"10 m{number}.test.")
        dns_server.add(f"m{number}.test", "A", f"192.0.2.{100 + number}")
    dns_server.add("i1.test", "TXT", "v=spf1 ?all")
    dns_server.add("i2.test", "TXT", "v=spf1 ip4:192.0.2.1/32 -all")
    assert await result(checker, "joe@mx.test") is CheckResult.PASS


@pytest.mark.parametrize(
    ("sender", "helo"), [("", ""), ("joe@[192.0.2.1]", ""), ("", "[192.0.2.1]"), ("joe@single", ""), ("", "single")]
)
async def test_identities_without_a_domain_have_no_result(sender: str, helo: str, checker: SpfChecker) -> None:
    assert await result(checker, sender, helo) is CheckResult.NONE


@pytest.mark.parametrize(
    "sender", ['"a@b"@bank.test', '"x@pass.test"@bank.test', '"@pass.test"@bank.test', "a%b@bank.test"]
)
async def test_a_quoted_local_part_hides_no_domain(sender: str, checker: SpfChecker, dns_server: DnsServer) -> None:
    dns_server.add("bank.test", "TXT", "v=spf1 -all")
    dns_server.add("pass.test", "TXT", "v=spf1 +all")
    assert await result(checker, sender) is CheckResult.FAIL


async def test_a_literal_is_asked_nothing_about(checker: SpfChecker, dns_server: DnsServer) -> None:
    assert await result(checker, "joe@[192.0.2.1]") is CheckResult.NONE
    assert dns_server.queries == ()


@pytest.mark.parametrize(
    "record", ['"v=spf1 ip4:\\255\\000 -all"', "v=spf1 exists:%{zz}.test -all", "v=spf1 redirect=%{d}%", "v=spf1 a:%"]
)
async def test_garbage_is_a_permanent_error(record: str, checker: SpfChecker, dns_server: DnsServer) -> None:
    dns_server.add("garbage.test", "TXT", record)
    assert await result(checker, "joe@garbage.test") is CheckResult.PERMERROR


async def test_a_record_that_includes_itself_ends(checker: SpfChecker, dns_server: DnsServer) -> None:
    dns_server.add("loop.test", "TXT", "v=spf1 include:loop.test -all")
    dns_server.add("turn.test", "TXT", "v=spf1 redirect=turn.test")
    assert await result(checker, "joe@loop.test") is CheckResult.PERMERROR
    assert await result(checker, "joe@turn.test") is CheckResult.PERMERROR


async def test_too_many_checks_at_once_have_no_answer(
    checker: SpfChecker, dns_server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_WAITING", 1)
    dns_server.add("slow.test", "TXT", "v=spf1 +all")
    gate = dns_server.hold("slow.test")
    waiting = asyncio.create_task(result(checker, "joe@slow.test"))
    await dns_server.query_came("slow.test", "TXT")
    assert await result(checker, "joe@other.test") is CheckResult.TEMPERROR
    gate.open()
    assert await waiting is CheckResult.PASS


async def test_a_check_that_takes_too_long_has_no_answer(
    dns_server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHECK_SECONDS", 0.3)
    checker = SpfChecker(Resolver(nameservers(dns_server.address), seconds=30))
    gate = dns_server.hold("slow.test")
    try:
        assert await result(checker, "joe@slow.test") is CheckResult.TEMPERROR
    finally:
        gate.open()
        checker.close()
