"""DKIM: public vectors, messages of our own, and reasons why a signature does not pass (C95, C96, C98)."""

from __future__ import annotations

import base64
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from libs.smtp import header
from libs.smtp.dkim import BodyHashes
from services.ingress.checks.keys import Key, NoKey, read_key
from services.ingress.checks.signatures import MAX_SIGNATURES, HeaderFields, Signature, signatures, verify
from services.ingress.content_facts import DkimSignature
from services.ingress.verdict import CheckResult
from tests.ingress.checks.signing import DOMAIN, MESSAGE, NOW, SigningKey, ed25519_key, rsa_key, sign, sign_by_hand

VECTORS = Path(__file__).resolve().parents[4] / "shared" / "data" / "dkim" / "dkimpy"
needs_vectors = pytest.mark.skipif(not VECTORS.exists(), reason="the public vectors are not here")

RSA = rsa_key()
ED25519 = ed25519_key()
KEYS: dict[str, Key | NoKey] = {
    f"s1._domainkey.{DOMAIN}.": read_key(RSA.record.encode()),
    f"e1._domainkey.{DOMAIN}.": read_key(ED25519.record.encode()),
}


def check(message: bytes, keys: dict[str, Key | NoKey] | None = None, now: int | None = None) -> list[DkimSignature]:
    """Verifies the signatures. `now` is in seconds since 1970. By default it is the current time, with which dkimpy
    signs.
    """
    where = header.boundary(message)
    fields = HeaderFields.of(message[: where.header_end])
    body = message[where.body_start :]

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    bodies = BodyHashes(pieces)
    known = KEYS if keys is None else keys
    return [
        verify(signature, fields, bodies, known.get(signature.key_name, NoKey("no key for signature")))
        if isinstance(signature, Signature)
        else signature
        for signature in signatures(fields, int(time.time()) if now is None else now)
    ]


def only(message: bytes, keys: dict[str, Key | NoKey] | None = None, now: int | None = None) -> tuple[str, str]:
    (found,) = check(message, keys, now)
    return found.result.name.lower(), found.reason


def vector(name: str) -> bytes:
    return (VECTORS / name).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def record(text: bytes) -> Key | NoKey:
    return read_key(text.strip())


RFC_KEYS = {
    # These keys are from RFC 8463 appendix A.2.
    "brisbane._domainkey.football.example.com.": record(
        b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    ),
}


@needs_vectors
def test_the_message_of_rfc_8463_is_verified() -> None:
    keys = {**RFC_KEYS, "test._domainkey.football.example.com.": record(vector("test.txt"))}
    found = check(vector("rfc6376.signed.msg"), keys)
    assert [(each.algorithm, each.result) for each in found] == [
        ("ed25519-sha256", CheckResult.PASS),
        ("rsa-sha256", CheckResult.PASS),
    ]


@needs_vectors
def test_a_message_that_exim_signed_with_ed25519_is_verified() -> None:
    keys = {"sed._domainkey.test.ex.": record(vector("eximtest.dns"))}
    assert only(vector("ed25519test2.msg"), keys) == ("pass", "")


@needs_vectors
@pytest.mark.parametrize(
    ("message", "key", "name"),
    [
        ("rfc6376.signed.rsa.msg", "test.txt", "test._domainkey.football.example.com."),
        ("rfc6376.signed.no_t.msg", "test.txt", "test._domainkey.football.example.com."),
        ("test2.message", "test2.txt", "20120113._domainkey.gmail.com."),
    ],
)
def test_the_result_equals_that_of_dkimpy(message: str, key: str, name: str) -> None:
    text = vector(key).strip()
    expected = dkim.verify(vector(message), dnsfunc=lambda _name, timeout=5: text)
    (found,) = check(vector(message), {name: record(text)})
    assert (found.result is CheckResult.PASS) is expected


@needs_vectors
def test_a_message_with_an_added_from_field_fails() -> None:
    """Case C98 of docs/cases.md describes this behaviour."""
    keys = {"test._domainkey.example.com.": record(vector("test.txt"))}
    signed = check(vector("test_extra.message"), keys)
    assert all(each.result is not CheckResult.PASS for each in signed)


@needs_vectors
@pytest.mark.parametrize("name", [path.name for path in sorted(VECTORS.glob("*m*")) if path.is_file()])
def test_every_public_message_is_read_without_an_exception(name: str) -> None:
    check(vector(name), {})


