"""`/settings/content-checks`: DNSBL, SPF, DKIM, DMARC and the scan for viruses, and their results in the header."""

from __future__ import annotations

import re
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.e2e import world
from tests.e2e.settings.gateway import FAR, HOSTNAME, Gateway, message
from tests.peers.blackhole import Blackhole
from tests.peers.clamd import Clamd, eicar
from tests.peers.dns import Behaviour
from tests.peers.ports import free_port
from tests.peers.scripted_clamd import ScriptedClamd

pytestmark = pytest.mark.e2e

MODES = ["off", "shadow", "enforce"]


def _in(mode: str, refused: str) -> str:
    return refused if mode == "enforce" else "accepted"


def _results(gateway: Gateway, marker: str) -> str:
    """Returns our unfolded Authentication-Results field in the message that arrived."""
    header = re.sub(rb"\r\n[ \t]+", b" ", gateway.delivered(marker).header).decode()
    ours = [line for line in header.splitlines() if line.lower().startswith(f"authentication-results: {HOSTNAME}")]
    assert len(ours) <= 1, ours
    return ours[0] if ours else ""


# DNSBL

ZONE = "list.test"
LISTED = "93.50.0.9"


def _list(gateway: Gateway, *answers: str, address: str = "9.0.50.93", zone: str = ZONE) -> None:
    gateway.dns.replace(f"2.0.0.127.{zone}", "A", "127.0.0.2")
    gateway.dns.replace(f"{address}.{zone}", "A", *answers)


@pytest.mark.parametrize("mode", MODES)
def test_a_listed_client_is_refused_only_in_the_mode_enforce(gateway: Gateway, mode: str) -> None:
    _list(gateway, "127.0.0.2")
    gateway.content_checks(dnsbl={"mode": mode, "zones": [{"zone": ZONE}]})
    assert gateway.attempt(address=LISTED) == _in(mode, "RCPT 554 5.7.1")
    assert gateway.attempt(address="93.50.0.10") == "accepted"


@pytest.mark.parametrize(
    ("zone", "answers", "codes", "listed"),
    [
        ("a1.test", ["127.0.0.2"], None, True),
        ("a2.test", ["127.0.0.11"], None, True),
        ("a3.test", ["127.0.0.12"], None, False),
        ("a4.test", ["127.0.0.1"], None, False),
        ("a5.test", ["127.255.255.254"], None, False),
        ("a6.test", ["127.255.255.252", "127.255.255.255"], None, False),
        ("a7.test", ["203.0.113.7"], None, False),
        ("a8.test", ["127.0.0.20", "127.0.0.4"], None, True),
        ("a9.test", ["127.0.0.2"], ["127.0.0.9"], False),
        ("a10.test", ["127.0.0.9"], ["127.0.0.9"], True),
        ("a11.test", ["127.0.1.5"], ["127.0.1.4-127.0.1.6"], True),
        ("a12.test", ["127.0.1.7"], ["127.0.1.4-127.0.1.6"], False),
    ],
)
def test_only_a_configured_code_means_listed(
    gateway: Gateway, zone: str, answers: list[str], codes: list[str] | None, listed: bool
) -> None:
    _list(gateway, *answers, zone=zone)
    if codes:
        # The zone's answer for its test entry must be one of the configured codes, or the zone counts as broken.
        gateway.dns.replace(f"2.0.0.127.{zone}", "A", codes[0].partition("-")[0])
    settings: dict[str, Any] = {"zone": zone} | ({"codes": codes} if codes else {})
    gateway.content_checks(dnsbl={"mode": "enforce", "zones": [settings]})
    assert gateway.attempt(address=LISTED) == ("RCPT 554 5.7.1" if listed else "accepted")


@pytest.mark.parametrize("behaviour", [Behaviour.SERVFAIL, Behaviour.REFUSED, Behaviour.NODATA])
def test_a_block_list_that_does_not_answer_refuses_nobody(gateway: Gateway, behaviour: Behaviour) -> None:
    zone = f"{behaviour.name.lower()}.list.test"
    gateway.dns.behave(f"*.{zone}", behaviour)
    gateway.content_checks(dnsbl={"mode": "enforce", "zones": [{"zone": zone}]})
    assert gateway.attempt(address=LISTED) == "accepted"


