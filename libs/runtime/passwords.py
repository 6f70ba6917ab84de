"""The hashes of passwords: argon2id, which Posthouse makes, and two other kinds that come from mail servers."""

from __future__ import annotations

import os
import re
from base64 import b64encode

import bcrypt
from argon2 import PasswordHasher, Type
from argon2.exceptions import VerifyMismatchError
from passlib.hash import sha512_crypt

# 19 MiB, 2 passes, 1 lane: some 25 ms of a processor at each check.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, type=Type.ID)
# crypt(3) of the system's libc is not used, because it would block all other threads.
sha512_crypt.set_backend("builtin")

LONGEST_HASH = 512
_SCHEME = re.compile(r"\{(ARGON2ID|SHA512-CRYPT|BLF-CRYPT)\}")
_ARGON2ID = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,3})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,86}"
)
_SHA512 = re.compile(r"\$6\$(?:rounds=(\d{4,7})\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{86}")
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./0-9A-Za-z]{53}")
# With a more expensive hash, anybody who tries passwords for its account could stop the service.
_MOST_ARGON2ID = (262_144, 16, 16)
_MOST_SHA512_ROUNDS = 1_000_000
_MOST_BCRYPT_COST = 14
# bcrypt uses only this number of octets of a password.
_BCRYPT_OCTETS = 72


def hash_password(password: str | bytes) -> str:
    """Returns the argon2id hash in PHC form. This takes some 25 ms."""
    return _HASHER.hash(password)


def canonical_hash(text: str) -> str:
    """Returns a hash of another system without the name of its scheme in braces, which Dovecot writes. Raises
    ValueError for a hash of an unknown kind, or one that costs too much to check.
    """
    scheme = _SCHEME.match(text)
    text = text[scheme.end() :] if scheme else text
    if parts := _ARGON2ID.fullmatch(text):
        memory, passes, lanes = map(int, parts.groups())
        most_memory, most_passes, most_lanes = _MOST_ARGON2ID
        if 8 * lanes <= memory <= most_memory and 1 <= passes <= most_passes and 1 <= lanes <= most_lanes:
            return text
    elif parts := _SHA512.fullmatch(text):
        if parts[1] is None or 1000 <= int(parts[1]) <= _MOST_SHA512_ROUNDS:
            return text
    elif (parts := _BCRYPT.fullmatch(text)) and 4 <= int(parts[1]) <= _MOST_BCRYPT_COST:
        return text
    raise ValueError("not a hash of an accepted kind")


def is_outdated(password_hash: str) -> bool:
    """Whether the hash is not argon2id, so that it must be replaced as soon as the password is known."""
    return not password_hash.startswith("$argon2id$")


def matches(password_hash: str, password: bytes) -> bool:
    """Whether the hash belongs to the password.

    Raises argon2's InvalidHashError and VerificationError, and ValueError, for a hash that cannot be read.
    """
    if password_hash.startswith("$6$"):
        return bool(sha512_crypt.verify(password, password_hash))
    if password_hash.startswith("$2"):
        return bcrypt.checkpw(password[:_BCRYPT_OCTETS], password_hash.encode("ascii"))
    try:
        return PasswordHasher().verify(password_hash, password)
    except VerifyMismatchError:
        return False


def decoy_of(password_hash: str) -> str | None:
    """Returns a hash that costs as much to check and belongs to no password. Returns None for argon2id, because the
    caller makes such hashes itself.
    """
    if password_hash.startswith("$6$"):
        return password_hash[:-86] + _random(86)
    if password_hash.startswith("$2"):
        return password_hash[:-31] + _random(31)
    return None


def _random(length: int) -> str:
    return b64encode(os.urandom(length)).decode("ascii")[:length].replace("+", ".")