@pytest.mark.parametrize("canonical", ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"])
@pytest.mark.parametrize(
    "body",
    [b"", b"\r\n", b"\r\n\r\n\r\n", b"x\r\n", b"x  y \t z \t\r\n \r\n\t\r\n", b" \r\n", b"x\r\n" * 5000 + b"\r\n" * 40],
    ids=["empty", "one end", "only ends", "line", "blanks", "blank line", "long"],
)
def test_signatures_of_dkimpy_are_verified(canonical: str, body: bytes) -> None:
    message = MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + body
    assert only(sign(message, RSA, canonical=canonical)) == ("pass", "")


def test_ed25519_is_verified() -> None:
    assert only(sign_by_hand(MESSAGE, ED25519)) == ("pass", "")


def test_two_kinds_of_signatures_on_one_message_have_separate_results() -> None:
    found = check(sign_by_hand(sign(MESSAGE, RSA), ED25519))
    assert [(each.algorithm, each.selector, each.result) for each in found] == [
        ("ed25519-sha256", b"e1", CheckResult.PASS),
        ("rsa-sha256", b"s1", CheckResult.PASS),
    ]
    assert all(each.domain == DOMAIN.encode() and len(each.signature_prefix) == 8 for each in found)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.replace(b"We lost", b"We won!"), "body has been altered"),
        (lambda m: m + b"appended\r\n", "body has been altered"),
        (lambda m: m.replace(b"Subject: Is", b"Subject: Was"), "signature does not match"),
        (lambda m: m.replace(b"From: Joe", b"From: Jim"), "signature does not match"),
        (lambda m: m.replace(b"To: Suzie", b"From: v@bank.example\r\nTo: Suzie"), "signature does not match"),
        (lambda m: b"From: v@bank.example\r\n" + m, "signature does not match"),
    ],
)
def test_c98_altered_and_added_fields_break_the_signature(change, reason: str) -> None:  # type: ignore[no-untyped-def]
    assert only(change(sign(MESSAGE, RSA))) == ("fail", reason)


def test_relaxed_forms_ignore_blanks_and_folding_and_simple_forms_do_not() -> None:
    def refolded(message: bytes) -> bytes:
        return message.replace(b"Subject: Is dinner   ready?", b"subject :  Is\r\n dinner ready?").replace(
            b"Hi.", b"Hi. "
        )

    assert only(refolded(sign(MESSAGE, RSA))) == ("pass", "")
    assert only(refolded(sign(MESSAGE, RSA, canonical="simple/simple")))[0] == "fail"