def test_a_listing_in_one_of_several_block_lists_is_enough_for_a_refusal(gateway: Gateway) -> None:
    gateway.dns.behave("*.dead.test", Behaviour.SERVFAIL)
    _list(gateway, "127.0.0.3", zone="third.test")
    zones = [{"zone": "dead.test"}, {"zone": "empty.test"}, {"zone": "third.test"}]
    gateway.content_checks(dnsbl={"mode": "enforce", "zones": zones})
    assert gateway.attempt(address=LISTED) == "RCPT 554 5.7.1"


def test_ipv6_addresses_are_looked_up_in_nibbles_and_mapped_ones_as_ipv4(gateway: Gateway) -> None:
    _list(gateway, "127.0.0.2")
    nibbles = ".".join(reversed("2a0500000000000000000000000000ff"))
    gateway.dns.replace(f"{nibbles}.{ZONE}", "A", "127.0.0.2")
    gateway.content_checks(dnsbl={"mode": "enforce", "zones": [{"zone": ZONE}]})
    assert gateway.attempt(address="2a05::ff") == "RCPT 554 5.7.1"
    assert gateway.attempt(address="2a05::fe") == "accepted"
    assert gateway.attempt(address=f"::ffff:{LISTED}") == "RCPT 554 5.7.1"


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.1.1", "127.0.0.9", "fd00::5", "::1"])
def test_block_lists_are_never_asked_about_private_addresses(gateway: Gateway, address: str) -> None:
    gateway.dns.replace("*.private.test", "A", "127.0.0.2")
    gateway.content_checks(dnsbl={"mode": "enforce", "zones": [{"zone": "private.test"}]})
    gateway.dns.forget_queries()
    assert gateway.attempt(address=address) == "accepted"
    asked = {query.name for query in gateway.dns.queries if query.name.endswith(".private.test")}
    # Only the test entries of the list may be looked up.
    assert asked <= {"2.0.0.127.private.test", "1.0.0.127.private.test"}


def test_the_postmaster_is_reached_from_a_listed_client(gateway: Gateway) -> None:
    _list(gateway, "127.0.0.2")
    gateway.content_checks(dnsbl={"mode": "enforce", "zones": [{"zone": ZONE}]})
    assert gateway.attempt("postmaster@ours.test", address=LISTED) == "accepted"


# SPF

SPF = {
    "pass.test": "v=spf1 ip4:93.51.0.0/24 -all",
    "fail.test": "v=spf1 -all",
    "soft.test": "v=spf1 ~all",
    "neutral.test": "v=spf1 ?all",
    "perm.test": "v=spf1 nonsense:x -all",
    "two.test": "v=spf1 +all",
    "include.test": "v=spf1 include:pass.test -all",
    "temp.test": "v=spf1 include:spf-silent.test -all",
}
SPF_CLIENT = "93.51.0.9"


@pytest.fixture
def spf(gateway: Gateway) -> Gateway:
    for name, record in SPF.items():
        gateway.dns.replace(name, "TXT", record)
    gateway.dns.add("two.test", "TXT", "v=spf1 -all")
    gateway.dns.behave("spf-silent.test", Behaviour.SERVFAIL)
    return gateway


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {},
            {
                "pass.test": "accepted",
                "fail.test": "RCPT 550 5.7.23",
                "soft.test": "accepted",
                "neutral.test": "accepted",
                "no-spf.test": "accepted",
                "perm.test": "accepted",
                "two.test": "accepted",
                "include.test": "accepted",
                "temp.test": "RCPT 451 4.4.3",
                "spf-silent.test": "RCPT 451 4.4.3",
            },
        ),
        ({"on_softfail": "reject"}, {"soft.test": "RCPT 550 5.7.23", "neutral.test": "accepted"}),
        (
            {"reject_permerror": True},
            {"perm.test": "RCPT 550 5.7.24", "two.test": "RCPT 550 5.7.24", "soft.test": "accepted"},
        ),
    ],
    ids=["defaults", "softfail refused", "permerror refused"],
)
def test_spf_results_are_enforced(spf: Gateway, mode: str, options: dict[str, Any], expected: dict[str, str]) -> None:
    spf.content_checks(spf={"mode": mode, **options})
    replies = {name: spf.attempt(sender=f"x@{name}", address=SPF_CLIENT) for name in expected}
    assert replies == {name: _in(mode, reply) for name, reply in expected.items()}


