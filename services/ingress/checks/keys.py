"""The public keys of DKIM and ARC: looked up in the DNS, told apart from keys that are not there, read."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Callable, Iterable, Iterator

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from dkim.util import InvalidTagValueList, parse_tag_value

from libs.runtime.nameservers import addressed
from libs.smtp.value import value

_LOOKUP_SECONDS = 5.0
_RECORD_OCTETS = 4096
_LOOKUPS_AT_ONCE = 64
_KEPT = 10_000
_LONGEST_KEPT_SECONDS = 3600.0


@value(frozen=True, slots=True)
class Key:
    """`hashes`: None where the record allows all. `exact_identity`: i= must be at d= itself (t=s).

    `testing`: its owner only tries it out (t=y).
    """

    public: rsa.RSAPublicKey | ed25519.Ed25519PublicKey
    hashes: frozenset[bytes] | None
    exact_identity: bool
    testing: bool = False


@value(frozen=True, slots=True)
class NoKey:
    """`temporary`: nobody answered; else there is none, or none that can be used."""

    reason: str
    temporary: bool = False


class KeyLookup:
    """Asks the DNS, and keeps keys as long as their TTL says, at most an hour. `clock`: Unix seconds.

    `nameservers`: host[:port], comma-separated; empty: the system's.
    """

    def __init__(self, nameservers: str, clock: Callable[[], float] = time.time) -> None:
        """Raises ValueError when a name server is no address."""
        self._clock = clock
        # Name to key and the time it is good until, oldest first.
        self._kept: dict[str, tuple[Key | NoKey, float]] = {}
        self._resolver = dns.asyncresolver.Resolver(configure=not nameservers)
        if nameservers:
            self._resolver.nameservers = list(_servers(nameservers))
        self._resolver.lifetime = _LOOKUP_SECONDS
        self._room = asyncio.Semaphore(_LOOKUPS_AT_ONCE)

    async def find(self, names: Iterable[str]) -> dict[str, Key | NoKey]:
        """The keys at these names (selector._domainkey.domain), asked side by side."""
        found: dict[str, Key | NoKey] = {}
        missing: list[str] = []
        for name in dict.fromkeys(names):
            kept = self._kept.get(name)
            if kept is not None and kept[1] > self._clock():
                found[name] = kept[0]
            else:
                missing.append(name)
        if missing:
            found.update(zip(missing, await asyncio.gather(*map(self._ask, missing)), strict=True))
        return found

    def _keep(self, name: str, key: Key | NoKey, seconds: float) -> Key | NoKey:
        self._kept.pop(name, None)
        if len(self._kept) >= _KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[name] = (key, self._clock() + min(seconds, _LONGEST_KEPT_SECONDS))
        return key

    async def _ask(self, name: str) -> Key | NoKey:
        try:
            wanted = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError):
            return NoKey("no valid key name")
        async with self._room:
            try:
                answer = await self._resolver.resolve(wanted, dns.rdatatype.TXT, search=False)
            except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.resolver.YXDOMAIN):
                return NoKey("no key for signature")
            except (dns.exception.DNSException, OSError):
                # SERVFAIL, REFUSED, time-out: nobody said that there is none (C85, C86).
                return NoKey("key could not be looked up", temporary=True)
        records = [b"".join(record.strings) for record in answer]
        chosen = next((one for one in records if one.lstrip().startswith(b"v=DKIM1")), records[0] if records else b"")
        return self._keep(name, read_key(chosen), answer.rrset.ttl if answer.rrset is not None else 0)


def _servers(text: str) -> Iterator[dns.nameserver.Nameserver]:
    """Those of a setting. Raises ValueError."""
    for each in filter(None, addressed(text).split(",")):
        host, _, port = each.rpartition(":")
        yield dns.nameserver.Do53Nameserver(host.strip("[]"), int(port))


def read_key(record: bytes) -> Key | NoKey:
    """A key record (RFC 6376 3.6.1, RFC 8463)."""
    if len(record) > _RECORD_OCTETS:
        return NoKey("key record too long")
    try:
        tags = parse_tag_value(record)
    except InvalidTagValueList:
        return NoKey("key record malformed")
    if tags.get(b"v", b"DKIM1") != b"DKIM1" or b"p" not in tags:
        return NoKey("key record malformed")
    services = {part.strip() for part in tags.get(b"s", b"*").split(b":")}
    if not services & {b"*", b"email"}:
        return NoKey("key is for another service")
    if not tags[b"p"]:
        return NoKey("key revoked")
    flags = {part.strip() for part in tags.get(b"t", b"").split(b":")}
    hashes = frozenset(part.strip().lower() for part in tags[b"h"].split(b":")) if b"h" in tags else None
    try:
        octets = base64.b64decode(b"".join(tags[b"p"].split()), validate=True)
        public = _public(tags.get(b"k", b"rsa").lower(), octets)
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        return NoKey("key malformed")
    return Key(public, hashes, b"s" in flags, b"y" in flags)


def _public(kind: bytes, octets: bytes) -> rsa.RSAPublicKey | ed25519.Ed25519PublicKey:
    """Raises ValueError, UnsupportedAlgorithm."""
    if kind == b"ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(octets)
    if kind != b"rsa":
        raise ValueError("unknown kind of key")
    loaded = load_der_public_key(octets)
    if not isinstance(loaded, rsa.RSAPublicKey):
        raise ValueError("not an RSA key")
    return loaded
