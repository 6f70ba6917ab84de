"""The DNS look-ups of relay. The same question is asked only once at a time, and answers are cached for their lifetime
in a bounded cache.
"""

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
# Within this time even a record with TTL 0 is asked for only once, because a message may have many deliveries.
_SHORTEST_SECONDS = 1.0
_LOOKUP_SECONDS = 12.0


@dataclass(frozen=True, slots=True)
class Lookup:
    """One question and its result."""

    # The name in A-labels and lower case, without a trailing dot.
    name: str
    kind: str
    outcome: Outcome
    records: tuple[dns.rdata.Rdata, ...] = ()
    # NXDOMAIN: the whole name does not exist.
    nonexistent: bool = False
    # The name that the records belong to, at the end of the aliases.
    canonical: str = ""
    # Whether a validating name server authenticated the answer (the AD bit).
    authenticated: bool = False
    # The name servers that were asked. Empty means those of this process.
    asked_of: tuple[str, ...] = ()
    # The name servers to name in reports: `asked_of`, or those of this process. Empty means those of the system.
    servers: tuple[str, ...] = ()
    error: str = ""
    took_seconds: float = 0.0

    @property
    def texts(self) -> Sequence[str] | None:
        """Returns the TXT records, each with its strings joined. The result is empty when there are none, and None when
        there was no answer.
        """
        if self.outcome is Outcome.NO_ANSWER:
            return None
        return [
            b"".join(record.strings).decode("utf-8", "replace") for record in self.records if isinstance(record, TXT)
        ]

    @property
    def answers(self) -> tuple[str, ...]:
        """Returns the records in presentation format."""
        return tuple(record.to_text() for record in self.records)


class Resolver:
    """Asks name servers. Each question is asked only once at a time, however many callers wait for its answer."""

    def __init__(
        self,
        nameservers: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
        seconds: float = _LOOKUP_SECONDS,
    ) -> None:
        """`nameservers` (host[:port]) replace those of the system. `seconds` is the longest time of a look-up.

        Raises ValueError when a name server is not an address.
        """
        self._default = nameservers
        self._clock = clock
        self._stub = StubResolver(nameservers, seconds=seconds, clock=clock)
        self._cache: SegmentedCache[tuple[tuple[str, ...], str, str], Lookup] = SegmentedCache(_CACHE_ENTRIES)
        self._running: dict[tuple[tuple[str, ...], str, str], asyncio.Task[Lookup]] = {}

    async def lookup(self, name: str, kind: str, servers: tuple[str, ...] = ()) -> Lookup:
        """Looks up records. `kind` is MX, A, AAAA, CNAME, TXT or TLSA. `servers` replace the name servers of the
        process. Raises nothing.
        """
        key = (servers, name, kind)
        kept = self._cache.get(key, self._clock())
        if kept is not None:
            return kept
        running = self._running.get(key)
        if running is None:
            running = asyncio.create_task(self._ask(name, kind, servers), name=f"dns {name} {kind}")
            self._running[key] = running
            running.add_done_callback(lambda _: self._running.pop(key, None))
        # When one caller is cancelled, the question must go on, because others may wait for its answer.
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
    """The hosts file of the system. It is read again when it changes, since an operator or the container's runtime may
    write it while relay runs.
    """

    def __init__(self, path: Path = Path("/etc/hosts")) -> None:
        self._path = path
        self._read_at = 0
        self._addresses: dict[str, tuple[str, ...]] = {}

    def addresses(self, name: str) -> tuple[str, ...]:
        """Returns the addresses of a name (lower case) in the order of the file. The result is empty when the file does
        not have the name, or cannot be read.
        """
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