def test_spf_fails_for_a_client_that_the_domain_does_not_list(spf: Gateway) -> None:
    spf.content_checks(spf={"mode": "enforce"})
    assert spf.attempt(sender="x@pass.test", address="93.52.0.1") == "RCPT 550 5.7.23"
    assert spf.attempt(sender="x@pass.test", address=f"::ffff:{SPF_CLIENT}") == "accepted"
    assert spf.attempt(sender="x@include.test", address="93.52.0.1") == "RCPT 550 5.7.23"


@pytest.mark.parametrize(
    ("helo", "expected"), [("fail.test", "RCPT 550 5.7.23"), ("pass.test", "accepted"), ("no-spf.test", "accepted")]
)
def test_spf_for_the_null_sender_uses_the_helo_name(spf: Gateway, helo: str, expected: str) -> None:
    spf.content_checks(spf={"mode": "enforce"})
    assert spf.attempt(sender="", helo=helo, address=SPF_CLIENT) == expected


# DKIM


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def signer(gateway: Gateway, key: rsa.RSAPrivateKey) -> Gateway:
    """A gateway with DNS records: signed.test and other.test publish the same key, silent.test answers SERVFAIL."""
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    record = "v=DKIM1; k=rsa; p=" + "".join(public.decode().splitlines()[1:-1])
    for domain in ("signed.test", "other.test"):
        gateway.dns.replace(f"s1._domainkey.{domain}", "TXT", record)
    gateway.dns.behave("s1._domainkey.silent.test", Behaviour.SERVFAIL)
    return gateway


def _signed(key: rsa.RSAPrivateKey, content: bytes, domain: str = "signed.test") -> bytes:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    signature: bytes = dkim.sign(content, b"s1", domain.encode(), pem, include_headers=[b"from", b"subject"])
    return signature + content


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("kind", "refused", "result"),
    [
        ("valid", "accepted", "dkim=pass"),
        ("unsigned", "accepted", "dkim=none"),
        ("changed body", "DATA 550 5.7.20", "dkim=fail"),
        ("changed subject", "DATA 550 5.7.20", "dkim=fail"),
        ("one of two", "accepted", "dkim=pass"),
        ("key unknown", "DATA 550 5.7.20", "dkim="),
        ("key silent", "accepted", "dkim=temperror"),
    ],
)
def test_dkim_results_are_enforced(
    signer: Gateway, key: rsa.RSAPrivateKey, mode: str, kind: str, refused: str, result: str
) -> None:
    signer.content_checks(dkim={"mode": mode})
    marker = f"dkim {kind} {mode}"
    content = message(marker, sender="x@signed.test")
    match kind:
        case "valid":
            content = _signed(key, content)
        case "changed body":
            content = _signed(key, content) + b"More.\r\n"
        case "changed subject":
            content = _signed(key, content).replace(b"Subject: dkim", b"Subject: Xdkim")
        case "one of two":
            content = _signed(key, _signed(key, content), "no-key.test")
        case "key unknown":
            content = _signed(key, content, "no-key.test")
        case "key silent":
            content = _signed(key, content, "silent.test")
    got = signer.attempt(sender="x@signed.test", content=content)
    if kind == "key silent" and mode == "enforce":
        # A missing DNS answer must never lead to a permanent refusal.
        assert got in ("accepted", "DATA 451 4.7.5", "DATA 451 4.4.3", "DATA 450 4.4.3", "DATA 451 4.7.20")
        return
    assert got == _in(mode, refused)
    if got == "accepted":
        assert result in _results(signer, marker) or mode == "off"
        assert mode != "off" or "dkim=" not in _results(signer, marker)


# DMARC


