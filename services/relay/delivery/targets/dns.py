"""DNS as relay asks it: found, none, or no answer; each answer kept for its lifetime in a bounded cache."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from ipaddress import ip_address
from pathlib import Path

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.resolver
from dns.rdtypes.ANY.TXT import TXT

from libs.dns.resolv_conf import ResolvConf
from libs.smtp.value import value
from services.relay.delivery.targets.lookup_cache import SegmentedCache
from services.relay.metrics import LOOKUPS

_CACHE_ENTRIES = 20_000
_LONGEST_SECONDS = 3600.0
_LONGEST_NEGATIVE_SECONDS = 300.0
# Within one message of many deliveries even a record with TTL 0 is asked once.
_SHORTEST_SECONDS = 1.0
# CNAMEs that are followed when the server has not followed them itself (C113).
_ALIAS_LIMIT = 8
_LOOKUP_SECONDS = 12.0
# Of the time for a look-up, what one try at one server gets.
_TRY_SHARE = 0.25
_EDNS_PAYLOAD = 1232
# Servers get better: EDNS, without which DNSSEC tells us nothing, is tried again after this time.
_WITHOUT_EDNS_SECONDS = 3600.0
_STUB_LIMIT = 100


_EDNS_ERRORS = (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS)


class Finding(Enum):
    FOUND = "found"
    # NXDOMAIN, or the name has no record of the kind.
    NONE = "none"
    # SERVFAIL, REFUSED, time-out, garbage: nothing is known, and nothing may be concluded (C85, C109).
    NO_ANSWER = "no_answer"


@value(frozen=True, slots=True)
class Lookup:
    """One question and what came of it."""

    # A-labels, lower case, no trailing dot.
    name: str
    kind: str
    finding: Finding
    records: tuple[dns.rdata.Rdata, ...] = ()
    # The whole name does not exist.
    nonexistent: bool = False
    # The name the records belong to, at the end of the aliases.
    canonical: str = ""
    # A validating name server vouches for it (AD).
    authenticated: bool = False
    # Asked of these, not of the process' own.
    asked_of: tuple[str, ...] = ()
    # The name servers in words, for reports; empty: the system's.
    servers: tuple[str, ...] = ()
    error: str = ""
    took_seconds: float = 0.0

    @property
    def texts(self) -> Sequence[str] | None:
        """TXT records, each put together; empty when there are none, None when there was no answer."""
        if self.finding is Finding.NO_ANSWER:
            return None
        return [
            b"".join(record.strings).decode("utf-8", "replace") for record in self.records if isinstance(record, TXT)
        ]

    @property
    def answers(self) -> tuple[str, ...]:
        """The records in presentation form."""
        return tuple(record.to_text() for record in self.records)


class Resolver:
    """Asks name servers, one query at a time for each question however many wait for it."""

    def __init__(
        self,
        nameservers: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
        seconds: float = _LOOKUP_SECONDS,
    ) -> None:
        """`nameservers` (host[:port]) stand for the system's; `seconds` bound a look-up.

        Raises ValueError when a name server is not an address.
        """
        self._default = nameservers
        self._seconds = seconds
        self._clock = clock
        self._cache: SegmentedCache[tuple[tuple[str, ...], str, str], Lookup] = SegmentedCache(_CACHE_ENTRIES)
        self._running: dict[tuple[tuple[str, ...], str, str], asyncio.Task[Lookup]] = {}
        self._stubs: dict[tuple[tuple[str, ...], bool], dns.asyncresolver.Resolver] = {}
        self._system = ResolvConf()
        # Lists of name servers that answered with an error because of EDNS, and until when they are asked without it.
        self._without_edns: dict[tuple[str, ...], float] = {}
        self._backend = dns.asyncbackend.get_backend("asyncio")
        for server in nameservers:
            parse_server(server)

    async def lookup(self, name: str, kind: str, servers: tuple[str, ...] = ()) -> Lookup:
        """`kind` is MX, A, AAAA, CNAME, TXT or TLSA. `servers` other than the process' own. Raises nothing."""
        key = (servers, name, kind)
        kept = self._cache.get(key, self._clock())
        if kept is not None:
            return kept
        running = self._running.get(key)
        if running is None:
            running = asyncio.create_task(self._ask(name, kind, servers), name=f"dns {name} {kind}")
            self._running[key] = running
            running.add_done_callback(lambda _: self._running.pop(key, None))
        # One waiter that is cancelled takes nothing from the others.
        return await asyncio.shield(running)

    async def close(self) -> None:
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _ask(self, name: str, kind: str, servers: tuple[str, ...]) -> Lookup:
        started = self._clock()
        lookup, lifetime = await self._resolve(name, kind, servers)
        now = self._clock()
        lookup = replace(lookup, took_seconds=now - started)
        LOOKUPS.labels(kind, lookup.finding.value).inc()
        if lookup.finding is not Finding.NO_ANSWER and lifetime > 0:
            self._cache.put((servers, name, kind), now + lifetime, lookup)
        return lookup

    async def _resolve(self, name: str, kind: str, servers: tuple[str, ...]) -> tuple[Lookup, float]:
        """The lookup, and for how many seconds it holds."""
        asked = Lookup(name, kind, Finding.NONE, asked_of=servers, servers=servers or self._default)
        question = absolute(name)
        if question is None:
            return replace(asked, nonexistent=True, error="not a domain name"), _SHORTEST_SECONDS
        lifetime, authenticated = _LONGEST_SECONDS, True
        try:
            for _ in range(_ALIAS_LIMIT):
                answer = await self._answer(servers or self._default, question, kind)
                authenticated = authenticated and bool(answer.response.flags & dns.flags.AD)
                if answer.rrset is not None:
                    lifetime = max(_SHORTEST_SECONDS, min(lifetime, answer.chaining_result.minimum_ttl))
                    return replace(
                        asked,
                        finding=Finding.FOUND,
                        records=tuple(answer.rrset),
                        canonical=_text(answer.canonical_name),
                        authenticated=authenticated,
                    ), lifetime
                if answer.canonical_name == question:
                    lifetime = min(lifetime, _negative_seconds(answer.response))
                    return replace(asked, authenticated=authenticated), lifetime
                lifetime = min(lifetime, answer.chaining_result.minimum_ttl)
                question = answer.canonical_name
            return replace(asked, finding=Finding.NO_ANSWER, error="too many aliases"), 0
        except dns.resolver.NXDOMAIN as error:
            response = next(iter(error.kwargs["responses"].values()))
            authenticated = authenticated and bool(response.flags & dns.flags.AD)
            return replace(asked, nonexistent=True, authenticated=authenticated), _negative_seconds(response)
        except (dns.exception.DNSException, OSError, ValueError) as error:
            return replace(asked, finding=Finding.NO_ANSWER, error=_reason(error)), 0

    async def _answer(self, servers: tuple[str, ...], question: dns.name.Name, kind: str) -> dns.resolver.Answer:
        """The answer, asked again without EDNS where every name server failed and one of them over EDNS (RFC 6891 7).

        Raises DNSException, OSError.
        """
        servers = servers or self._system.addresses()
        with_edns = self._without_edns.get(servers, 0.0) <= self._clock()
        try:
            return await self._asked(servers, question, kind, edns=with_edns)
        except (dns.resolver.NoNameservers, dns.resolver.LifetimeTimeout) as error:
            if not with_edns or not _refuses_edns(error):
                raise
        answer = await self._asked(servers, question, kind, edns=False)
        if len(self._without_edns) >= _STUB_LIMIT:
            self._without_edns.clear()
        self._without_edns[servers] = self._clock() + _WITHOUT_EDNS_SECONDS
        return answer

    async def _asked(
        self, servers: tuple[str, ...], question: dns.name.Name, kind: str, *, edns: bool
    ) -> dns.resolver.Answer:
        stub = self._stub(servers, edns=edns)
        return await stub.resolve(question, kind, search=False, raise_on_no_answer=False, backend=self._backend)

    def _stub(self, servers: tuple[str, ...], *, edns: bool) -> dns.asyncresolver.Resolver:
        kept = self._stubs.get((servers, edns))
        if kept is not None:
            return kept
        if len(self._stubs) > _STUB_LIMIT:
            self._stubs.clear()
        stub = dns.asyncresolver.Resolver(configure=False)
        stub.nameservers = [
            dns.nameserver.Do53Nameserver(address, port) for address, port in map(parse_server, servers)
        ]
        stub.timeout, stub.lifetime = self._seconds * _TRY_SHARE, self._seconds
        if edns:
            stub.use_edns(0, 0, _EDNS_PAYLOAD)
        # AD in a query asks for AD in the answer (RFC 6840 5.7).
        stub.flags = dns.flags.RD | dns.flags.AD
        self._stubs[servers, edns] = stub
        return stub


