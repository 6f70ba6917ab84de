"""Access rules: the look-up in tables finds the same rules as a simple loop and is fast with 100,000 rules, and the
allow matrix is as documented.
"""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from posthouse.config.v1 import config_pb2

from libs.smtp.network import canonical_ip, parse_pattern
from services.policy.rules.access import EXEMPTS, matches
from services.policy.rules.addresses import facts_of_address
from services.policy.rules.configuration import Criterion
from services.policy.rules.model import Check, Facts, Snapshot, Stage
from services.policy.snapshot import compile_snapshot
from tests.policy.world import settings, snapshot

_DOMAINS = st.sampled_from(["local.test", "sender.test", "sub.sender.test", "other.test"])
_LOCALS = st.sampled_from(["joe", "JOE", "Joe", "ann", '"j e"'])
_ADDRESSES = st.builds(lambda local, domain: f"{local}@{domain}", _LOCALS, _DOMAINS)
_OCTET = st.sampled_from([0, 1, 10, 100, 127, 192, 255])
_IPV4 = st.builds(lambda *octets: ".".join(map(str, octets)), _OCTET, _OCTET, _OCTET, _OCTET)
_IPV6 = st.builds(lambda low, high: f"2001:db8:{high:x}::{low:x}", st.integers(0, 3), st.integers(0, 3))
_NETWORKS = st.one_of(
    st.builds(lambda base, mask: f"{base}/{mask}", _IPV4, _IPV4),
    st.builds(lambda base, bits: f"{base}/{bits}", _IPV4, st.integers(0, 32)),
    st.builds(lambda base, bits: f"{base}/{bits}", _IPV6, st.integers(0, 128)),
)
_RULES = st.one_of(
    st.tuples(st.just("sender"), _ADDRESSES),
    st.tuples(st.just("recipient"), _ADDRESSES),
    st.tuples(st.just("domain"), _DOMAINS),
    st.tuples(st.just("domain"), st.builds(lambda domain: f".{domain}", _DOMAINS)),
    st.tuples(st.just("ip"), st.one_of(_IPV4, _IPV6)),
    st.tuples(st.just("network"), _NETWORKS),
)


def _naive(of: Snapshot, rules: list[tuple[str, str]], facts: Facts) -> set[str]:
    """Returns the ids of the rules that match. It tries each rule, as the documentation of the settings says."""
    client = canonical_ip(facts.client.address)
    found = set()
    for number, (criterion, value) in enumerate(rules):
        match criterion:
            case "sender" | "recipient":
                given, wanted = (
                    (facts.sender if criterion == "sender" else facts.recipient),
                    facts_of_address(value.encode(), of),
                )
                hit = given.domain == wanted.domain and given.local == wanted.local
            case "domain" if value.startswith("."):
                hit = facts.sender.domain.endswith(value)
            case "domain":
                hit = facts.sender.domain == value
            case _:
                base, _, mask = value.partition("/")
                hit = ip_address(base).version == client.version and _same_network(base, mask, str(client))
        if hit:
            found.add(f"r{number}")
    return found


def _same_network(base: str, mask: str, client: str) -> bool:
    bits = ip_address(base).max_prefixlen
    if "." in mask:
        number = int(IPv4Address(mask))
    else:
        ones = int(mask) if mask else bits
        number = ((1 << ones) - 1) << (bits - ones)
    return int(ip_address(base)) & number == int(ip_address(client)) & number


def _facts(of: Snapshot, sender: str, recipient: str, client: str) -> Facts:
    return Facts(
        Stage.RCPT,
        0.0,
        "",
        of.clients.find(client),
        sender=facts_of_address(sender.encode(), of),
        recipient=facts_of_address(recipient.encode(), of),
    )


@given(
    rules=st.lists(_RULES, max_size=25),
    sender=st.one_of(st.just(""), _ADDRESSES),
    recipient=_ADDRESSES,
    client=st.one_of(_IPV4, _IPV6),
)
def test_tables_find_the_same_rules_as_a_scan(
    rules: list[tuple[str, str]], sender: str, recipient: str, client: str
) -> None:
    written = [
        {"id": f"r{number}", "list": "allow", "criterion": criterion, "value": value}
        for number, (criterion, value) in enumerate(rules)
    ]
    compiled = snapshot({"access_rules": written, "accounts": []})
    facts = _facts(compiled, sender, recipient, client)
    assert {rule.id for rule in matches(facts)} == _naive(compiled, rules, facts)