@pytest.fixture
def dmarc(signer: Gateway) -> Gateway:
    for domain, record in {
        "signed.test": "v=DMARC1; p=reject",
        "quarantine.test": "v=DMARC1; p=quarantine",
        "none.test": "v=DMARC1; p=none",
        "strict.test": "v=DMARC1; p=reject; aspf=s",
        "parent.test": "v=DMARC1; p=none; sp=reject",
    }.items():
        signer.dns.replace(f"_dmarc.{domain}", "TXT", record)
        signer.dns.replace(domain, "TXT", "v=spf1 ip4:93.51.0.9 -all")
    signer.dns.replace("mail.strict.test", "TXT", "v=spf1 ip4:93.51.0.9 -all")
    signer.dns.replace("mail.signed.test", "TXT", "v=spf1 ip4:93.51.0.9 -all")
    signer.dns.behave("_dmarc.silent-policy.test", Behaviour.SERVFAIL)
    return signer


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("origin", "sender", "refused"),
    [
        ("x@signed.test", FAR, "DATA 550 5.7.1"),
        ("x@signed.test", "x@signed.test", "accepted"),
        ("x@signed.test", "x@mail.signed.test", "accepted"),
        ("x@sub.signed.test", FAR, "DATA 550 5.7.1"),
        ("x@none.test", FAR, "accepted"),
        ("x@quarantine.test", FAR, "accepted"),
        ("x@no-policy.test", FAR, "accepted"),
        ("x@strict.test", "x@mail.strict.test", "DATA 550 5.7.1"),
        ("x@parent.test", FAR, "accepted"),
        ("x@sub.parent.test", FAR, "DATA 550 5.7.1"),
        ('"x@none.test" <x@signed.test>', FAR, "DATA 550 5.7.1"),
        ("x@none.test, y@signed.test", FAR, "DATA 550 5.7.1"),
    ],
)
def test_dmarc_results_are_enforced(dmarc: Gateway, mode: str, origin: str, sender: str, refused: str) -> None:
    dmarc.content_checks(dmarc={"mode": mode})
    content = message("dmarc", sender=origin)
    assert dmarc.attempt(sender=sender, address="93.51.0.9", content=content) == _in(mode, refused)


def test_dmarc_passes_by_an_aligned_signature(dmarc: Gateway, key: rsa.RSAPrivateKey) -> None:
    dmarc.content_checks(dmarc={"mode": "enforce"})
    content = message("aligned", sender="x@signed.test")
    assert dmarc.attempt(content=_signed(key, content)) == "accepted"
    assert "dmarc=pass" in _results(dmarc, "aligned")
    assert dmarc.attempt(content=_signed(key, content, "other.test")) == "DATA 550 5.7.1"


def test_a_signature_over_a_part_of_the_body_does_not_pass(dmarc: Gateway, key: rsa.RSAPrivateKey) -> None:
    dmarc.content_checks(dmarc={"mode": "enforce"})
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    content = message("part", sender="x@signed.test")
    signature = dkim.sign(content, b"s1", b"signed.test", pem, include_headers=[b"from"], length=True)
    assert dmarc.attempt(content=signature + content + b"<h1>Buy!</h1>\r\n") == "DATA 550 5.7.1"


def test_a_second_from_field_does_not_evade_dmarc(dmarc: Gateway, key: rsa.RSAPrivateKey) -> None:
    dmarc.content_checks(dmarc={"mode": "enforce"})
    content = message("two from", sender="x@none.test")
    assert dmarc.attempt(content=b"From: boss@signed.test\r\n" + content) == "DATA 550 5.7.1"
    first, _, rest = content.partition(b"\r\n")
    assert dmarc.attempt(content=first + b"\r\nFrom: boss@signed.test\r\n" + rest) == "DATA 550 5.7.1"


def test_spf_for_the_null_sender_is_aligned_by_the_helo_name(dmarc: Gateway) -> None:
    dmarc.content_checks(dmarc={"mode": "enforce"})
    content = message("bounce", sender="mailer-daemon@signed.test")
    assert dmarc.attempt(sender="", helo="mail.signed.test", address="93.51.0.9", content=content) == "accepted"
    assert dmarc.attempt(sender="", helo="client.far.test", content=content) == "DATA 550 5.7.1"


