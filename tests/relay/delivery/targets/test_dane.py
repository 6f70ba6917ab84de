"""DANE (RFC 7672): which TLSA records are usable, which certificates they match, and how they affect a delivery."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.relay.configuration.model import TlsLevel
from services.relay.delivery.targets.dane import TlsaRecord, verify
from services.relay.model.attempt import Outcome, Result
from tests.peers.dns import DnsServer
from tests.peers.dns_misbehaviour import Behaviour
from tests.peers.smtp_sink import SmtpSink
from tests.relay.delivery.conftest import Gateway, MxHosts

HOST = "mx.example.net"
NOW = datetime.datetime.now(datetime.UTC)


def chain_of(leaf: trustme.LeafCert, *authorities: trustme.CA) -> list[bytes]:
    pems = [*leaf.cert_chain_pems, *(authority.cert_pem for authority in authorities)]
    return [x509.load_pem_x509_certificate(pem.bytes()).public_bytes(Encoding.DER) for pem in pems]


def tlsa(der: bytes, usage: int, selector: int = 1, matching: int = 1) -> TlsaRecord:
    certificate = x509.load_der_x509_certificate(der)
    public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    chosen = public if selector else der
    data = {0: chosen, 1: hashlib.sha256(chosen).digest(), 2: hashlib.sha512(chosen).digest()}[matching]
    return TlsaRecord(usage, selector, matching, data)


def matches(record: TlsaRecord, chain: Sequence[bytes], *names: str) -> bool:
    return verify([record], chain, names or (HOST,), NOW)


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("usage", [2, 3])
def test_each_form_of_record_matches_its_certificate(
    certificates: trustme.CA, usage: int, selector: int, matching: int
) -> None:
    chain = chain_of(certificates.issue_cert(HOST), certificates)
    meant = chain[-1] if usage == 2 else chain[0]
    assert matches(tlsa(meant, usage, selector, matching), chain)
    other = chain_of(trustme.CA().issue_cert(HOST))[0]
    assert not matches(tlsa(other, usage, selector, matching), chain)


def test_an_end_entity_record_compares_only_the_key(certificates: trustme.CA) -> None:
    old = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    chain = chain_of(certificates.issue_cert("other.test", not_after=old))
    assert matches(tlsa(chain[0], 3), chain)


@pytest.mark.parametrize("names", [("other.test",), ("example.net",)])
def test_a_trust_anchor_record_needs_the_name(certificates: trustme.CA, names: tuple[str, ...]) -> None:
    chain = chain_of(certificates.issue_cert(HOST), certificates)
    assert not matches(tlsa(chain[-1], 2), chain, *names)
    wild = chain_of(certificates.issue_cert("*.example.net"), certificates)
    assert matches(tlsa(wild[-1], 2), wild) is True
    assert not matches(tlsa(wild[-1], 2), wild, "a.mx.example.net")


def test_a_trust_anchor_record_needs_a_chain_to_the_anchor(certificates: trustme.CA) -> None:
    intermediate = certificates.create_child_ca()
    chain = chain_of(intermediate.issue_cert(HOST), certificates)
    assert len(chain) == 3
    assert matches(tlsa(chain[2], 2), chain)
    assert matches(tlsa(chain[1], 2), chain)
    # The server sends the real anchor together with a certificate that the anchor did not issue.
    forged = [chain_of(trustme.CA().issue_cert(HOST))[0], chain[2]]
    assert not matches(tlsa(chain[2], 2), forged)
    # A leaf certificate cannot issue other certificates.
    leaf = chain_of(certificates.issue_cert("attacker.test"))[0]
    assert not matches(tlsa(leaf, 2), [chain[0], leaf])
    assert not matches(tlsa(chain[2], 2), [])
    assert not matches(tlsa(chain[2], 2), [b"no certificate"])


def test_a_trust_anchor_record_needs_valid_certificates(certificates: trustme.CA) -> None:
    old = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    chain = chain_of(certificates.issue_cert(HOST, not_after=old), certificates)
    assert not matches(tlsa(chain[-1], 2), chain)


# Deliveries


@dataclass
class SignedDomain:
    """The domain example.net in a signed zone. It has one MX host, which has a certificate of its own."""

    gateway: Gateway
    dns: DnsServer
    hosts: MxHosts
    sink: SmtpSink
    chain: list[bytes]

    def record(self, record: TlsaRecord) -> None:
        text = f"{record.usage} {record.selector} {record.matching} {record.data.hex()}"
        self.dns.add(f"_{self.hosts.port}._tcp.{HOST}", "TLSA", text)

    async def deliver(self) -> Outcome:
        return await self.gateway.deliver_one(b"bob@example.net")


@pytest.fixture
async def domain(gateway: Gateway, dns_server: DnsServer, mx_hosts: MxHosts) -> SignedDomain:
    # No public authority issued this certificate; only the TLSA record in the zone vouches for it.
    leaf = trustme.CA().issue_cert("self.test")
    sink = mx_hosts.add("example.net", 10, HOST, certificate=leaf)
    dns_server.secure("example.net")
    gateway.options_are(dane=True)
    return SignedDomain(gateway, dns_server, mx_hosts, sink, chain_of(leaf))


async def test_a_matching_record_is_enough(domain: SignedDomain) -> None:
    domain.record(tlsa(domain.chain[0], 3))
    outcome = await domain.deliver()
    assert (outcome.result, outcome.tls_policy) == (Result.DELIVERED, "dane")
    assert outcome.tls


async def test_mail_is_deferred_without_a_matching_record(domain: SignedDomain) -> None:
    domain.record(TlsaRecord(3, 1, 1, b"x" * 32))
    outcome = await domain.deliver()
    assert (outcome.result, outcome.enhanced_code, outcome.tls_policy) == (Result.DEFERRED, "4.7.5", "dane")
    assert "TLSA" in outcome.text
    assert len(domain.sink.sessions) == 1
    assert domain.sink.transactions == []


async def test_one_matching_record_among_several_is_enough(domain: SignedDomain) -> None:
    domain.record(TlsaRecord(3, 1, 1, b"x" * 32))
    domain.record(tlsa(domain.chain[0], 3, 0, 2))
    assert (await domain.deliver()).result is Result.DELIVERED


async def test_records_make_tls_required(domain: SignedDomain) -> None:
    domain.record(tlsa(domain.chain[0], 3))
    domain.sink.stop()
    with SmtpSink(host=domain.sink.host, port=domain.sink.port) as sink:
        outcome = await domain.deliver()
        assert (outcome.result, outcome.enhanced_code) == (Result.DEFERRED, "4.7.4")
        assert sink.transactions == []


@pytest.mark.parametrize(
    "record", [TlsaRecord(1, 1, 1, b"x" * 32), TlsaRecord(3, 1, 7, b"short"), TlsaRecord(3, 7, 1, b"x" * 32)]
)
async def test_unusable_records_only_require_tls(domain: SignedDomain, record: TlsaRecord) -> None:
    """When no TLSA record is usable, TLS is required without a check of the certificate (RFC 7672 section 2.2)."""
    domain.record(record)
    outcome = await domain.deliver()
    assert (outcome.result, outcome.tls_policy) == (Result.DELIVERED, "dane")


@pytest.mark.parametrize("level", [TlsLevel.MAY, TlsLevel.ENCRYPT, TlsLevel.VERIFY])
async def test_a_tls_policy_does_not_weaken_dane(domain: SignedDomain, level: TlsLevel) -> None:
    domain.gateway.configuration_is(tls_policies={"example.net": level})
    domain.record(TlsaRecord(3, 1, 1, b"x" * 32))
    outcome = await domain.deliver()
    assert (outcome.result, outcome.enhanced_code, outcome.tls_policy) == (Result.DEFERRED, "4.7.5", "dane")


async def test_unusable_records_do_not_weaken_a_tls_policy(domain: SignedDomain) -> None:
    domain.gateway.configuration_is(tls_policies={"example.net": TlsLevel.VERIFY})
    domain.record(TlsaRecord(1, 1, 1, b"x" * 32))
    outcome = await domain.deliver()
    assert (outcome.result, outcome.enhanced_code, outcome.tls_policy) == (Result.DEFERRED, "4.7.5", "required")
    assert domain.sink.transactions == []


async def test_the_tls_policy_none_turns_dane_off(domain: SignedDomain) -> None:
    domain.gateway.configuration_is(tls_policies={"example.net": TlsLevel.NONE})
    domain.record(TlsaRecord(3, 1, 1, b"x" * 32))
    outcome = await domain.deliver()
    assert (outcome.result, outcome.tls, outcome.tls_policy) == (Result.DELIVERED, "", "none")


async def test_without_the_ad_bit_records_are_ignored(domain: SignedDomain) -> None:
    domain.dns._secure.clear()
    domain.record(TlsaRecord(3, 1, 1, b"x" * 32))
    assert (await domain.deliver()).tls_policy == "opportunistic"


async def test_without_the_option_dane_tlsa_records_are_not_looked_up(domain: SignedDomain) -> None:
    domain.gateway.options_are(dane=False)
    domain.record(TlsaRecord(3, 1, 1, b"x" * 32))
    assert (await domain.deliver()).tls_policy == "opportunistic"
    assert not domain.dns.asked(f"_{domain.hosts.port}._tcp.{HOST}")


async def test_a_signed_zone_without_an_answer_stops_delivery(domain: SignedDomain) -> None:
    """If mail went out, anybody who can drop DNS answers could switch DANE off (RFC 7672 section 2.1.2)."""
    domain.dns.behave(f"_{domain.hosts.port}._tcp.{HOST}", Behaviour.SERVFAIL)
    outcome = await domain.deliver()
    assert (outcome.result, outcome.enhanced_code) == (Result.DEFERRED, "4.4.3")
    assert domain.sink.sessions == []


async def test_a_signed_zone_without_records_has_opportunistic_tls(domain: SignedDomain) -> None:
    outcome = await domain.deliver()
    assert (outcome.result, outcome.tls_policy) == (Result.DELIVERED, "opportunistic")


# One address family gets no DNS answer (F01)


@pytest.mark.parametrize("broken", ["AAAA", "A"])
@pytest.mark.parametrize("behaviour", [Behaviour.SERVFAIL, Behaviour.SILENT])
async def test_f01_dane_applies_although_one_address_family_gets_no_answer(
    domain: SignedDomain, behaviour: Behaviour, broken: str
) -> None:
    """F01: mail goes only to the server with the right key, never to one with a wrong key, and never in plaintext."""
    domain.gateway.times_out(lookup=1)
    domain.dns.behave(HOST, behaviour, broken)
    domain.record(tlsa(domain.chain[0], 3))
    outcome = await domain.deliver()
    if broken == "A":
        # The A record is the only address that the host has.
        assert (outcome.result, outcome.enhanced_code, domain.sink.sessions) == (Result.DEFERRED, "4.4.3", [])
        return
    assert (outcome.result, outcome.tls_policy) == (Result.DELIVERED, "dane")


async def test_f01_a_wrong_key_gets_no_mail_although_one_family_gets_no_answer(domain: SignedDomain) -> None:
    domain.dns.behave(HOST, Behaviour.SERVFAIL, "AAAA")
    domain.record(TlsaRecord(3, 1, 1, b"x" * 32))
    outcome = await domain.deliver()
    assert (outcome.result, outcome.enhanced_code, outcome.tls_policy) == (Result.DEFERRED, "4.7.5", "dane")
    assert domain.sink.transactions == []


async def test_f01_a_forged_address_gets_no_mail(domain: SignedDomain) -> None:
    """F01: when no TLSA record is usable, no certificate is checked, so mail may go only to signed addresses."""
    forger = domain.hosts.add("forger.test", 10, "mx.forger.test", certificate=trustme.CA().issue_cert(HOST))
    domain.dns.add(HOST, "AAAA", f"::ffff:{forger.host}")
    domain.dns.forge(HOST, "AAAA")
    domain.record(TlsaRecord(1, 1, 1, b"x" * 32))
    domain.sink.stop()
    outcome = await domain.deliver()
    assert (outcome.result, outcome.address, forger.sessions) == (Result.DEFERRED, domain.sink.host, [])


# MX hosts whose names are aliases (F02; RFC 7672 section 2.2.2)


@dataclass
class AliasedDomain:
    """The domain aliased.test in a signed zone. Its MX host mx.aliased.test is an alias of host.hosting.test."""

    gateway: Gateway
    dns: DnsServer
    hosts: MxHosts
    sink: SmtpSink
    chain: list[bytes]

    def record(self, name: str, record: TlsaRecord) -> None:
        text = f"{record.usage} {record.selector} {record.matching} {record.data.hex()}"
        self.dns.add(f"_{self.hosts.port}._tcp.{name}", "TLSA", text)


@pytest.fixture
async def aliased(gateway: Gateway, dns_server: DnsServer, mx_hosts: MxHosts) -> AliasedDomain:
    # The server sends the certificate of this authority after its own.
    leaf = trustme.CA().create_child_ca().issue_cert("host.hosting.test")
    sink = mx_hosts.add("unused.test", 10, "host.hosting.test", certificate=leaf)
    dns_server.load({"aliased.test": {"MX": "10 mx.aliased.test."}, "mx.aliased.test": {"CNAME": "host.hosting.test."}})
    dns_server.secure("aliased.test")
    gateway.options_are(dane=True)
    return AliasedDomain(gateway, dns_server, mx_hosts, sink, chain_of(leaf))


@pytest.mark.parametrize("usage", [2, 3])
async def test_f02_the_records_of_the_name_at_the_end_of_the_aliases_come_first(
    aliased: AliasedDomain, usage: int
) -> None:
    aliased.dns.secure("hosting.test")
    aliased.record("host.hosting.test", tlsa(aliased.chain[-1] if usage == 2 else aliased.chain[0], usage))
    aliased.record("mx.aliased.test", TlsaRecord(3, 1, 1, b"x" * 32))
    outcome = await aliased.gateway.deliver_one(b"bob@aliased.test")
    assert (outcome.result, outcome.tls_policy) == (Result.DELIVERED, "dane")
    assert [session.tls and session.tls.server_name for session in aliased.sink.sessions] == ["host.hosting.test"]


@pytest.mark.parametrize("target_is_signed", [True, False])
async def test_f02_the_records_of_the_alias_apply_when_its_target_has_none(
    aliased: AliasedDomain, target_is_signed: bool
) -> None:
    if target_is_signed:
        aliased.dns.secure("hosting.test")
    aliased.record("mx.aliased.test", tlsa(aliased.chain[0], 3))
    outcome = await aliased.gateway.deliver_one(b"bob@aliased.test")
    assert (outcome.result, outcome.tls_policy) == (Result.DELIVERED, "dane")
    assert [session.tls and session.tls.server_name for session in aliased.sink.sessions] == ["mx.aliased.test"]


@pytest.mark.parametrize("name", ["mx.aliased.test", "host.hosting.test"])
async def test_f02_a_wrong_key_behind_an_alias_gets_no_mail(aliased: AliasedDomain, name: str) -> None:
    aliased.dns.secure("hosting.test")
    aliased.record(name, TlsaRecord(3, 1, 1, b"x" * 32))
    outcome = await aliased.gateway.deliver_one(b"bob@aliased.test")
    assert (outcome.result, outcome.enhanced_code, outcome.tls_policy) == (Result.DEFERRED, "4.7.5", "dane")
    assert aliased.sink.transactions == []


@pytest.mark.parametrize(
    ("name", "kind", "target_is_signed"),
    [("mx.aliased.test", "CNAME", False), ("host.hosting.test", "TLSA", True), ("mx.aliased.test", "TLSA", True)],
)
async def test_f02_a_missing_answer_about_an_alias_stops_delivery(
    aliased: AliasedDomain, name: str, kind: str, target_is_signed: bool
) -> None:
    """If mail went out, anybody who can drop DNS answers could switch DANE off."""
    if target_is_signed:
        aliased.dns.secure("hosting.test")
    asked = f"_{aliased.hosts.port}._tcp.{name}" if kind == "TLSA" else name
    aliased.dns.behave(asked, Behaviour.SERVFAIL, kind)
    outcome = await aliased.gateway.deliver_one(b"bob@aliased.test")
    assert (outcome.result, outcome.enhanced_code, aliased.sink.sessions) == (Result.DEFERRED, "4.4.3", [])


async def test_f02_records_in_an_unsigned_zone_are_ignored_behind_an_alias(aliased: AliasedDomain) -> None:
    aliased.record("host.hosting.test", TlsaRecord(3, 1, 1, b"x" * 32))
    assert (await aliased.gateway.deliver_one(b"bob@aliased.test")).tls_policy == "opportunistic"
