"""The DNS records of the DKIM keys with which relay signs are checked."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from libs.runtime.checks import CheckResult, Level
from services.relay.configuration.model import Configuration, DkimKey
from services.relay.delivery import DeliveryOptions, open_transport
from services.relay.machine_checks import dkim_records
from tests.peers.dns import Behaviour, DnsServer

NAME = "2026a._domainkey.ours.test"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()


def key(private: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, algorithm: str) -> DkimKey:
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return DkimKey("k1", "ours.test", "2026a", algorithm, pem)


RSA_KEY, ED25519_KEY = key(RSA, "rsa-sha256"), key(ED25519, "ed25519-sha256")


def published(form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> str:
    return base64.b64encode(RSA.public_key().public_bytes(Encoding.DER, form)).decode()


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    with DnsServer() as server:
        yield server


async def look(server: DnsServer, *keys: DkimKey) -> list[CheckResult]:
    transport = open_transport(DeliveryOptions(nameservers=(server.address,)))
    configuration = replace(Configuration(1, "gw.test"), dkim_keys={"ours.test": keys} if keys else {})
    try:
        return list(await dkim_records(lambda: configuration, transport.look_up_text)())
    finally:
        await transport.close(0)


@pytest.mark.parametrize("form", [PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1])
async def test_a_record_with_the_key_is_ok(dns_server: DnsServer, form: PublicFormat) -> None:
    dns_server.add(NAME, "TXT", f"v=DKIM1; k=rsa; p={published(form)}")
    assert [each.level for each in await look(dns_server, RSA_KEY)] == [Level.OK]


async def test_a_record_with_an_ed25519_key_is_ok(dns_server: DnsServer) -> None:
    octets = ED25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    dns_server.add(NAME, "TXT", f"v=DKIM1; k=ed25519; p={base64.b64encode(octets).decode()}")
    assert [each.level for each in await look(dns_server, ED25519_KEY)] == [Level.OK]
    # The same octets are not a valid RSA key.
    assert [each.level for each in await look(dns_server, RSA_KEY)] == [Level.ERROR]


async def test_a_record_that_is_missing_is_an_error(dns_server: DnsServer) -> None:
    [result] = await look(dns_server, RSA_KEY)
    assert (result.id, result.level) == ("dkim_records", Level.ERROR)
    assert f"{NAME} is not published" in result.text


@pytest.mark.parametrize("record", ["v=DKIM1; p=", "v=DKIM1; p=no base64!", "v=DKIM1; p=AAAA", "v=spf1 -all"])
async def test_a_record_with_another_key_is_an_error(dns_server: DnsServer, record: str) -> None:
    dns_server.add(NAME, "TXT", record)
    [result] = await look(dns_server, RSA_KEY)
    assert (result.level, "another key" in result.text) == (Level.ERROR, True)


async def test_two_records_are_an_error_and_a_test_record_a_warning(dns_server: DnsServer) -> None:
    dns_server.add(NAME, "TXT", f"v=DKIM1; t=y:s; p={published()}")
    assert [each.level for each in await look(dns_server, RSA_KEY)] == [Level.WARNING]
    dns_server.add(NAME, "TXT", "v=DKIM1; p=")
    assert [each.level for each in await look(dns_server, RSA_KEY)] == [Level.ERROR]


async def test_a_missing_answer_is_a_warning_and_without_a_key_the_check_is_ok(dns_server: DnsServer) -> None:
    dns_server.behave(NAME, Behaviour.SERVFAIL)
    [result] = await look(dns_server, RSA_KEY)
    assert (result.level, "no answer" in result.text) == (Level.WARNING, True)
    assert [each.level for each in await look(dns_server)] == [Level.OK]