def test_a_missing_dmarc_answer_is_never_a_permanent_refusal(dmarc: Gateway) -> None:
    dmarc.content_checks(dmarc={"mode": "enforce"})
    got = dmarc.attempt(content=message("no answer", sender="x@silent-policy.test"))
    assert got == "accepted" or got.startswith(("DATA 450 4.", "DATA 451 4.")), got


def test_mail_with_the_dmarc_policy_quarantine_is_accepted_and_marked(dmarc: Gateway) -> None:
    dmarc.content_checks(dmarc={"mode": "enforce"})
    sender = "marked@far.test"
    content = message("marked", sender="x@quarantine.test")
    assert dmarc.attempt(sender=sender, content=content) == "accepted"
    assert "dmarc=fail" in _results(dmarc, "marked")
    assert dmarc.finished(sender)["quarantine"] is True


# Authentication-Results


def test_results_have_our_hostname_and_forged_results_are_removed(signer: Gateway, key: rsa.RSAPrivateKey) -> None:
    signer.content_checks(spf={"mode": "shadow"}, dkim={"mode": "shadow"}, dmarc={"mode": "shadow"})
    forged = (
        f"Authentication-Results: {HOSTNAME}; dmarc=pass header.from=bank.test\r\n"
        f"AUTHENTICATION-RESULTS:\r\n {HOSTNAME.upper()} 1; spf=pass\r\n"
        f"Authentication-Results: (a comment) {HOSTNAME}; dkim=pass\r\n"
        "Authentication-Results: elsewhere.test; spf=pass smtp.mailfrom=kept.test\r\n"
    )
    content = message("forged results", sender="x@signed.test", header=forged)
    assert signer.attempt(sender="x@signed.test", content=_signed(key, content)) == "accepted"
    header = signer.delivered("forged results").header.decode()
    unfolded = re.sub(r"\r\n[ \t]+", " ", header)
    fields = [line for line in unfolded.splitlines() if line.lower().startswith("authentication-results:")]
    assert len(fields) == 2, fields
    assert fields[0].startswith(f"Authentication-Results: {HOSTNAME}")
    assert "dkim=pass" in fields[0]
    assert "bank.test" not in header
    assert "smtp.mailfrom=kept.test" in fields[1]


# Clients whose mail is not checked


@pytest.mark.parametrize("kind", ["logged in", "trusted", "local", "local with login", "stranger"])
def test_some_clients_are_exempt_from_dnsbl_spf_dkim_and_dmarc(
    dmarc: Gateway, key: rsa.RSAPrivateKey, kind: str
) -> None:
    dmarc.dns.replace("fail.test", "TXT", "v=spf1 -all")
    _list(dmarc, "127.0.0.2")
    dmarc.content_checks(
        dnsbl={"mode": "enforce", "zones": [{"zone": ZONE}]},
        spf={"mode": "enforce"},
        dkim={"mode": "enforce"},
        dmarc={"mode": "enforce"},
    )
    dmarc.patch("general", {"smtp_auth": {"sender_must_match_login": False}})
    address = "10.3.3.3" if kind.startswith("local") else LISTED
    if kind == "trusted":
        dmarc.create("trusted-networks", name="x", networks=[address])
    if kind == "local":
        dmarc.patch("general", {"smtp_auth": {"skip_for_local_networks": True}})
    content = _signed(key, message("judged", sender="x@signed.test")) + b"Changed.\r\n"
    with dmarc.connect(address) as client:
        if kind == "logged in":
            client.starttls()
            assert client.auth_plain() == "235 2.7.0"
        got = client.transaction("x@fail.test", "carol@ours.test", content=content)
    # A private address is not looked up in block lists, but the other checks apply to it.
    expected = {"stranger": "RCPT 554 5.7.1", "local with login": "RCPT 550 5.7.23"}
    assert got == expected.get(kind, "accepted")


# Antivirus


def _antivirus(gateway: Gateway, clamd: str, **options: Any) -> None:
    gateway.content_checks(antivirus={"mode": "enforce", "clamd": clamd, **options})


def _infected(marker: str, sender: str = FAR) -> bytes:
    return message(marker, sender=sender, body=f"{eicar().decode()}\r\n")


