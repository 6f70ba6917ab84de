"""Independent software verifies our DKIM signatures: dkimpy, and Mail::DKIM where it is installed."""

from __future__ import annotations

import base64
import shutil
import subprocess
from types import SimpleNamespace

import dkim
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from services.relay.configuration.model import Configuration, DkimKey
from services.relay.delivery.dkim import Signer, signatures
from services.relay.model.attempt import OutgoingMessage
from services.relay.model.message import QueuedMessage
from services.relay.model.states import Kind
from tests.peers.dns import DnsServer

NOW = 1_764_000_000
PlainKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()

HEADER = (
    b"Received: from a by b; Thu, 1 Jan 2026 00:00:00 +0000\r\n"
    b"From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject:  a  folded\r\n\tand   spaced subject \r\n"
    b"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n"
    b"List-Unsubscribe: <https://example.org/u>\r\nX-Other: x\r\n"
)
BODIES = [
    b"",
    b"\r\n",
    b"\r\n\r\n\r\n",
    b"one line\r\n",
    b"no end",
    b" \t \r\n",
    b"trailing   \t\r\n  and\tinner  blanks\r\n\r\n\r\n",
    b".dot\r\n..dots\r\n",
    b"8 bit \xff\xfe\r\n",
    b"text\r\n\r\n ",
    b"x" * 5000 + b"\r\n" + b"y \r\n" * 1000,
]


def pem(private: PlainKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key(private: PlainKey, selector: str = "sel-2026.a", domain: str = "example.org") -> DkimKey:
    algorithm = "rsa-sha256" if isinstance(private, rsa.RSAPrivateKey) else "ed25519-sha256"
    return DkimKey("k", domain, selector, algorithm, pem(private))


def record(private: PlainKey) -> str:
    if isinstance(private, rsa.RSAPrivateKey):
        der = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return f"v=DKIM1; k=rsa; p={base64.b64encode(der).decode()}"
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"v=DKIM1; k=ed25519; p={base64.b64encode(raw).decode()}"


class _VerifyKey:
    """The only class of PyNaCl that dkimpy uses, implemented with the library cryptography."""

    def __init__(self, data: bytes, encoder: object) -> None:
        self._key = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(data))

    def verify(self, message: bytes, signature: bytes) -> bytes:
        self._key.verify(signature, message)
        return message


@pytest.fixture(autouse=True)
def _ed25519_for_dkimpy(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = SimpleNamespace(ValueError=ValueError, BadSignatureError=InvalidSignature)
    fake = SimpleNamespace(
        signing=SimpleNamespace(VerifyKey=_VerifyKey), encoding=SimpleNamespace(Base64Encoder=None), exceptions=errors
    )
    monkeypatch.setattr(dkim, "nacl", fake, raising=False)


def verified(content: bytes, private: PlainKey, name: str = "sel-2026.a._domainkey.example.org.") -> bool:
    """Returns whether dkimpy verifies the topmost signature."""
    records = {name.encode(): record(private).encode()}

    def look_up(asked: bytes, timeout: int = 5) -> bytes:
        return records.get(asked, b"")

    return bool(dkim.verify(content, dnsfunc=look_up))


@pytest.mark.parametrize("private", [RSA, ED25519], ids=["rsa", "ed25519"])
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_signatures_are_valid(private: PlainKey, body: bytes) -> None:
    content = HEADER + b"\r\n" + body
    made = signatures(content, [key(private)], NOW)
    sent = content if content.endswith(b"\r\n") else content + b"\r\n"
    assert verified(made + sent, private)


@pytest.mark.parametrize("private", [RSA, ED25519], ids=["rsa", "ed25519"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"spaced subject", b"other subject"),
        (b"ann@example.org>\r\n", b"eve@example.org>\r\n"),
        (b"From: Ann", b"From: x@evil.test\r\nFrom: Ann"),
        (b"To: bob", b"To: x@evil.test\r\nTo: bob"),
        (b"MIME-Version: 1.0", b"Content-Type: text/html\r\nMIME-Version: 1.0"),
        (b"Good day", b"Bad day"),
        (b"<https://example.org/u>", b"<https://evil.test/u>"),
    ],
)
def test_a_changed_or_added_field_breaks_the_signature(private: PlainKey, old: bytes, new: bytes) -> None:
    content = HEADER + b"\r\nGood day\r\n"
    signed = signatures(content, [key(private)], NOW) + content
    assert old in signed
    assert verified(signed, private)
    assert not verified(signed.replace(old, new), private)


