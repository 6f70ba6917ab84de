"""The slots for concurrent DNS queries are shared, so neither one client nor one silent zone delays other clients."""

from __future__ import annotations

import asyncio

import pytest

from libs.dns.servers import server_list
from services.policy.fair_slots import REMEMBERED_SECONDS, FairSlots
from services.policy.lookups import resolver as module
from services.policy.lookups import service
from services.policy.lookups.cache import TwoStageCache
from services.policy.lookups.resolver import Resolver
from services.policy.lookups.service import Lookups
from services.policy.lookups.silence import SilentZones
from services.policy.rules.lookup import Lookup, Outcome, Question
from tests.peers.dns import Behaviour, DnsServer
from tests.policy.requests import rcpt, replied
from tests.policy.serving import serving
from tests.policy.world import snapshot


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# FairSlots. A party is the network of the clients for which names are looked up.


async def test_a_party_gets_its_share_and_leaves_the_rest() -> None:
    slots = FairSlots(total=10, share=3, slow_share=1, waiting=100)
    assert [slots.take("a") for _ in range(5)] == [True] * 3 + [False] * 2
    assert [slots.take("b") for _ in range(5)] == [True] * 3 + [False] * 2


async def test_the_party_with_the_fewest_slots_is_next() -> None:
    slots = FairSlots(total=4, share=4, slow_share=1, waiting=100)
    assert all(slots.take("a") for _ in range(4))
    turns: list[str] = []

    async def wait(party: str) -> None:
        assert await slots.wait(party, 60)
        turns.append(party)

    waiting = [asyncio.create_task(wait(party)) for party in ("a", "a", "b", "c")]
    await asyncio.sleep(0)
    for number in range(4):
        slots.release("a")
        while len(turns) <= number:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0)
    assert sorted(turns[:2]) == ["b", "c"]
    assert turns[2:] == ["a", "a"]
    await asyncio.gather(*waiting)


async def test_a_party_with_slow_questions_has_a_small_share_for_a_while() -> None:
    clock = Clock()
    slots = FairSlots(total=10, share=5, slow_share=1, waiting=100, clock=clock)
    slots.slow("a")
    assert [slots.take("a") for _ in range(3)] == [True, False, False]
    assert [slots.take("b") for _ in range(3)] == [True] * 3
    clock.now += REMEMBERED_SECONDS
    assert [slots.take("a") for _ in range(3)] == [True] * 3


async def test_a_cancelled_caller_uses_no_slot() -> None:
    slots = FairSlots(total=1, share=1, slow_share=1, waiting=100)
    assert slots.take("a")
    assert not await slots.wait("b", 0)
    gone = asyncio.create_task(slots.wait("c", 60))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    # A slot that becomes free just before its next caller is cancelled stays free for others.
    late = asyncio.create_task(slots.wait("d", 60))
    await asyncio.sleep(0)
    slots.release("a")
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    assert slots.take("e")


async def test_a_slot_that_becomes_free_just_after_its_next_caller_was_cancelled_is_not_lost() -> None:
    slots = FairSlots(total=1, share=1, slow_share=1, waiting=100)
    assert slots.take("a")
    gone = asyncio.create_task(slots.wait("b", 60))
    waiting = asyncio.create_task(slots.wait("c", 60))
    await asyncio.sleep(0)
    # The caller b is cancelled, and has not run again when the slot becomes free.
    gone.cancel()
    slots.release("a")
    assert await waiting
    with pytest.raises(asyncio.CancelledError):
        await gone
    slots.release("c")
    assert slots.take("d")