def test_c95_a_length_shorter_than_the_body_does_not_pass() -> None:
    signed = sign(MESSAGE, RSA, length=True)
    assert only(signed) == ("pass", "")
    assert only(signed + b"<html>appended</html>\r\n") == ("policy", "part of the body is not signed")
    nothing = sign(MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", RSA, length=True)
    assert b"l=0" in nothing.replace(b" ", b"").replace(b"\r\n", b"")
    assert only(nothing + b"all of this\r\n") == ("policy", "part of the body is not signed")


def test_c95_a_length_beyond_the_body_fails() -> None:
    signed = sign(MESSAGE + b"more\r\n", RSA, length=True)
    assert only(signed.removesuffix(b"more\r\n")) == ("fail", "body has been altered")


@pytest.mark.parametrize(
    ("tags", "result"),
    [
        (f"t={NOW - 100}; ", "pass"),
        (f"x={NOW + 100}; ", "pass"),
        (f"t={NOW - 100}; x={NOW + 100}; ", "pass"),
        (f"x={NOW - 1000}; ", "fail"),
        (f"t={NOW - 2000}; x={NOW - 1000}; ", "fail"),
        (f"t={NOW + 1000}; ", "fail"),
        (f"t={NOW + 60}; ", "pass"),
        (f"t={NOW - 100}; x={NOW - 200}; ", "neutral"),
        ("t=tomorrow; ", "neutral"),
        ("x=; ", "neutral"),
    ],
)
def test_c96_times_are_compared_with_the_given_clock(tags: str, result: str) -> None:
    assert only(sign_by_hand(MESSAGE, ED25519, tags), now=NOW)[0] == result


@pytest.mark.parametrize(
    ("old", "new", "result"),
    [
        (b"v=1", b"v=2", "neutral"),
        (b"a=rsa-sha256", b"a=rsa-sha1", "permerror"),
        (b"a=rsa-sha256", b"a=rsa-md5", "neutral"),
        (b"a=rsa-sha256", b"a=ed25519-sha256", "permerror"),
        (b"c=relaxed/relaxed", b"c=odd/relaxed", "neutral"),
        (b"c=relaxed/relaxed", b"c=relaxed/relaxed/simple", "neutral"),
        (b"d=signer.example", b"d=other.example", "neutral"),
        (b"s=s1", b"s=s2", "permerror"),
        (b"d=signer.example", b"d=sig\xffner.example", "neutral"),
        (b"s=s1", b"s=s1\xc3\xa9", "neutral"),
        (b"h=from", b"h=subject", "permerror"),
        (b"bh=", b"xx=", "neutral"),
        (b"DKIM-Signature: v=1;", b"DKIM-Signature: v=1; v=1;", "neutral"),
        (b"DKIM-Signature: v=1;", b"DKIM-Signature: ;;;", "neutral"),
        (b"DKIM-Signature: v=1;", b"DKIM-Signature: v=1; i=@evil.example;", "neutral"),
        (b"DKIM-Signature: v=1;", b"DKIM-Signature: v=1; l=-1;", "neutral"),
        (b"DKIM-Signature: v=1;", b"DKIM-Signature: v=1; l=" + b"9" * 70 + b";", "neutral"),
    ],
)
def test_invalid_signatures_are_neutral_or_permanent_errors(old: bytes, new: bytes, result: str) -> None:
    signed = sign(MESSAGE, RSA)
    assert old in signed
    assert only(signed.replace(old, new, 1))[0] == result


@pytest.mark.parametrize("tail", [b"bh=!!!!; b=AAAA", b"bh=AAAA; b=!!!!", b"bh=AAA; b=AAA", b"bh=; b="])
def test_invalid_base64_never_passes(tail: bytes) -> None:
    field = b"DKIM-Signature: v=1; a=rsa-sha256; d=signer.example; s=s1; h=from; " + tail + b"\r\n"
    assert only(field + MESSAGE)[0] in ("neutral", "fail")


def test_each_kind_of_key_record_has_its_result() -> None:
    name = f"s1._domainkey.{DOMAIN}."
    signed = sign(MESSAGE, RSA)

    def with_key(text: str) -> tuple[str, str]:
        return only(signed, {name: read_key(text.encode())})

    public = RSA.record.rpartition("p=")[2]
    assert with_key(f"k=rsa; p={public}") == ("pass", "")
    assert with_key(f"v=DKIM1; s=email; t=y; h=sha1:sha256; p={public}") == ("pass", "")
    assert with_key("v=DKIM1; p=") == ("permerror", "key revoked")
    assert with_key(f"v=DKIM2; p={public}") == ("permerror", "key record malformed")
    assert with_key("v=DKIM1") == ("permerror", "key record malformed")
    assert with_key("nonsense") == ("permerror", "key record malformed")
    assert with_key("") == ("permerror", "key record malformed")
    assert with_key("v=DKIM1; p=AAAA") == ("permerror", "key malformed")
    assert with_key("v=DKIM1; p=!!!!") == ("permerror", "key malformed")
    assert with_key(f"v=DKIM1; k=dsa; p={public}") == ("permerror", "key malformed")
    assert with_key(f"v=DKIM1; h=sha1; p={public}") == ("permerror", "hash not allowed by the key")
    assert with_key(f"v=DKIM1; s=other; p={public}") == ("permerror", "key is for another service")
    assert with_key(rsa_key().record) == ("fail", "signature does not match")
    assert with_key(ED25519.record) == ("permerror", "key is of another kind")
    assert with_key("p=" + "A" * 5000) == ("permerror", "key record too long")
    assert only(signed, {name: NoKey("no key for signature")}) == ("permerror", "no key for signature")
    assert only(signed, {name: NoKey("nobody answered", temporary=True)}) == ("temperror", "nobody answered")


def test_a_failed_signature_with_a_test_key_is_neutral() -> None:
    """A signature by a key with the flag t=y counts as no signature, even if it is wrong (RFC 6376 section 3.6.1)."""
    name = f"s1._domainkey.{DOMAIN}."
    signed = sign(MESSAGE, RSA)
    for flags, wanted in (("y", "neutral"), ("s:y", "neutral"), (" y : s ", "neutral"), ("s", "fail"), ("yes", "fail")):
        keys = {name: read_key(RSA.record.replace("p=", f"t={flags}; p=").encode())}
        assert only(signed, keys) == ("pass", ""), flags
        assert only(signed.replace(b"Hi.", b"Ho."), keys)[0] == wanted, flags
        assert only(signed.replace(b"dinner", b"supper"), keys)[0] == wanted, flags
    tried = {name: read_key(f"v=DKIM1; t=y; h=sha1; p={RSA.record.rpartition('p=')[2]}".encode())}
    assert only(signed, tried)[0] == "neutral"
    # Without an answer from the DNS, nobody knows whether the key is being tested.
    assert only(signed, {name: NoKey("nobody answered", temporary=True)})[0] == "temperror"


def test_a_key_with_the_flag_s_refuses_identities_of_sub_domains() -> None:
    strict = dataclasses.replace(ED25519, record=ED25519.record.replace("k=ed", "t=s; k=ed"))
    keys = {f"e1._domainkey.{DOMAIN}.": read_key(strict.record.encode())}
    assert only(sign_by_hand(MESSAGE, ED25519, f"i=joe@{DOMAIN}; "), keys) == ("pass", "")
    assert only(sign_by_hand(MESSAGE, ED25519), keys) == ("pass", "")
    assert only(sign_by_hand(MESSAGE, ED25519, f"i=joe@sub.{DOMAIN}; "), keys)[0] == "permerror"
    assert only(sign_by_hand(MESSAGE, ED25519, f"i=joe@sub.{DOMAIN}; ")) == ("pass", "")


@pytest.mark.parametrize("form", ["spki", "pkcs1"])
def test_public_keys_in_both_published_forms_are_read(form: str) -> None:
    public = load_pem_private_key(RSA.pem, None).public_key()
    kind = PublicFormat.SubjectPublicKeyInfo if form == "spki" else PublicFormat.PKCS1
    text = base64.b64encode(public.public_bytes(Encoding.DER, kind))
    assert isinstance(read_key(b"v=DKIM1; p=" + text), Key)


def test_only_the_first_ten_signatures_are_verified() -> None:
    message = MESSAGE
    for _ in range(15):
        message = sign_by_hand(message, ED25519)
    assert len(check(message)) == MAX_SIGNATURES == 10


def test_a_signature_field_that_is_too_long_is_not_read() -> None:
    field = b"DKIM-Signature: v=1; b=" + b"A" * 9000 + b"\r\n"
    assert only(field + MESSAGE) == ("neutral", "signature field too long")


@pytest.mark.parametrize(
    "field",
    [
        b"b=" + b"A \r\n " * 1600,
        b"b" + b" \r\n " * 2000 + b"=A",
        b"h=" + b"from:" * 1600 + b"; a=rsa-sha256; b=AAAA; bh=AAAA; d=d.example; s=s; v=1",
        b";" * 8000,
        b"b=" + b"A" * 8000 + b"!",
    ],
    ids=range(5),
)
def test_hostile_fields_and_bodies_take_linear_time(field: bytes) -> None:
    """A pattern of quadratic time would need minutes for these messages, and the test would exceed its time-out."""
    header_fields = b"".join(b"X-%d: y\r\n" % number for number in range(5000))
    message = b"DKIM-Signature: " + field + b"\r\n" + header_fields + MESSAGE + (b" " * 9000 + b"x\r\n") * 300
    check(message)


def test_hostile_blanks_in_a_body_take_linear_time() -> None:
    body = (b" " * 9_990 + b"x\r\n") * 500 + b" \r\n" * 100_000
    assert only(sign_by_hand(MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\nx\r\n", ED25519))[0] == "pass"
    hashes = BodyHashes(lambda: [body])
    assert hashes.get(relaxed=True, limit=None).octets == 500 * 4


def test_a_message_without_a_signature_has_no_result() -> None:
    assert check(MESSAGE) == []
    assert check(b"") == []


def sign_weak(message: bytes) -> tuple[bytes, SigningKey]:
    key = rsa_key(1024)
    return sign(message, key), key


def test_a_key_of_1024_bits_is_accepted() -> None:
    signed, key = sign_weak(MESSAGE)
    assert only(signed, {f"s1._domainkey.{DOMAIN}.": read_key(key.record.encode())}) == ("pass", "")
