"""The public keys of DKIM and ARC: looks them up in the DNS and reads them. A key that does not exist has another
result than a key that could not be looked up.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import dns.exception
import dns.name
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from dkim.util import InvalidTagValueList, parse_tag_value
from dns.rdtypes.ANY.TXT import TXT

from libs.dns.resolv_conf import RESOLV_CONF
from libs.dns.servers import server_list
from libs.dns.stub_resolver import Answer, Outcome, StubResolver
from services.ingress.shared_slots import NoSlotError, SharedSlots

log = structlog.get_logger(__name__)

# The time limit for one key, and the time limit for all keys of a message.
_LOOKUP_SECONDS = 5.0
_MESSAGE_SECONDS = 10.0
# The share of a key's time for one try at one name server.
_TRY_SHARE = 0.4
_RECORD_OCTETS = 4096
# Limits of look-ups: how many run at the same time, how many of these belong to one client or one zone, and how many
# run or wait.
_LOOKUPS_AT_ONCE = 256
_SHARE = 16
_MOST_UNDER_WAY = 1280
# The largest number of keys in memory, and the largest number of them in one zone.
_KEPT = 10_000
_KEPT_OF_A_ZONE = 100
_LONGEST_KEPT_SECONDS = 3600.0
# After this number of time-outs in a row, a zone counts as silent for this time, which begins with the last time-out.
_SILENT_AFTER = 3
_SILENT_SECONDS = 30.0
_SILENT_KEPT = 4096
# Below a country's domain, a short second label mostly belongs to no single party: co.uk, com.au, ac.jp.
_COUNTRY_LETTERS = 2
_SECOND_LEVEL_LETTERS = 3


@dataclass(frozen=True, slots=True)
class Key:
    """A public key. `hashes` is None when the record allows all. `exact_identity` means that i= must have exactly the
    domain d= (t=s). `testing` means that the owner is testing the key (t=y).
    """

    public: rsa.RSAPublicKey | ed25519.Ed25519PublicKey
    hashes: frozenset[bytes] | None
    exact_identity: bool
    testing: bool = False


@dataclass(frozen=True, slots=True)
class NoKey:
    """There is no usable key. `temporary` means that the DNS gave no answer."""

    reason: str
    temporary: bool = False


_NO_ANSWER = NoKey("key could not be looked up", temporary=True)
_NO_KEYS: OrderedDict[str, tuple[Key | NoKey, float]] = OrderedDict()


class KeyLookup:
    """Asks the DNS, and caches keys for their TTL, but at most an hour. `clock` returns Unix seconds.

    All keys of a message have one deadline, which includes the wait for a slot. Each client and each zone may have only
    a share of the running look-ups. A zone whose name servers do not answer is not asked for a while.
    """

    def __init__(
        self, nameservers: str, clock: Callable[[], float] = time.time, resolv_conf: Path = RESOLV_CONF
    ) -> None:
        """`nameservers` has name servers as host[:port], separated by commas. If it is empty, the name servers of the
        system are asked. Raises ValueError when a name server is not an address.
        """
        self._clock = clock
        self._kept = _KeptKeys()
        self._silence = _SilentZones()
        self._resolver = StubResolver(
            server_list(nameservers), seconds=_LOOKUP_SECONDS, try_share=_TRY_SHARE, resolv_conf=resolv_conf
        )
        self._slots = SharedSlots(_LOOKUPS_AT_ONCE, share=_SHARE, under_way=_MOST_UNDER_WAY)

    async def find(
        self, names: Iterable[str], client: str = "", seconds: float = _MESSAGE_SECONDS
    ) -> dict[str, Key | NoKey]:
        """Returns the keys with these names (selector._domainkey.domain). They are looked up at the same time, and
        `seconds` is the time limit for all of them. `client` is the network of the SMTP client that sent the message.
        """
        now = self._clock()
        keys: dict[str, Key | NoKey] = {}
        asking: dict[str, asyncio.Task[Key | NoKey]] = {}
        for name in dict.fromkeys(names):
            kept_key = self._kept.get(name, now)
            if kept_key is not None:
                keys[name] = kept_key
            else:
                asking[name] = asyncio.create_task(self._ask(name, client))
        if asking:
            try:
                await asyncio.wait(asking.values(), timeout=seconds)
            finally:
                for task in asking.values():
                    task.cancel()
        for name, task in asking.items():
            keys[name] = task.result() if task.done() and not task.cancelled() else _NO_ANSWER
        return keys

    async def _ask(self, name: str, client: str) -> Key | NoKey:
        try:
            question = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError):
            return NoKey("no valid key name")
        zone = zone_of(name)
        if self._silence.holds(zone, self._clock()):
            return _NO_ANSWER
        try:
            async with self._slots.held(client, zone):
                if self._silence.holds(zone, self._clock()):
                    return _NO_ANSWER
                return self._key(name, zone, await self._resolver.ask(question, "TXT"))
        except NoSlotError:
            return _NO_ANSWER

    def _key(self, name: str, zone: str, answer: Answer) -> Key | NoKey:
        if answer.outcome is Outcome.NO_ANSWER:
            if answer.is_timeout:
                self._silence.timed_out(zone, self._clock())
            # SERVFAIL and REFUSED do not mean that there is no key (C85, C86).
            return _NO_ANSWER
        self._silence.answered(zone)
        if answer.outcome is Outcome.NONE:
            return NoKey("no key for signature")
        records = [b"".join(record.strings) for record in answer.records if isinstance(record, TXT)]
        chosen = next((one for one in records if one.lstrip().startswith(b"v=DKIM1")), records[0] if records else b"")
        key = read_key(chosen)
        self._kept.keep(name, key, self._clock() + min(answer.lifetime or 0.0, _LONGEST_KEPT_SECONDS))
        return key


class _KeptKeys:
    """The keys with their times of expiry, by zone, so that random names in one zone do not displace all other keys."""

    def __init__(self) -> None:
        self._zones: OrderedDict[str, OrderedDict[str, tuple[Key | NoKey, float]]] = OrderedDict()
        self._count = 0

    def get(self, name: str, now: float) -> Key | NoKey | None:
        zone = zone_of(name)
        entry = self._zones.get(zone, _NO_KEYS).get(name)
        if entry is None or entry[1] <= now:
            return None
        self._zones.move_to_end(zone)
        return entry[0]

    def keep(self, name: str, key: Key | NoKey, until: float) -> None:
        zone = zone_of(name)
        keys = self._zones.setdefault(zone, OrderedDict())
        self._zones.move_to_end(zone)
        self._count += name not in keys
        keys[name] = (key, until)
        keys.move_to_end(name)
        if len(keys) > _KEPT_OF_A_ZONE:
            self._drop_oldest(zone)
        if self._count > _KEPT:
            # The oldest key of the least recently used zone is removed.
            self._drop_oldest(next(iter(self._zones)))

    def _drop_oldest(self, zone: str) -> None:
        keys = self._zones[zone]
        keys.popitem(last=False)
        self._count -= 1
        if not keys:
            del self._zones[zone]


class _SilentZones:
    """The zones of which several look-ups in a row timed out. Such zones are not asked for a while."""

    def __init__(self) -> None:
        # For each zone, the number of time-outs in a row, and the time of the last time-out. A time-out long after the
        # previous one begins a new row.
        self._zones: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def holds(self, zone: str, now: float) -> bool:
        count, last = self._zones.get(zone, (0, 0.0))
        return count >= _SILENT_AFTER and now - last < _SILENT_SECONDS

    def answered(self, zone: str) -> None:
        self._zones.pop(zone, None)

    def timed_out(self, zone: str, now: float) -> None:
        count, last = self._zones.get(zone, (0, now))
        self._zones[zone] = (count + 1 if now - last < _SILENT_SECONDS else 1, now)
        self._zones.move_to_end(zone)
        if len(self._zones) > _SILENT_KEPT:
            self._zones.popitem(last=False)


@lru_cache(maxsize=4096)
def zone_of(name: str) -> str:
    """Returns the part of a key's name that one party mostly operates as a whole: `example.org`, `example.co.uk`."""
    labels = name.rstrip(".").lower().split(".")
    shared = len(labels[-1]) == _COUNTRY_LETTERS and len(labels) > 1 and len(labels[-2]) <= _SECOND_LEVEL_LETTERS
    return ".".join(labels[-3 if shared else -2 :])


def read_key(record: bytes) -> Key | NoKey:
    """Reads a key record (RFC 6376 3.6.1, RFC 8463)."""
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
    """Reads a public key. Raises ValueError, UnsupportedAlgorithm."""
    if kind == b"ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(octets)
    if kind != b"rsa":
        raise ValueError("unknown kind of key")
    loaded = load_der_public_key(octets)
    if not isinstance(loaded, rsa.RSAPublicKey):
        raise ValueError("not an RSA key")
    return loaded