@given(st.one_of(_IPV4, _IPV6, st.builds(lambda address: f"::ffff:{address}", _IPV4)))
def test_the_canonical_form_of_a_canonical_client_address_is_the_same(text: str) -> None:
    canonical = str(canonical_ip(text))
    assert str(canonical_ip(canonical)) == canonical
    assert snapshot({"accounts": []}).clients.find(canonical).address == canonical


@given(_ADDRESSES)
def test_the_canonical_form_of_a_canonical_mail_address_is_the_same(text: str) -> None:
    of = snapshot({"accounts": []})
    once = facts_of_address(text.encode(), of)
    assert facts_of_address(once.wire, of) == once


@given(_NETWORKS)
def test_the_canonical_form_of_a_canonical_network_is_the_same(text: str) -> None:
    assert parse_pattern(str(parse_pattern(text))) == parse_pattern(text)


def test_the_time_of_a_look_up_does_not_depend_on_the_number_of_rules() -> None:
    """100,000 rules with a few different masks need as many dictionary look-ups as there are masks."""
    message = settings({"accounts": []})
    for number in range(100_000):
        message.access_rules.add(
            id=f"r{number}",
            list=config_pb2.AccessRule.LIST_BLOCK,
            criterion=config_pb2.AccessRule.CRITERION_NETWORK,
            value=f"{11 + number // 65536}.{number >> 8 & 255}.{number & 255}.0/{24 + number % 2}",
            mode=config_pb2.MODE_ENFORCE,
        )
    compiled = compile_snapshot(message)
    assert len(compiled.clients._groups) == 2
    assert [rule.id for rule in compiled.clients.find("11.200.7.9").access] == [f"r{200 * 256 + 7}"]
    assert compiled.clients.find("13.1.1.1").access == ()


def test_the_cache_of_clients_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.policy.rules.clients._REMEMBERED", 10)
    clients = snapshot({"accounts": []}).clients
    for number in range(35):
        clients.find(f"192.0.2.{number}")
    assert len(clients._known) <= 10


def test_the_cache_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.policy.rules.addresses._REMEMBERED", 10)
    of = snapshot({"accounts": []})
    for number in range(35):
        facts_of_address(f"joe{number}@sender.test".encode(), of)
    assert len(of.known_addresses) <= 10


def test_facts_about_an_address_change_with_the_snapshot() -> None:
    rule = {"id": "b1", "list": "block", "criterion": "recipient", "value": "ghost@local.test", "action": "reject"}
    alias = [{"address": "ghost@local.test", "targets": ["alice@local.test"]}]
    before, after = snapshot(), snapshot({"access_rules": [rule], "aliases": alias})
    assert [facts_of_address(b"ghost@local.test", of).is_unknown for of in (before, after, before)] == [
        True,
        False,
        True,
    ]
    assert [len(facts_of_address(b"ghost@local.test", of).as_recipient) for of in (before, after, before)] == [0, 1, 0]


def test_the_closest_network_comes_first() -> None:
    rules: list[dict[str, Any]] = [
        {"id": "wide", "list": "block", "criterion": "network", "value": "192.0.0.0/8", "action": "reject"},
        {"id": "close", "list": "block", "criterion": "network", "value": "192.0.2.0/28", "action": "discard"},
        {"id": "middle", "list": "block", "criterion": "network", "value": "192.0.2.0/24", "action": "reject"},
    ]
    compiled = snapshot({"access_rules": rules})
    assert [rule.id for rule in compiled.clients.find("192.0.2.10").access] == ["close", "middle", "wide"]


def test_the_allow_matrix_is_as_documented() -> None:
    table = """
        ip        yes yes yes yes yes
        network   yes yes no  yes yes
        sender    no  yes yes no  no
        recipient no  yes yes no  no
        domain    no  yes yes yes yes
    """
    columns = (Check.DNSBL, Check.SPF, Check.ANTIVIRUS, Check.DKIM, Check.DMARC)
    for line in table.strip().splitlines():
        criterion, *cells = line.split()
        for check, cell in zip(columns, cells, strict=True):
            assert (check in EXEMPTS[Criterion(criterion)]) is (cell == "yes"), (criterion, check)
