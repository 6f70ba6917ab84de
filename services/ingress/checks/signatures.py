"""DKIM signatures (RFC 6376, 8301, 8463): reads, hashes and verifies them. This module is pure: keys, clock and body
are arguments.

dkimpy reads the tag lists and checks the fields. This module and libs/smtp/dkim.py split the message, make the
canonical forms, hash and verify. So all modules see the same header, every pattern needs only linear time, and SHA-1 is
not accepted. A signature is not wrong only because its key could not be looked up.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from dkim import DKIMException, validate_signature_fields
from dkim.util import InvalidTagValueList, parse_tag_value

from libs.smtp import header
from libs.smtp.dkim import Algorithm, BodyHashes, algorithm_of, canonical_field
from services.ingress.checks.keys import Key, NoKey
from services.ingress.content_facts import DkimSignature
from services.ingress.verdict import CheckResult

# Further signatures would cost time and prove nothing more.
MAX_SIGNATURES = 10
# The largest number of octets of a signature field. Longer fields are attacks.
MAX_FIELD_OCTETS = 8192
MIN_RSA_BITS = 1024
# The largest accepted difference between the clocks of two machines.
_LEEWAY_SECONDS = 300
_PREFIX_OCTETS = 8
_ALGORITHMS = frozenset(name.encode("ascii") for name in get_args(Algorithm))

_WHITESPACE = re.compile(rb"\s+")
_DIGITS = re.compile(rb"[0-9]{1,19}").fullmatch
_NAME = re.compile(rb"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?").fullmatch


@dataclass(frozen=True, slots=True)
class HeaderFields:
    """The header fields of a message, and their positions by name. A field has its name in lower case, its name as
    written, and the raw value after the colon, with CRLF.
    """

    fields: tuple[tuple[bytes, bytes, bytes], ...]
    positions: Mapping[bytes, tuple[int, ...]]

    @classmethod
    def of(cls, head: bytes) -> HeaderFields:
        named_fields: list[tuple[bytes, bytes, bytes]] = []
        positions: dict[bytes, list[int]] = {}
        for number, field in enumerate(header.fields(head)):
            name, _, value = field.raw.partition(b":")
            named_fields.append((field.name, name, value))
            positions.setdefault(field.name, []).append(number)
        return cls(tuple(named_fields), {name: tuple(numbers) for name, numbers in positions.items()})

    def select(self, names: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
        """Returns the fields that h= names, as (name as written, value). Several fields with one name are selected from
        the bottom up (RFC 6376 5.4.2).
        """
        taken_of_name: dict[bytes, int] = {}
        chosen: list[tuple[bytes, bytes]] = []
        for name in names:
            numbers = self.positions.get(name, ())
            used = taken_of_name.get(name, 0)
            if used < len(numbers):
                _, written, value = self.fields[numbers[-1 - used]]
                chosen.append((written, value))
                taken_of_name[name] = used + 1
        return chosen


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature field that can be verified as soon as its key is known. `field` has its name and its raw value."""

    field: tuple[bytes, bytes]
    tags: Mapping[bytes, bytes]
    key_name: str
    signed_names: tuple[bytes, ...]

    def finding(self, result: CheckResult, reason: str = "") -> DkimSignature:
        return _finding(self.tags, result, reason)


def _finding(tags: Mapping[bytes, bytes], result: CheckResult, reason: str) -> DkimSignature:
    return DkimSignature(
        result=result,
        domain=tags.get(b"d", b"").lower()[:255],
        selector=tags.get(b"s", b"").lower()[:255],
        algorithm=tags.get(b"a", b"").decode("ascii", "replace")[:64],
        signature_prefix=tags.get(b"b", b"")[:_PREFIX_OCTETS],
        identity=tags.get(b"i", b"")[:320],
        reason=reason,
    )


def signatures(fields: HeaderFields, now: int) -> list[Signature | DkimSignature]:
    """Returns for each of the topmost signatures either a Signature that is ready to be verified, or the result if it
    is already known. `now` is in Unix seconds.
    """
    numbers = fields.positions.get(b"dkim-signature", ())[:MAX_SIGNATURES]
    return [_read(fields.fields[number], now) for number in numbers]


def _read(field: tuple[bytes, bytes, bytes], now: int) -> Signature | DkimSignature:
    _, written, value = field
    if len(value) > MAX_FIELD_OCTETS:
        return _finding({}, CheckResult.NEUTRAL, "signature field too long")
    try:
        tags = parse_tag_value(_WHITESPACE.sub(b" ", value))
    except InvalidTagValueList:
        return _finding({}, CheckResult.NEUTRAL, "signature field malformed")
    for name in (b"b", b"bh", b"d", b"s", b"i"):
        if name in tags:
            tags[name] = _WHITESPACE.sub(b"", tags[name])
    try:
        # t= and x= are checked below, with the given time.
        validate_signature_fields({name: tag for name, tag in tags.items() if name not in (b"t", b"x")})
    except DKIMException:
        return _finding(tags, CheckResult.NEUTRAL, "signature field invalid")
    if not (_NAME(tags[b"d"]) and _NAME(tags[b"s"])):
        return _finding(tags, CheckResult.NEUTRAL, "signature field invalid")
    late = _outdated(tags, now)
    if late is not None:
        return _finding(tags, *late)
    if tags[b"a"] not in _ALGORITHMS:
        return _finding(tags, CheckResult.PERMERROR, "algorithm not accepted")
    names = tuple(name.strip().lower() for name in tags[b"h"].split(b":"))
    if b"from" not in names:
        return _finding(tags, CheckResult.PERMERROR, "From is not signed")
    # A From field added to a signed message must break the signature (C98).
    return Signature((written, value), tags, key_name(tags), (*names, b"from"))