class HostsFile:
    """The system's table of hosts, read again when it changes (a container's is written at its start)."""

    def __init__(self, path: Path = Path("/etc/hosts")) -> None:
        self._path = path
        self._read_at = 0
        self._addresses: dict[str, tuple[str, ...]] = {}

    def addresses(self, name: str) -> tuple[str, ...]:
        """Those of a name (lower case), in the file's order; none when there is no such file."""
        try:
            changed_at = self._path.stat().st_mtime_ns
            if changed_at != self._read_at:
                self._addresses = self._parsed(self._path.read_text("utf-8", "replace"))
                self._read_at = changed_at
        except OSError:
            return ()
        return self._addresses.get(name, ())

    @staticmethod
    def _parsed(text: str) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for line in text.splitlines():
            address, *names = line.partition("#")[0].split() or ("",)
            try:
                ip_address(address)
            except ValueError:
                continue
            for name in names:
                found[name.lower()] = (*found.get(name.lower(), ()), address)
        return found


def parse_server(text: str) -> tuple[str, int]:
    """(address, port) of `address`, `address:port` or `[address]:port`. Raises ValueError."""
    host, port = text, "53"
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or "53"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    return str(ip_address(host)), int(port)


def absolute(name: str) -> dns.name.Name | None:
    """The name with its root, so that no search list applies (C111); None when it can't be one."""
    try:
        return dns.name.Name([*(label.encode("ascii") for label in name.split(".")), b""])
    except (dns.exception.DNSException, ValueError):
        return None


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _negative_seconds(response: dns.message.Message) -> float:
    """How long a "none" holds: the SOA's minimum or TTL (RFC 2308 5); without an SOA it doesn't."""
    for rrset in response.authority:
        if rrset.rdtype == dns.rdatatype.SOA:
            return float(min(rrset.ttl, rrset[0].minimum, _LONGEST_NEGATIVE_SECONDS))
    return 0.0


def _refuses_edns(error: dns.resolver.NoNameservers | dns.resolver.LifetimeTimeout) -> bool:
    """Whether one of the name servers answered as those do that do not know EDNS."""
    responses = (response for *_, response in error.kwargs.get("errors") or ())
    return any(response is not None and response.rcode() in _EDNS_ERRORS for response in responses)


def _reason(error: Exception) -> str:
    if isinstance(error, dns.exception.Timeout):
        return "time-out"
    if isinstance(error, dns.resolver.NoNameservers):
        errors = error.kwargs.get("errors") or []
        # (nameserver, tcp, port, error, response)
        return str(errors[-1][3]) if errors else "no name server"
    return str(error) or type(error).__name__
