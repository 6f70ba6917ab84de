"""The common part of DKIM signing and verification: the canonical forms (RFC 6376 3.4) and the kinds of keys. This
module is pure. Bodies are hashed piece by piece, in linear time, with only one piece in memory.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

# The accepted algorithms. SHA-1 is not accepted (RFC 8301 3.1).
Algorithm = Literal["rsa-sha256", "ed25519-sha256"]
RSA_SHA256: Final = "rsa-sha256"
ED25519_SHA256: Final = "ed25519-sha256"

_BLANKS = re.compile(rb"[\t ]+")


def algorithm_of(key: RSAPrivateKey | RSAPublicKey | Ed25519PrivateKey | Ed25519PublicKey) -> Algorithm:
    """Returns the only algorithm that a key can be used for."""
    return RSA_SHA256 if isinstance(key, RSAPrivateKey | RSAPublicKey) else ED25519_SHA256


def canonical_field(name: bytes, value: bytes, *, relaxed: bool) -> bytes:
    """Returns a header field in its signed form (RFC 6376 3.4.1, 3.4.2). `value` is everything after the colon."""
    if not relaxed:
        return b"%b:%b" % (name, value)
    return b"%b:%b\r\n" % (name.lower().strip(), _BLANKS.sub(b" ", value.replace(b"\r\n", b"")).strip(b" "))


@dataclass(frozen=True, slots=True)
class BodyHash:
    """The hash of a canonical body: `digest` is its SHA-256 up to the length in `l=`, `octets` is its whole length."""

    digest: bytes
    octets: int


class BodyHashes:
    """The hashes of one body, each computed at most once. Each call of `body` returns the pieces of the body from its
    beginning. Lines end in CRLF, and pieces may end anywhere.
    """

    def __init__(self, body: Callable[[], Iterable[bytes]]) -> None:
        self._body = body
        self._known: dict[tuple[bool, int | None], BodyHash] = {}

    def get(self, *, relaxed: bool, limit: int | None) -> BodyHash:
        """Returns the hash for a canonicalization and a value of `l=`. `limit` is None when the signature has none."""
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
    """Returns lines in the relaxed form (RFC 6376 3.4.4 a): first each run of blanks becomes one space, and then the
    space at the end of a line is removed. In this order both steps take linear time. A search for blanks before CRLF
    would take longer.
    """
    if b"\t" in lines or b"  " in lines:
        lines = _BLANKS.sub(b" ", lines)
    return lines.replace(b" \r\n", b"\r\n") if b" \r\n" in lines else lines


class _Canonical:
    """Hashes whole lines. Empty lines are hashed only when another line follows them, because empty lines at the end of
    the body do not count (RFC 6376 3.4.3, 3.4.4 b).
    """

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
        """Returns the hash after the last piece. `empty` is the canonical form of a body without lines."""
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
