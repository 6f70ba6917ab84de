"""Look-ups of DKIM keys: one deadline for a message, shares, silent zones, limited memory, the system's name servers
(F08).
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from libs.dns.stub_resolver import StubResolver
from services.ingress.checks import keys
from services.ingress.checks.keys import Key, KeyLookup, NoKey, zone_of
from tests.ingress.checks.signing import rsa_key
from tests.peers.dns import Behaviour, DnsServer

RECORD = rsa_key(1024).record
NO_ANSWER = NoKey("key could not be looked up", temporary=True)


def key_name(domain: str, selector: str = "s1") -> str:
    return f"{selector}._domainkey.{domain}."


@pytest.fixture
def zone(dns_server: DnsServer) -> DnsServer:
    """Returns a DNS server that has keys of two domains. Tests make it silent for other names."""
    dns_server.add("s1._domainkey.honest.example", "TXT", RECORD)
    dns_server.add("*.silent.example", "TXT", RECORD)
    return dns_server


def silent(server: DnsServer, *names: str) -> list[str]:
    for name in names:
        server.behave(name.rstrip("."), Behaviour.SILENT)
    return list(names)


async def test_all_keys_of_a_message_have_one_deadline(zone: DnsServer) -> None:
    names = silent(zone, *(key_name(f"d{number}.example{number}", "x") for number in range(10)))
    lookup = KeyLookup(zone.address)
    await lookup.find([key_name("honest.example")])
    found = await lookup.find([*names, key_name("honest.example")], "192.0.2.0/24", seconds=0.05)
    assert isinstance(found.pop(key_name("honest.example")), Key)
    assert found == dict.fromkeys(names, NO_ANSWER)


async def test_the_wait_for_a_slot_counts_towards_the_deadline(
    zone: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_LOOKUPS_AT_ONCE", 1)
    names = silent(zone, *(key_name(f"d{number}.example{number}", "x") for number in range(5)))
    lookup = KeyLookup(zone.address)
    assert await lookup.find(names, "192.0.2.0/24", seconds=0.05) == dict.fromkeys(names, NO_ANSWER)
    # The look-ups that timed out have freed the only slot.
    assert isinstance((await lookup.find([key_name("honest.example")]))[key_name("honest.example")], Key)


async def test_a_client_and_a_silent_zone_leave_slots_for_the_others(
    zone: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_LOOKUPS_AT_ONCE", 4)
    monkeypatch.setattr(keys, "_SHARE", 2)
    monkeypatch.setattr(keys, "_LOOKUP_SECONDS", 60.0)
    lookup = KeyLookup(zone.address)
    names = silent(zone, *(key_name(f"r{number}.silent.example") for number in range(20)))
    attacks = [asyncio.create_task(lookup.find(names[n::4], f"10.0.{n}.0/24", seconds=60)) for n in range(4)]
    async with asyncio.timeout(60):
        while len(zone.queries) < 2:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.005)
    honest = await lookup.find([key_name("honest.example")], "192.0.2.0/24")
    assert isinstance(honest[key_name("honest.example")], Key)
    assert not any(attack.done() for attack in attacks)
    for attack in attacks:
        attack.cancel()
    await asyncio.gather(*attacks, return_exceptions=True)


async def test_a_silent_zone_is_not_queried_for_a_while(zone: DnsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_LOOKUP_SECONDS", 0.2)
    now = 1_000.0
    lookup = KeyLookup(zone.address, lambda: now)
    names = silent(zone, *(key_name(f"r{number}.silent.example") for number in range(3)))
    for name in names:
        assert await lookup.find([name]) == {name: NO_ANSWER}
    zone.forget_queries()
    lookup._resolver = StubResolver([zone.address], seconds=60.0)
    # The zone is known to be silent, so no name below it is looked up, not even a new one.
    other = key_name("random.silent.example")
    assert await lookup.find([other]) == {other: NO_ANSWER}
    assert zone.queries == ()
    assert isinstance((await lookup.find([key_name("honest.example")]))[key_name("honest.example")], Key)
    now += 31
    assert isinstance((await lookup.find([other]))[other], Key)


async def test_random_names_of_one_zone_do_not_displace_keys_of_others(
    zone: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_KEPT_OF_A_ZONE", 3)
    monkeypatch.setattr(keys, "_KEPT", 5)
    lookup = KeyLookup(zone.address)
    await lookup.find([key_name("honest.example")])
    for number in range(10):
        await lookup.find([key_name(f"r{number}.silent.example")])
    zone.forget_queries()
    assert isinstance((await lookup.find([key_name("honest.example")]))[key_name("honest.example")], Key)
    assert zone.queries == ()
    for number in range(10):
        zone.add(f"s1._domainkey.d{number}.test{number}", "TXT", RECORD)
        await lookup.find([key_name(f"d{number}.test{number}")])
    # When the cache is full, the zone that was used least recently is forgotten.
    zone.forget_queries()
    await lookup.find([key_name("honest.example")])
    assert len(zone.queries) == 1


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "options timeout:1\n", None])
async def test_f08_without_name_servers_there_is_no_answer_and_a_new_one_is_used(
    dns_server: DnsServer, tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "resolv.conf"
    if text is not None:
        path.write_text(text)
    lookup = KeyLookup("", resolv_conf=path)
    name = key_name("honest.example")
    assert await lookup.find([name]) == {name: NO_ANSWER}
    # Nobody listens at this address. The test only checks that it is used.
    path.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    assert lookup._resolver.servers == ("127.0.0.1",)
    path.unlink()
    assert not lookup._resolver.servers


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("s1._domainkey.a.b.example.org.", "example.org"),
        ("s1._domainkey.example.co.uk.", "example.co.uk"),
        ("s1._domainkey.x.example.COM.au.", "example.com.au"),
        ("s1._domainkey.x.example.de.", "example.de"),
        ("s1._domainkey.localhost.", "_domainkey.localhost"),
        ("x", "x"),
        (".", ""),
    ],
)
def test_the_zone_of_a_name_is_found(name: str, zone: str) -> None:
    assert zone_of(name) == zone
