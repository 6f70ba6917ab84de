"""DNS as relay asks it: equal questions are asked once, and answers are kept for their lifetime in a bounded cache."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import dns.rdata
from dns.rdtypes.ANY.TXT import TXT

from libs.dns.stub_resolver import Answer, Outcome, StubResolver
from services.relay.delivery.targets.lookup_cache import SegmentedCache
from services.relay.metrics import LOOKUPS

_CACHE_ENTRIES = 20_000
_LONGEST_SECONDS = 3600.0
_LONGEST_NEGATIVE_SECONDS = 300.0
# Within one message of many deliveries even a record with TTL 0 is asked once.
_SHORTEST_SECONDS = 1.0
_LOOKUP_SECONDS = 12.0


@dataclass(frozen=True, slots=True)
class Lookup:
    """One question and its result."""

    # A-labels, lower case, no trailing dot.
    name: str
    kind: str
    outcome: Outcome
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
        if self.outcome is Outcome.NO_ANSWER:
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
        self._clock = clock
        self._stub = StubResolver(nameservers, seconds=seconds, clock=clock)
        self._cache: SegmentedCache[tuple[tuple[str, ...], str, str], Lookup] = SegmentedCache(_CACHE_ENTRIES)
        self._running: dict[tuple[tuple[str, ...], str, str], asyncio.Task[Lookup]] = {}

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
        # The cancellation of one waiter must not cancel the question, for which others wait too.
        return await asyncio.shield(running)

    async def close(self) -> None:
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _ask(self, name: str, kind: str, servers: tuple[str, ...]) -> Lookup:
        started = self._clock()
        answer = await self._stub.ask(name, kind, servers=servers)
        now = self._clock()
        lookup = Lookup(
            name=name,
            kind=kind,
            outcome=answer.outcome,
            records=answer.records,
            nonexistent=answer.is_nonexistent,
            canonical=answer.canonical,
            authenticated=answer.is_authenticated,
            asked_of=servers,
            servers=servers or self._default,
            error=answer.error,
            took_seconds=now - started,
        )
        LOOKUPS.labels(kind, answer.outcome.value).inc()
        lifetime = _lifetime(answer)
        if lifetime > 0:
            self._cache.put((servers, name, kind), now + lifetime, lookup)
        return lookup


def _lifetime(answer: Answer) -> float:
    lifetime = answer.lifetime or 0.0
    if answer.outcome is Outcome.FOUND:
        return max(_SHORTEST_SECONDS, min(lifetime, _LONGEST_SECONDS))
    return min(lifetime, _LONGEST_NEGATIVE_SECONDS)


class HostsFile:
    """The system's table of hosts, read again when it changes (a container's is written at its start)."""

    def __init__(self, path: Path = Path("/etc/hosts")) -> None:
        self._path = path
        self._read_at = 0
        self._addresses: dict[str, tuple[str, ...]] = {}

    def addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of a name (lower case) in the order of the file; none when there is no such file."""
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