def key_name(tags: Mapping[bytes, bytes]) -> str:
    return f"{tags[b's'].decode('ascii')}._domainkey.{tags[b'd'].decode('ascii')}.".lower()


def _outdated(tags: Mapping[bytes, bytes], now: int) -> tuple[CheckResult, str] | None:
    """Checks t= and x= (RFC 6376 3.5), each alone and both together (C96). Returns the result of the signature when
    they are not valid or not in force, and otherwise None.
    """
    times: dict[bytes, int] = {}
    for name in (b"t", b"x"):
        if name in tags:
            if not _DIGITS(tags[name]):
                return CheckResult.NEUTRAL, "signature field invalid"
            times[name] = int(tags[name])
    if b"x" in times and b"t" in times and times[b"x"] <= times[b"t"]:
        return CheckResult.NEUTRAL, "signature field invalid"
    if times.get(b"t", 0) > now + _LEEWAY_SECONDS:
        return CheckResult.FAIL, "signature is from the future"
    if b"x" in times and times[b"x"] + _LEEWAY_SECONDS < now:
        return CheckResult.FAIL, "signature expired"
    return None


def verify(signature: Signature, fields: HeaderFields, bodies: BodyHashes, key: Key | NoKey) -> DkimSignature:
    """Returns the result of one signature (RFC 8601 2.7.1)."""
    if isinstance(key, NoKey):
        kind = CheckResult.TEMPERROR if key.temporary else CheckResult.PERMERROR
        return signature.finding(kind, key.reason)
    tags = signature.tags
    if key.exact_identity and tags.get(b"i", b"@" + tags[b"d"]).rpartition(b"@")[2].lower() != tags[b"d"].lower():
        result, reason = CheckResult.PERMERROR, "identity not allowed by the key"
    else:
        result, reason = check(tags, signature.field, fields.select(signature.signed_names), bodies, key)
    if key.testing and result in (CheckResult.FAIL, CheckResult.PERMERROR):
        # RFC 6376 3.6.1: a failed signature by a key that is being tested counts as no signature.
        return signature.finding(CheckResult.NEUTRAL, f"{reason}, by a key that is being tested")
    return signature.finding(result, reason)


def check(
    tags: Mapping[bytes, bytes],
    field: tuple[bytes, bytes],
    signed: list[tuple[bytes, bytes]],
    bodies: BodyHashes | None,
    key: Key,
) -> tuple[CheckResult, str]:
    """Hashes the signed fields and the body, verifies the signature, and returns its result with a reason. `bodies` is
    None for a field that signs no body (ARC-Seal).
    """
    forms = tags.get(b"c", b"simple/simple").lower().split(b"/")
    if len(forms) > 2 or not set(forms) <= {b"simple", b"relaxed"}:
        return CheckResult.NEUTRAL, "unknown canonicalization"
    partly = False
    if bodies is not None:
        limit = int(tags[b"l"]) if _DIGITS(tags.get(b"l", b"")) else None
        if b"l" in tags and limit is None:
            return CheckResult.NEUTRAL, "signature field invalid"
        body = bodies.get(relaxed=forms[1:] == [b"relaxed"], limit=limit)
        if _decoded(tags[b"bh"]) != body.digest or (limit is not None and limit > body.octets):
            return CheckResult.FAIL, "body has been altered"
        partly = limit is not None and limit < body.octets
    digest = _header_hash(field, signed, relaxed=forms[0] == b"relaxed")
    result, reason = _verify(tags, digest, key)
    if result is CheckResult.PASS and partly:
        # Anybody may have added the unsigned part (C95).
        return CheckResult.POLICY, "part of the body is not signed"
    return result, reason


def _header_hash(field: tuple[bytes, bytes], signed: list[tuple[bytes, bytes]], *, relaxed: bool) -> bytes:
    digest = hashes.Hash(hashes.SHA256())
    for name, value in signed:
        digest.update(canonical_field(name, value, relaxed=relaxed))
    name, value = field
    digest.update(canonical_field(name, _without_signature(value), relaxed=relaxed).rstrip())
    return digest.finalize()


def _without_signature(value: bytes) -> bytes:
    """Returns the value of the field with an empty b= and without the blanks around its value (RFC 6376 3.7)."""
    parts = value.split(b";")
    for number, part in enumerate(parts):
        name, equals, _ = part.partition(b"=")
        if equals and name.strip() == b"b":
            parts[number] = name + equals
            break
    return b";".join(parts)


def _verify(tags: Mapping[bytes, bytes], digest: bytes, key: Key) -> tuple[CheckResult, str]:
    if key.hashes is not None and b"sha256" not in key.hashes:
        return CheckResult.PERMERROR, "hash not allowed by the key"
    public = key.public
    if algorithm_of(public).encode("ascii") != tags[b"a"]:
        return CheckResult.PERMERROR, "key is of another kind"
    octets = _decoded(tags[b"b"])
    try:
        if isinstance(public, rsa.RSAPublicKey):
            if public.key_size < MIN_RSA_BITS:
                return CheckResult.POLICY, "key too small"
            public.verify(octets, digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
        else:
            public.verify(octets, digest)
    except InvalidSignature:
        return CheckResult.FAIL, "signature does not match"
    return CheckResult.PASS, ""


def _decoded(value: bytes) -> bytes:
    """Decodes base64. The result is empty when `value` is not valid base64. An empty result is never a valid signature
    or hash.
    """
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return b""