async def test_waiting_callers_are_bounded_in_total_and_for_each_party() -> None:
    slots = FairSlots(total=1, share=1, slow_share=1, waiting=20)
    assert slots.take("a")
    of_one = [asyncio.create_task(slots.wait("b", 60)) for _ in range(5)]
    done, waiting = await asyncio.wait(of_one, timeout=0)
    while len(done) < 3:
        done, waiting = await asyncio.wait(of_one, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == [False] * 3
    other = asyncio.create_task(slots.wait("c", 60))
    slots.release("a")
    await asyncio.wait({other, *waiting}, return_when=asyncio.FIRST_COMPLETED)
    for task in (other, *waiting):
        task.cancel()
    await asyncio.gather(other, *waiting, return_exceptions=True)


# Silent zones


def test_a_zone_is_silent_after_several_names_below_it_are_silent_and_until_one_answers() -> None:
    zones = SilentZones(Clock())
    for name in ("a.silent.test", "b.silent.test", "b.silent.test"):
        zones.took_too_long(name)
    assert zones.zone_of("c.silent.test") == ""
    zones.took_too_long("c.silent.test")
    assert zones.zone_of("x.y.silent.test") == "silent.test"
    assert zones.zone_of("silent.test") == ""
    assert zones.zone_of("a.other.test") == ""
    zones.answered("z.silent.test")
    assert zones.zone_of("c.silent.test") == ""


def test_one_silent_domain_does_not_make_its_suffix_silent() -> None:
    zones = SilentZones(Clock())
    for label in "abcdefgh":
        zones.took_too_long(f"{label}.evil.co.test")
    assert zones.zone_of("x.evil.co.test") == "evil.co.test"
    assert zones.zone_of("honest.co.test") == ""


def test_names_with_more_labels_do_not_give_a_zone_more_slots() -> None:
    zones = SilentZones(Clock())
    for outer in "abc":
        for inner in "abc":
            zones.took_too_long(f"{inner}.{outer}.silent.test")
    assert {zones.zone_of(f"x.{outer}.silent.test") for outer in "abcdef"} == {"silent.test"}
    assert [zones.enter("silent.test") for _ in range(3)] == [True, True, False]
    zones.leave("silent.test")
    assert zones.enter("silent.test")


def test_a_silent_zone_is_forgotten_after_a_while() -> None:
    clock = Clock()
    zones = SilentZones(clock)
    for label in "abc":
        zones.took_too_long(f"{label}.silent.test")
    clock.now += REMEMBERED_SECONDS
    assert zones.zone_of("d.silent.test") == ""


# The resolver


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CONCURRENT", 20)
    monkeypatch.setattr(module, "_SHARE", 5)


async def test_a_client_with_silent_zones_delays_nobody_else(small: None, dns_server: DnsServer) -> None:
    """The queries of this client wait for its own slots. Queries of other clients are sent at once."""
    resolver = Resolver(server_list(dns_server.address), seconds=30)
    gates = [dns_server.hold(f"{number}.zone{number}.test") for number in range(30)]
    hostile = resolver.for_party("198.51.100.0/24")
    asked = [asyncio.create_task(hostile.resolve(f"{number}.zone{number}.test", "TXT")) for number in range(30)]
    for number in range(5):
        await dns_server.query_came(f"{number}.zone{number}.test", "TXT")
    dns_server.add("honest.test", "A", "203.0.113.1")
    answer = await resolver.for_party("203.0.113.0/24").resolve("honest.test", "A")
    assert answer.outcome is Outcome.FOUND
    assert len({query.name for query in dns_server.queries}) == 6
    # A question that waits for the slots of the first client is asked at once when another client asks it.
    waits = asyncio.create_task(resolver.for_party("203.0.113.0/24").resolve("29.zone29.test", "TXT"))
    await dns_server.query_came("29.zone29.test", "TXT")
    for gate in gates:
        gate.open()
    await asyncio.gather(waits, *asked)


async def test_random_names_of_a_silent_zone_are_not_asked_any_more(dns_server: DnsServer) -> None:
    resolver = Resolver(server_list(dns_server.address), seconds=0.2)
    dns_server.behave("*.silent.test", Behaviour.SILENT)
    for number in range(3):
        assert (await resolver.resolve(f"n{number}.silent.test", "TXT")).outcome is Outcome.NO_ANSWER
    names = [f"m{number}.silent.test" for number in range(50)]
    answers = await resolver.resolve_all([(name, "TXT") for name in names], "one client")
    assert {answer.outcome for answer in answers} == {Outcome.NO_ANSWER}
    asked = {query.name for query in dns_server.queries}
    assert len(asked & set(names)) <= 2
    # Two slots stay open, so that policy notices when the zone answers again. After that it looks up all names.
    dns_server.clear()
    for name in names:
        dns_server.add(name, "TXT", "x")
    async with asyncio.timeout(60):
        while (await resolver.resolve(names[-1], "TXT")).outcome is not Outcome.FOUND:
            pass
    answers = await resolver.resolve_all([(name, "A") for name in names], "another client")
    assert {answer.outcome for answer in answers} == {Outcome.NONE}


async def test_silent_sender_domains_delay_no_honest_mail(
    small: None, dns_server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many messages of one network, whose SPF records have no answer, do not delay the decision about an honest
    message.
    """
    rules = snapshot({"content_checks": {"spf": {"mode": "enforce"}}})
    gates = [dns_server.hold(f"s{number}.test", "TXT") for number in range(40)]
    dns_server.add("honest.test", "TXT", "v=spf1 +all")
    async with serving(rules, dns=dns_server.address, lookup_seconds=30) as policy, policy.stream() as hostile:
        asked = asyncio.create_task(
            hostile.ask(
                *(rcpt("any@relay.test", f"a@s{number}.test", client=f"192.0.2.{number}") for number in range(40))
            )
        )
        await dns_server.query_came("s4.test", "TXT")
        honest = await policy.decide(rcpt("any@relay.test", "joe@honest.test", client="203.0.113.7"))
        assert replied(honest) == "accept"
        assert not asked.done()
        for gate in gates:
            gate.open()
        await asked


async def test_look_ups_of_one_client_are_bounded(dns_server: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_UNDER_WAY_OF_PARTY", 3)
    lookups = Lookups(Resolver(server_list(dns_server.address), seconds=30), seconds=30)
    gates = [dns_server.hold(f"s{number}.test") for number in range(4)]
    questions = [Question(Lookup.SENDER_DOMAIN, f"s{number}.test") for number in range(4)]
    lookups.start(questions[:3], "a")
    assert (await lookups.find(questions[3:], "a"))[questions[3]].outcome is Outcome.NO_ANSWER
    for gate in gates:
        gate.open()
    assert (await lookups.find(questions[3:], "b"))[questions[3]].outcome is Outcome.NONE
    await lookups.close()


# The cache of answers


def test_names_that_are_used_once_displace_no_name_that_was_used_twice() -> None:
    cache: TwoStageCache[str, int] = TwoStageCache(100)
    for number in range(10):
        cache.put(f"known{number}", number)
        assert cache.get(f"known{number}") == number
    for number in range(1000):
        cache.put(f"random{number}", number)
    assert [cache.get(f"known{number}") for number in range(10)] == list(range(10))
    assert cache.get("random0") is None
    assert len(cache) <= 100
    for number in range(1000):
        cache.put(f"twice{number}", number)
        cache.get(f"twice{number}")
    assert len(cache) <= 100