def test_trace_fields_above_and_blanks_do_not_break_the_signature() -> None:
    content = HEADER + b"\r\nGood  day\r\n"
    signed = signatures(content, [key(RSA)], NOW) + content
    changed = b"Received: from c by d\r\n" + signed.replace(b"Good  day\r\n", b"Good day \r\n\r\n")
    assert verified(changed, RSA)


def test_signatures_of_repeated_and_unusual_fields_are_valid() -> None:
    header = (
        b"FROM: ann@example.org\r\nTo: a@example.net\r\nTo: b@example.net\r\nSubject:\r\n"
        b"References: <1@x>\r\n <2@x>\r\n\t<3@x>\r\nCc:\r\n \r\n c@example.net\r\n"
    )
    content = header + b"\r\nbody\r\n"
    assert verified(signatures(content, [key(ED25519)], NOW) + content, ED25519)


def test_the_field_is_folded_within_limits_and_holds_its_tags() -> None:
    made = signatures(HEADER + b"\r\nx\r\n", [key(RSA, domain="a-rather-long-name.example.org")], NOW)
    lines = made.split(b"\r\n")
    assert all(len(line) <= 78 for line in lines)
    assert all(line.startswith(b"\t") for line in lines[1:-1])
    flat = made.replace(b"\r\n\t", b" ")
    for tag in (
        b"v=1;",
        b"a=rsa-sha256;",
        b"c=relaxed/relaxed;",
        b"t=1764000000;",
        b"d=a-rather-long-name.example.org;",
    ):
        assert tag in flat
    assert b"l=" not in flat.replace(b"b=", b"").partition(b"h=")[0]


def test_each_key_of_the_domain_signs() -> None:
    content = HEADER + b"\r\nx\r\n"
    made = signatures(content, [key(RSA, "r"), key(ED25519, "e")], NOW)
    assert made.count(b"DKIM-Signature:") == 2
    second = made.index(b"DKIM-Signature:", 1)
    assert verified(made[:second] + content, RSA, "r._domainkey.example.org.")
    assert verified(made[second:] + content, ED25519, "e._domainkey.example.org.")


def test_a_key_that_cannot_be_used_leaves_the_mail_unsigned() -> None:
    content = HEADER + b"\r\nx\r\n"
    broken = DkimKey("k", "example.org", "s", "rsa-sha256", b"no key")
    mismatched = DkimKey("k", "example.org", "s", "ed25519-sha256", pem(RSA))
    assert signatures(content, [broken, mismatched], NOW) == b""
    assert signatures(content, [broken, key(RSA)], NOW).count(b"DKIM-Signature:") == 1


# Which mail is signed


def configured(*keys: DkimKey) -> Configuration:
    return Configuration(revision=1, hostname="mx.posthouse.test", dkim_keys={"example.org": keys})


def message(content: bytes, login: str = "ann", queue_id: str = "q", authorized: bool = False) -> OutgoingMessage:
    return OutgoingMessage(queue_id, b"ann@example.org", content, account_login=login, authorized=authorized)


MAIL = HEADER + b"\r\nGood day\r\n"


async def test_mail_of_logged_in_users_is_signed_and_otherwise_unchanged() -> None:
    signed = await Signer(lambda: NOW).signed(configured(key(RSA)), message(MAIL))
    assert signed.startswith(b"DKIM-Signature: v=1;")
    assert signed.endswith(MAIL)
    assert verified(signed, RSA)


async def test_mail_without_a_login_is_signed_only_if_it_is_authorized() -> None:
    assert await Signer(lambda: NOW).signed(configured(key(RSA)), message(MAIL, login="")) == MAIL
    allowed = await Signer(lambda: NOW).signed(configured(key(RSA)), message(MAIL, login="", authorized=True))
    assert verified(allowed, RSA)


