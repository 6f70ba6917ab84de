"""What signing and verifying by DKIM share: the canonical forms (RFC 6376 3.4) and the kinds of keys. Pure.

Bodies are hashed from pieces: linear in time, with one piece at a time in memory.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

# Those that count: SHA-1 does not (RFC 8301 3.1).
Algorithm = Literal["rsa-sha256", "ed25519-sha256"]
RSA_SHA256: Final = "rsa-sha256"
ED25519_SHA256: Final = "ed25519-sha256"

_BLANKS = re.compile(rb"[\t ]+")


def algorithm_of(key: RSAPrivateKey | RSAPublicKey | Ed25519PrivateKey | Ed25519PublicKey) -> Algorithm:
    """The only algorithm that a key is good for."""
    return RSA_SHA256 if isinstance(key, RSAPrivateKey | RSAPublicKey) else ED25519_SHA256


def canonical_field(name: bytes, value: bytes, *, relaxed: bool) -> bytes:
    """A header field as it is signed (RFC 6376 3.4.1, 3.4.2). `value`: all that stands behind the colon."""
    if not relaxed:
        return b"%b:%b" % (name, value)
    return b"%b:%b\r\n" % (name.lower().strip(), _BLANKS.sub(b" ", value.replace(b"\r\n", b"")).strip(b" "))


@dataclass(frozen=True, slots=True)
class BodyHash:
    """`digest`: SHA-256 of the canonical body, cut where `l=` says. `octets`: of the whole canonical body."""

    digest: bytes
    octets: int


class BodyHashes:
    """The hashes of one body, each made at most once. `body`: opens its pieces anew, CRLF lines, cut anywhere."""

    def __init__(self, body: Callable[[], Iterable[bytes]]) -> None:
        self._body = body
        self._known: dict[tuple[bool, int | None], BodyHash] = {}

    def get(self, *, relaxed: bool, limit: int | None) -> BodyHash:
        """`limit`: the value of `l=`, None without it."""
        key = (relaxed, limit)
        if key not in self._known:
            self._known[key] = _hash(self._body(), relaxed=relaxed, limit=limit)
        return self._known[key]


def _hash(pieces: Iterable[bytes], *, relaxed: bool, limit: int | None) -> BodyHash:
    canonical = _Canonical(limit)
    rest = b""
    for piece in pieces:
        octets = rest + piece
        whole = octets.rfind(b"\r\n") + 2
        if whole < 2:
            rest = octets
            continue
        canonical.lines(_relaxed(octets[:whole]) if relaxed else octets[:whole])
        rest = octets[whole:]
    if rest:
        canonical.lines(_relaxed(rest + b"\r\n") if relaxed else rest + b"\r\n")
    return canonical.finish(empty=b"" if relaxed else b"\r\n")


def _relaxed(lines: bytes) -> bytes:
    """RFC 6376 3.4.4 a: first one space for each run of blanks, then none at the end of a line.

    In this order both steps are linear, whatever the runs (a search for blanks before CRLF is not).
    """
    if b"\t" in lines or b"  " in lines:
        lines = _BLANKS.sub(b" ", lines)
    return lines.replace(b" \r\n", b"\r\n") if b" \r\n" in lines else lines


class _Canonical:
    """Hashes whole lines, holding back the empty ones at the end (RFC 6376 3.4.3, 3.4.4 b)."""

    def __init__(self, limit: int | None) -> None:
        self._hash = hashlib.sha256()
        self._limit = limit
        self._octets = 0
        self._ends = 0

    def lines(self, lines: bytes) -> None:
        without_end = lines.rstrip(b"\r\n")
        if without_end:
            self._line_ends(self._ends)
            self._add(without_end)
            self._ends = 0
        self._ends += (len(lines) - len(without_end)) // 2

    def finish(self, empty: bytes) -> BodyHash:
        """`empty`: what a body without any line is."""
        self._add(b"\r\n" if self._octets else empty)
        return BodyHash(self._hash.digest(), self._octets)

    def _line_ends(self, count: int) -> None:
        while count:
            some = min(count, 32_768)
            self._add(b"\r\n" * some)
            count -= some

    def _add(self, octets: bytes) -> None:
        if self._limit is None:
            self._hash.update(octets)
        elif self._octets < self._limit:
            self._hash.update(octets[: self._limit - self._octets])
        self._octets += len(octets)
