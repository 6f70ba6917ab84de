"""The resolver and look-ups of names, with a DNS server that answers correctly, wrongly, late or not at all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from libs.dns.servers import server_list
from services.policy.lookups import names
from services.policy.lookups.resolver import Resolver
from services.policy.lookups.service import Lookups
from services.policy.rules.lookup import NULL_MX, Lookup, LookupResult, Outcome, Question
from tests.peers.dns import Behaviour, DnsServer, reverse_name
from tests.policy.requests import connect, rcpt, replied
from tests.policy.serving import serving
from tests.policy.world import STRANGER, snapshot


@pytest.fixture
def resolver(dns_server: DnsServer) -> Resolver:
    return Resolver(server_list(dns_server.address), seconds=1.0)


async def outcome(resolver: Resolver, name: str, kind: str = "A") -> Outcome:
    return (await resolver.resolve(name, kind)).outcome


# C85 and C86: only NXDOMAIN and NODATA mean that a name does not exist.


@pytest.mark.parametrize(
    ("behaviour", "wanted"),
    [
        (Behaviour.NXDOMAIN, Outcome.NONE),
        (Behaviour.NODATA, Outcome.NONE),
        (Behaviour.SERVFAIL, Outcome.NO_ANSWER),
        (Behaviour.REFUSED, Outcome.NO_ANSWER),
        (Behaviour.FORMERR, Outcome.NO_ANSWER),
        (Behaviour.NOTIMP, Outcome.NO_ANSWER),
        (Behaviour.SILENT, Outcome.NO_ANSWER),
        (Behaviour.SHORT, Outcome.NO_ANSWER),
        (Behaviour.CUT, Outcome.NO_ANSWER),
        (Behaviour.POINTER_LOOP, Outcome.NO_ANSWER),
        (Behaviour.GARBAGE, Outcome.NO_ANSWER),
        (Behaviour.TRUNCATED_WITHOUT_TCP, Outcome.NO_ANSWER),
        (Behaviour.TRUNCATED, Outcome.FOUND),
        (Behaviour.FORGED_FIRST, Outcome.FOUND),
    ],
)
async def test_c85_c86_answers_have_the_right_outcomes(
    behaviour: Behaviour, wanted: Outcome, resolver: Resolver, dns_server: DnsServer
) -> None:
    dns_server.add("host.test", "A", "203.0.113.1")
    dns_server.behave("host.test", behaviour)
    answer = await resolver.resolve("host.test", "A")
    assert answer.outcome is wanted
    assert answer.records == (("203.0.113.1",) if wanted is Outcome.FOUND else ())


@pytest.mark.parametrize("name", ["a..b.test", "." * 5, "x" * 64 + ".test", ".".join(["abcdefgh"] * 40), "\x00\n"])
async def test_an_invalid_name_does_not_exist(name: str, resolver: Resolver) -> None:
    assert await outcome(resolver, name) is Outcome.NONE


@pytest.mark.parametrize(
    ("name", "seconds"),
    # The lifetimes are the TTL of the record, the minimum of the SOA, and five seconds when there was no answer.
    [("host.test", 100), ("none.test", 30), ("broken.test", 5)],
)
async def test_answers_are_cached_for_their_lifetime(name: str, seconds: int, dns_server: DnsServer) -> None:
    now = 1000.0
    resolver = Resolver(server_list(dns_server.address), seconds=1.0, clock=lambda: now)
    dns_server.add("host.test", "A", "203.0.113.1", ttl=100)
    dns_server.add("test", "SOA", "ns.test. root.test. 1 3600 600 86400 30", ttl=3600)
    dns_server.behave("broken.test", Behaviour.SERVFAIL)
    answer = await resolver.resolve(name, "A")
    dns_server.forget_queries()
    now = 1000.0 + seconds - 0.5
    assert await resolver.resolve(name, "A") is answer
    assert dns_server.queries == ()
    now = 1000.0 + seconds + 0.5
    assert await resolver.resolve(name, "A") is not answer
    assert dns_server.asked(name, "A")


async def test_equal_questions_are_asked_once(resolver: Resolver, dns_server: DnsServer) -> None:
    dns_server.add("host.test", "A", "203.0.113.1")
    gate = dns_server.hold("host.test")
    asking = [asyncio.create_task(resolver.resolve(name, "A")) for name in ("host.test", "HOST.test", "host.test")]
    await dns_server.query_came("host.test", "A")
    asking[0].cancel()
    gate.open()
    answers = await asyncio.gather(*asking[1:])
    assert [answer.outcome for answer in answers] == [Outcome.FOUND] * 2
    assert len(dns_server.asked("host.test")) == 1


async def test_the_cache_is_bounded(dns_server: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.policy.lookups.resolver._CACHED", 15)
    resolver = Resolver(server_list(dns_server.address), seconds=2)
    for number in range(5):
        await resolver.resolve(f"h{number}.test", "A")
    assert [resolver.cached(f"h{number}.test", "A") is not None for number in range(5)] == [False] * 2 + [True] * 3


async def test_questions_over_the_limit_of_concurrent_queries_are_not_asked(
    dns_server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.policy.lookups.resolver._CONCURRENT", 1)
    monkeypatch.setattr("services.policy.lookups.resolver._MOST_WAITING", 0)
    resolver = Resolver(server_list(dns_server.address), seconds=30)
    gate = dns_server.hold("slow.test")
    asking = asyncio.create_task(resolver.resolve("slow.test", "A"))
    await dns_server.query_came("slow.test", "A")
    assert await outcome(resolver, "other.test") is Outcome.NO_ANSWER
    gate.open()
    assert (await asking).outcome is Outcome.NONE
    assert await outcome(resolver, "other.test") is Outcome.NONE


# Client names


async def client(resolver: Resolver, address: str) -> LookupResult:
    return (await names.client_name(resolver, address)).lookup_result


async def test_only_names_that_resolve_to_the_client_are_returned(resolver: Resolver, dns_server: DnsServer) -> None:
    dns_server.ptr(STRANGER, "forged.test", "Mail.Sender.test")
    dns_server.add("mail.sender.test", "A", "203.0.113.9", STRANGER)
    dns_server.add("forged.test", "A", "203.0.113.9")
    assert await client(resolver, STRANGER) == LookupResult(Outcome.FOUND, ("mail.sender.test",))
    dns_server.host_with_ptr("six.test", "2001:db8::25")
    assert await client(resolver, "2001:db8::25") == LookupResult(Outcome.FOUND, ("six.test",))


async def test_a_forward_look_up_without_answer_is_no_answer(resolver: Resolver, dns_server: DnsServer) -> None:
    dns_server.ptr(STRANGER, "forged.test", "broken.test")
    dns_server.add("forged.test", "A", "203.0.113.9")
    dns_server.behave("broken.test", Behaviour.SERVFAIL)
    assert (await client(resolver, STRANGER)).outcome is Outcome.NO_ANSWER


async def test_only_the_first_few_reverse_names_are_followed(resolver: Resolver, dns_server: DnsServer) -> None:
    dns_server.ptr(STRANGER, *(f"n{number}.test" for number in range(50)))
    assert (await client(resolver, STRANGER)).outcome is Outcome.NONE
    assert len([query for query in dns_server.queries if query.type == "A"]) == 5


# Domains of mail


@pytest.mark.parametrize(
    ("records", "wanted"),
    [
        ([("MX", "10 mx.test.")], LookupResult(Outcome.FOUND, ("mx.test",))),
        ([("A", "203.0.113.1")], LookupResult(Outcome.FOUND, ("203.0.113.1",))),
        ([("AAAA", "2001:db8::1")], LookupResult(Outcome.FOUND, ("2001:db8::1",))),
        ([("TXT", "hello")], LookupResult(Outcome.NONE)),
        ([("MX", "0 .")], LookupResult(Outcome.NONE, detail=NULL_MX)),
        ([("MX", "0 ."), ("A", "203.0.113.1")], LookupResult(Outcome.NONE, detail=NULL_MX)),
        # C107: several MX records, one of which is the root, are not a null MX.
        ([("MX", "0 ."), ("MX", "10 mx.test.")], LookupResult(Outcome.FOUND, ("",))),
    ],
)
async def test_a_mail_domain_exists_if_it_has_an_mx_or_an_address_and_no_null_mx(
    records: list[tuple[str, str]], wanted: LookupResult, resolver: Resolver, dns_server: DnsServer
) -> None:
    for kind, text in records:
        dns_server.add("sender.test", kind, text)
    found = (await names.mail_domain(resolver, "sender.test")).lookup_result
    assert (found.outcome, found.detail) == (wanted.outcome, wanted.detail)


@pytest.mark.parametrize(
    ("records", "broken", "wanted"),
    [
        ([("MX", "0 .")], "", Outcome.NONE),
        ([("MX", "0 ."), ("A", "203.0.113.1")], "", Outcome.FOUND),
        ([("MX", "0 ."), ("AAAA", "2001:db8::1")], "", Outcome.FOUND),
        ([("MX", "0 ."), ("AAAA", "2001:db8::1")], "A", Outcome.FOUND),
        ([("MX", "0 .")], "A", Outcome.NO_ANSWER),
        ([("MX", "10 mx.test.")], "", Outcome.FOUND),
        ([("A", "203.0.113.1")], "MX", Outcome.FOUND),
        ([("TXT", "hello")], "", Outcome.NONE),
    ],
)
async def test_a_host_with_null_mx_exists_only_if_it_has_an_address(
    records: list[tuple[str, str]], broken: str, wanted: Outcome, resolver: Resolver, dns_server: DnsServer
) -> None:
    for kind, text in records:
        dns_server.add("host.test", kind, text)
    if broken:
        dns_server.behave("host.test", Behaviour.SERVFAIL, broken)
    assert (await names.host(resolver, "host.test")).lookup_result.outcome is wanted


async def test_without_an_mx_answer_a_domain_exists_if_it_has_an_address(
    resolver: Resolver, dns_server: DnsServer
) -> None:
    dns_server.add("sender.test", "A", "203.0.113.1")
    dns_server.behave("sender.test", Behaviour.SERVFAIL, "MX")
    assert (await names.mail_domain(resolver, "sender.test")).lookup_result.outcome is Outcome.FOUND
    dns_server.behave("other.test", Behaviour.SERVFAIL, "MX")
    assert (await names.mail_domain(resolver, "other.test")).lookup_result.outcome is Outcome.NO_ANSWER


# Complete decisions


async def test_a_slow_look_up_delays_a_decision_only_up_to_its_deadline(dns_server: DnsServer) -> None:
    resolver = Resolver(server_list(dns_server.address), seconds=30)
    lookups = Lookups(resolver, seconds=0.2)
    gate = dns_server.hold("slow.test")
    dns_server.add("quick.test", "A", "203.0.113.1")
    slow, quick = (Question(Lookup.SENDER_DOMAIN, name) for name in ("slow.test", "quick.test"))
    try:
        found = await lookups.find([slow, quick], "p")
        assert found[slow].outcome is Outcome.NO_ANSWER
        assert found[quick].outcome is Outcome.FOUND
        assert lookups.known(slow) is None
        # The look-up continues after the deadline, and its answer is stored when it arrives.
        dns_server.add("slow.test", "A", "203.0.113.1")
        gate.open()
        assert (await lookups.find([slow], "p"))[slow].outcome is Outcome.FOUND
    finally:
        await lookups.close()


async def test_look_ups_that_need_only_the_address_begin_at_connect(dns_server: DnsServer) -> None:
    rules = snapshot(
        {
            "connection_policy": {"reject_unknown_client_hostname": "enforce"},
            "content_checks": {"dnsbl": {"mode": "enforce", "zones": [{"zone": "list.test"}]}},
        }
    )
    async with serving(rules, dns=dns_server.address) as policy:
        await policy.decide(connect())
        await dns_server.query_came(reverse_name(STRANGER), "PTR")
        await dns_server.query_came("10.2.0.192.list.test", "A")


async def test_rules_that_are_off_make_no_look_ups(dns_server: DnsServer) -> None:
    """When the rule of a look-up is off, or the client is exempt, the DNS is not asked."""
    async with serving(snapshot(), dns=dns_server.address) as policy:
        await policy.decide(connect())
        assert replied(await policy.decide(rcpt("alice@local.test"))) == "accept"
    everything = {
        "sender_policy": {"reject_unknown_sender_domain": "enforce"},
        "connection_policy": {"reject_unknown_client_hostname": "enforce"},
        "advanced_security": {"reject_unknown_helo": "enforce"},
        "content_checks": {
            "dnsbl": {"mode": "enforce", "zones": [{"zone": "list.test"}]},
            "spf": {"mode": "enforce"},
        },
        "access_rules": [{"id": "a1", "list": "allow", "criterion": "ip", "value": STRANGER}],
    }
    async with serving(snapshot(everything), dns=dns_server.address) as policy:
        await policy.decide(connect())
        assert replied(await policy.decide(rcpt("any@relay.test"))) == "accept"
        # A recipient that is refused for another reason waits for no look-up.
        assert replied(await policy.decide(rcpt("x@elsewhere.test", client="192.0.2.77"))) == "554 5.7.1"
    assert dns_server.queries == ()


@pytest.mark.parametrize("helo", [b"192.0.2.10", b"1.2.3", b"mail.example.123", b"a..b.test", b"[192.0.2.10]"])
async def test_an_invalid_helo_name_or_a_literal_causes_no_look_ups(helo: bytes, dns_server: DnsServer) -> None:
    rules = snapshot({"advanced_security": {"reject_unknown_helo": "enforce"}})
    made = rcpt("alice@local.test")
    made.session.helo_name = helo
    async with serving(rules, dns=dns_server.address) as policy:
        assert replied(await policy.decide(made)) == ("accept" if helo.startswith(b"[") else "450 4.7.1")
    assert dns_server.queries == ()


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", None])
async def test_f08_without_name_servers_there_is_no_answer_and_a_new_one_is_used(
    tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "resolv.conf"
    if text is not None:
        path.write_text(text)
    resolver = Resolver((), seconds=1, resolv_conf=path)
    assert (await resolver.resolve("host.test", "A")).outcome is Outcome.NO_ANSWER
    path.write_text("nameserver 192.0.2.53\n")
    resolver._follow_servers()
    assert resolver._stub.servers == ("192.0.2.53",)
    assert [address[0] for _, address in resolver._servers] == ["192.0.2.53"]


@pytest.mark.parametrize(
    ("settings", "name", "reply"),
    [
        (
            {"connection_policy": {"reject_unknown_client_hostname": "enforce"}},
            reverse_name(STRANGER),
            "450 4.7.25 Reverse name of the client",
        ),
        ({"advanced_security": {"reject_unknown_helo": "enforce"}}, "mail.sender.test", "450 4.7.1 HELO name"),
        ({"sender_policy": {"reject_unknown_sender_domain": "enforce"}}, "sender.test", "450 4.1.8 Sender domain"),
        ({"content_checks": {"spf": {"mode": "enforce"}}}, "sender.test", "451 4.4.3 SPF record"),
    ],
)
async def test_f49_the_reply_names_a_missing_dns_answer(
    settings: dict[str, Any], name: str, reply: str, dns_server: DnsServer
) -> None:
    dns_server.behave(name, Behaviour.SERVFAIL)
    async with serving(snapshot(settings), dns=dns_server.address) as policy:
        verdict = await policy.decide(rcpt("any@relay.test"))
    said = f"{verdict.reply.code} {verdict.reply.enhanced_code} {verdict.reply.text}"
    assert said == f"{reply} could not be looked up just now"