@pytest.mark.parametrize("kind", [Kind.REPORT, Kind.DOUBLE_BOUNCE])
async def test_mail_of_this_gateway_and_of_trusted_clients_is_signed(kind: Kind) -> None:
    report = MAIL.replace(b"Ann <ann@example.org>", b"Mail Delivery System <mailer-daemon@example.org>")
    signer = Signer(lambda: NOW)
    own = QueuedMessage(1, kind, b"", len(report), 1, report)
    assert verified(await signer.signed(configured(key(RSA)), own.outgoing()), RSA)
    trusted = QueuedMessage(3, Kind.MAIL, b"", len(report), 1, report, may_relay=True)
    assert verified(await signer.signed(configured(key(RSA)), trusted.outgoing()), RSA)
    foreign = QueuedMessage(2, Kind.MAIL, b"", len(report), 1, report)
    assert await signer.signed(configured(key(RSA)), foreign.outgoing()) == report


@pytest.mark.parametrize(
    "author", [b"ann@other.test", b"ann@sub.example.org", b"ann@example.org, eve@other.test", b"nobody", b""]
)
async def test_only_the_domain_of_the_author_signs(author: bytes) -> None:
    other = MAIL.replace(b"Ann <ann@example.org>", author)
    assert await Signer(lambda: NOW).signed(configured(key(RSA)), message(other)) == other


async def test_the_domain_is_compared_without_case() -> None:
    other = MAIL.replace(b"ann@example.org>", b"ann@EXAMPLE.org>")
    assert verified(await Signer(lambda: NOW).signed(configured(key(RSA)), message(other)), RSA)


async def test_a_message_is_signed_once() -> None:
    times = iter((NOW, NOW + 1, NOW + 2))
    signer = Signer(lambda: next(times))
    first = await signer.signed(configured(key(RSA)), message(MAIL))
    assert await signer.signed(configured(key(RSA)), message(MAIL)) == first
    assert await signer.signed(configured(key(RSA)), message(MAIL, queue_id="other")) != first


async def test_large_mail_is_signed_too() -> None:
    large = HEADER + b"\r\n" + b"a line of text\r\n" * 50_000
    assert verified(await Signer(lambda: NOW).signed(configured(key(ED25519)), message(large)), ED25519)


# Verification by Mail::DKIM

_PERL = """
use Mail::DKIM::Verifier; use Net::DNS::Resolver; use Mail::DKIM::DNS;
Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => [$ARGV[0]], port => $ARGV[1], udp_timeout => 5));
my $dkim = Mail::DKIM::Verifier->new(); { local $/; binmode STDIN; $dkim->PRINT(<STDIN>); } $dkim->CLOSE;
print join " ", map { $_->algorithm . "=" . $_->result } $dkim->signatures;
"""


def _has_mail_dkim() -> bool:
    perl = shutil.which("perl")
    return perl is not None and subprocess.run([perl, "-MMail::DKIM", "-e1"], capture_output=True).returncode == 0


@pytest.mark.skipif(not _has_mail_dkim(), reason="Mail::DKIM is not installed")
@pytest.mark.parametrize("body", BODIES[:9], ids=range(9))
def test_mail_dkim_finds_the_signatures_valid_too(dns_server: DnsServer, body: bytes) -> None:
    content = HEADER + b"\r\n" + body
    made = signatures(content, [key(RSA, "r"), key(ED25519, "e")], NOW)
    dns_server.add("r._domainkey.example.org", "TXT", record(RSA))
    dns_server.add("e._domainkey.example.org", "TXT", record(ED25519))
    sent = content if content.endswith(b"\r\n") else content + b"\r\n"
    ran = subprocess.run(
        ["perl", "-e", _PERL, dns_server.host, str(dns_server.port)], input=made + sent, capture_output=True, check=True
    )
    results = ran.stdout.decode().split()
    assert results[0] == "rsa-sha256=pass"
    # Without Crypt::PK::Ed25519, Mail::DKIM cannot verify the Ed25519 signature.
    assert results[1] in ("ed25519-sha256=pass", "ed25519-sha256=invalid")