@pytest.mark.parametrize("mode", MODES)
def test_a_virus_is_refused_only_in_the_mode_enforce(gateway: Gateway, clamd: Clamd, mode: str) -> None:
    _antivirus(gateway, clamd.address, mode=mode)
    assert gateway.attempt(content=_infected("a virus")) == _in(mode, "DATA 554 5.7.1")
    assert gateway.attempt(content=message("no virus")) == "accepted"


@pytest.mark.parametrize("before", [0, 65_000, 131_030, 300_000])
def test_the_whole_message_is_scanned(gateway: Gateway, clamd: Clamd, before: int) -> None:
    _antivirus(gateway, clamd.address)
    filler = ("x" * 68 + "\r\n") * (before // 70)
    content = message("deep", body=f"{filler}{eicar().decode()}\r\n")
    assert gateway.attempt(content=content) == "DATA 554 5.7.1"


def test_mail_of_trusted_and_logged_in_clients_is_scanned_too(gateway: Gateway, clamd: Clamd) -> None:
    _antivirus(gateway, clamd.address)
    trusted = gateway.public_address()
    gateway.create("trusted-networks", name="x", networks=[trusted])
    assert gateway.attempt(address=trusted, content=_infected("from the office")) == "DATA 554 5.7.1"
    with gateway.submission() as client:
        content = _infected("from alice", sender=world.ALICE)
        assert client.transaction(world.ALICE, FAR, content=content) == "DATA 554 5.7.1"
        # The session continues.
        content = message("clean", sender=world.ALICE)
        assert client.transaction(world.ALICE, FAR, content=content) == "accepted"


def test_infected_mail_can_be_discarded(gateway: Gateway, clamd: Clamd) -> None:
    _antivirus(gateway, clamd.address, action="discard")
    sender = "infected@far.test"
    assert gateway.attempt(sender=sender, content=_infected("thrown away")) == "accepted"
    assert gateway.attempt(sender="behind@far.test", content=message("behind the virus")) == "accepted"
    gateway.delivered("behind the virus")
    assert not [one for one in gateway.mailbox.messages if b"thrown away" in one.content]
    assert gateway.states(sender) == {world.ALICE: "discarded"}


@pytest.mark.parametrize(("on_error", "expected"), [("tempfail", "DATA 451 4.3.0"), ("accept", "accepted")])
@pytest.mark.parametrize(
    "answer",
    [
        b"INSTREAM size limit exceeded. ERROR\0",
        b"stream: Can't allocate memory ERROR\0",
        b"UNKNOWN COMMAND\0",
        b"",
        b"\0",
    ],
)
def test_mail_follows_on_error_when_a_scan_fails(gateway: Gateway, answer: bytes, on_error: str, expected: str) -> None:
    with ScriptedClamd() as clamd:
        clamd.answer(*([answer] if answer else []), terminated=False)
        _antivirus(gateway, clamd.address, on_error=on_error)
        assert gateway.attempt(content=message("not scanned")) == expected


def test_mail_follows_on_error_when_the_scanner_is_missing_or_silent(gateway: Gateway) -> None:
    _antivirus(gateway, f"127.0.0.1:{free_port()}")
    assert gateway.attempt(content=message("nobody there")) == "DATA 451 4.3.0"
    with Blackhole() as hole:
        _antivirus(gateway, hole.address, timeout_seconds=1)
        assert gateway.attempt(content=message("silent")) == "DATA 451 4.3.0"
        _antivirus(gateway, hole.address, timeout_seconds=1, on_error="accept")
        assert gateway.attempt(content=message("silent, accepted")) == "accepted"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([b"stream: Some.Virus FOUND\0"], "DATA 554 5.7.1"),
        ([b"stream: (null) FOUND\0"], "DATA 554 5.7.1"),
        ([b"stream: OK", b"\0"], "accepted"),
        ([b"stream: Evil OK FOUND\0"], "DATA 554 5.7.1"),
        ([b"stream: FOUND OK\0"], "DATA 451 4.3.0"),
    ],
)
def test_the_answers_of_the_scanner_are_read_exactly(gateway: Gateway, answer: list[bytes], expected: str) -> None:
    with ScriptedClamd() as clamd:
        clamd.answer(*answer, terminated=False)
        _antivirus(gateway, clamd.address)
        assert gateway.attempt(content=message("scanned")) == expected
