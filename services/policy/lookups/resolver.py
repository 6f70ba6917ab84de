"""A caching resolver. Its cache is bounded, and also contains negative answers. While a question is being asked, the
same question is not asked again: all callers wait for the one answer. Each question has a time limit.

Each client, and each zone whose name servers do not answer, has only a share of the running questions (fair_slots.py,
silence.py).
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import dns.exception
import dns.message
import dns.name
import dns.rdatatype

from libs.dns import stub_resolver
from libs.dns.resolv_conf import RESOLV_CONF
from libs.dns.servers import parse_server
from libs.dns.stub_resolver import StubResolver, negative_lifetime
from libs.smtp.value import fast_value
from services.policy.fair_slots import FairSlots
from services.policy.lookups import datagram
from services.policy.lookups.cache import TwoStageCache
from services.policy.lookups.silence import SilentZones
from services.policy.metrics import LOOKUPS_REFUSED
from services.policy.rules.lookup import Outcome

_CACHED = 50_000
# Limits of questions: how many run at the same time, how many of these belong to one client (/24, /64), how many belong
# to a client whose questions are not answered, and how many wait.
_CONCURRENT = 500
_SHARE = 50
_SLOW_SHARE = 2
_MOST_WAITING = 5_000
# A question that fails after at least this time counts as slow: its zone may then count as silent, and its client gets
# a smaller share.
_SLOW_SECONDS = 0.5
_LONGEST_TTL = 3600.0
_LONGEST_NEGATIVE_TTL = 300.0
# The lifetime of a failure. It is long enough that the recipients of one message do not wait again, and short enough
# that a recovery is noticed soon.
_NO_ANSWER_TTL = 5.0
# The lifetime of a negative answer without an SOA record.
_NEGATIVE_TTL = 60.0
_ONE_SERVER_SECONDS = 2.0


@fast_value(frozen=True, slots=True)
class Answer:
    """The records of one name and type. `expires_at` is a time of the resolver's clock. `records` depends on the type.
    A and AAAA have addresses, PTR and CNAME have names, all as text without a final dot. MX has (preference, name), and
    TXT has tuples of byte strings.
    """

    outcome: Outcome
    records: tuple[Any, ...]
    expires_at: float


class Resolver:
    """Asks the given name servers, or the name servers of the system."""

    def __init__(
        self,
        nameservers: Sequence[str],
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        resolv_conf: Path = RESOLV_CONF,
    ) -> None:
        """Each of `nameservers` is address[:port]. Without any, the name servers of the system are asked. `seconds` is
        the time limit of one question with all its tries.
        """
        self._stub = StubResolver(
            nameservers,
            seconds=seconds,
            try_share=min(1.0, _ONE_SERVER_SECONDS / seconds),
            resolv_conf=resolv_conf,
        )
        self._try_seconds = min(_ONE_SERVER_SECONDS, seconds)
        self._seconds = seconds
        self._clock = clock
        # The servers of the stub resolver, and the family and the socket address of each in the order in which they are
        # asked by UDP.
        self._servers_of = self._stub.servers
        self._servers = _datagram_servers(self._servers_of)
        self._cache: TwoStageCache[tuple[str, str], Answer] = TwoStageCache(_CACHED)
        self._slots = FairSlots(_CONCURRENT, _SHARE, _SLOW_SHARE, _MOST_WAITING)
        self._silent = SilentZones(clock)
        self._slow_seconds = min(_SLOW_SECONDS, seconds / 2)
        self._asked: dict[tuple[str, str], asyncio.Future[Answer]] = {}

    def for_party(self, party: str) -> PartyResolver:
        """Returns the resolver for one party, which has a share of the running questions."""
        return PartyResolver(self, party)

    def cached(self, name: str, record_type: str) -> Answer | None:
        """Returns the answer from the cache, if it has not expired."""
        answer = self._cache.get((name, record_type))
        return answer if answer is not None and self._clock() < answer.expires_at else None

    async def resolve(self, name: str, record_type: str) -> Answer:
        """Looks up a name without a final dot. A name that cannot exist in the DNS has no records. Never raises."""
        (answer,) = await self.resolve_all([(name, record_type)])
        return answer

    async def resolve_all(self, questions: Iterable[tuple[str, str]], party: str = "") -> list[Answer]:
        """Looks up several (name, type) at the same time."""
        known_or_pending = [self._known_or_asked(name.lower(), record_type, party) for name, record_type in questions]
        waiting = [pending for pending in known_or_pending if not isinstance(pending, Answer)]
        if waiting:
            # When one caller is cancelled, the question must go on, because others may wait for its answer.
            await asyncio.wait(waiting)
        return [pending if isinstance(pending, Answer) else pending.result() for pending in known_or_pending]

    def _known_or_asked(self, name: str, record_type: str, party: str) -> Answer | asyncio.Future[Answer]:
        known_or_pending = self.cached(name, record_type) or self._asked.get((name, record_type))
        if known_or_pending is not None:
            return known_or_pending
        if not self._slots.take(party):
            return asyncio.ensure_future(self._wait_and_ask(name, record_type, party))
        return self._begin(name, record_type, party)

    async def _wait_and_ask(self, name: str, record_type: str, party: str) -> Answer:
        """Asks after a wait for a slot. Another party may ask the same question in the meantime, and may get a slot
        earlier.
        """
        if not await self._slots.wait(party, self._seconds):
            return self._refused()
        known_or_pending = self.cached(name, record_type) or self._asked.get((name, record_type))
        if known_or_pending is not None:
            self._slots.release(party)
        else:
            known_or_pending = self._begin(name, record_type, party)
        if isinstance(known_or_pending, Answer):
            return known_or_pending
        await asyncio.wait([known_or_pending])
        return known_or_pending.result()

    def _begin(self, name: str, record_type: str, party: str) -> Answer | asyncio.Future[Answer]:
        """Asks the name servers. The party has already taken a slot."""
        zone = self._silent.zone_of(name)
        if zone and not self._silent.enter(zone):
            self._slots.release(party)
            return self._refused()
        pending = asyncio.ensure_future(self._ask(name, record_type, party))
        self._asked[name, record_type] = pending

        def end(_: asyncio.Future[Answer]) -> None:
            del self._asked[name, record_type]
            self._slots.release(party)
            if zone:
                self._silent.leave(zone)

        pending.add_done_callback(end)
        return pending

    def _refused(self) -> Answer:
        LOOKUPS_REFUSED.inc()
        return Answer(Outcome.NO_ANSWER, (), self._clock())

    async def _ask(self, name: str, record_type: str, party: str) -> Answer:
        began = self._clock()
        answer = await self._find(name, record_type)
        if answer.outcome is not Outcome.NO_ANSWER:
            self._silent.answered(name)
        elif self._clock() - began >= self._slow_seconds:
            self._silent.took_too_long(name)
            self._slots.slow(party)
        self._cache.put((name, record_type), answer)
        return answer

    async def _find(self, name: str, record_type: str) -> Answer:
        try:
            name_asked = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError, ValueError):
            return Answer(Outcome.NONE, (), self._clock() + _LONGEST_NEGATIVE_TTL)
        self._follow_servers()
        ends = time.monotonic() + self._seconds
        failed = 0
        for server in self._servers:
            seconds = min(self._try_seconds, ends - time.monotonic())
            try:
                response = await datagram.ask(server, name_asked, record_type, max(seconds, 0.0))
            except TimeoutError:
                # Later questions begin with the next server.
                self._servers = [
                    *(other_server for other_server in self._servers if other_server is not server),
                    server,
                ]
                continue
            except datagram.ServerFailedError:
                failed += 1
                continue
            if response is not None:
                return self._answer(response)
            break
        if failed and failed == len(self._servers):
            return self._no_answer()
        return self._general(await self._stub.ask(name_asked, record_type, seconds=max(ends - time.monotonic(), 0.0)))

    def _follow_servers(self) -> None:
        servers = self._stub.servers
        if servers is not self._servers_of:
            self._servers_of, self._servers = servers, _datagram_servers(servers)

    def _general(self, answer: stub_resolver.Answer) -> Answer:
        """Returns the answer of the stub resolver, which asks by TCP when a UDP answer was truncated."""
        if answer.outcome is stub_resolver.Outcome.FOUND:
            return self._found(answer.records, answer.lifetime or 0.0)
        if answer.outcome is stub_resolver.Outcome.NONE:
            return self._none(answer.lifetime)
        return self._no_answer()

    def _answer(self, message: dns.message.QueryMessage) -> Answer:
        """Returns the answer in a message. Its lifetime is the shortest lifetime of the records and of the aliases that
        led to them. Without records, the lifetime comes from the SOA record.
        """
        try:
            chain = message.resolve_chaining()
        except dns.exception.DNSException:
            return self._no_answer()
        if chain.answer is None:
            return self._none(negative_lifetime(message, chain.minimum_ttl))
        return self._found(chain.answer, float(chain.minimum_ttl))

    def _found(self, records: Iterable[Any], ttl: float) -> Answer:
        return Answer(Outcome.FOUND, tuple(map(_record, records)), self._clock() + min(ttl, _LONGEST_TTL))

    def _none(self, ttl: float | None) -> Answer:
        seconds = _NEGATIVE_TTL if ttl is None else min(ttl, _LONGEST_NEGATIVE_TTL)
        return Answer(Outcome.NONE, (), self._clock() + seconds)

    def _no_answer(self) -> Answer:
        """Returns a failure: SERVFAIL, REFUSED, a time-out, or any other problem. A failure never means that a name
        does not exist (C85, C86).
        """
        return Answer(Outcome.NO_ANSWER, (), self._clock() + _NO_ANSWER_TTL)


class Asker(Protocol):
    """The methods of a resolver that are needed to walk through the DNS."""

    def cached(self, name: str, record_type: str, /) -> Answer | None: ...

    async def resolve(self, name: str, record_type: str, /) -> Answer: ...

    async def resolve_all(self, questions: Iterable[tuple[str, str]], /) -> list[Answer]: ...


class PartyResolver:
    """The resolver for one party."""

    __slots__ = ("_party", "_resolver", "cached")

    def __init__(self, resolver: Resolver, party: str) -> None:
        self._resolver = resolver
        self._party = party
        self.cached = resolver.cached

    async def resolve(self, name: str, record_type: str) -> Answer:
        (answer,) = await self._resolver.resolve_all([(name, record_type)], self._party)
        return answer

    async def resolve_all(self, questions: Iterable[tuple[str, str]]) -> list[Answer]:
        return await self._resolver.resolve_all(questions, self._party)


def _datagram_servers(servers: Iterable[str]) -> list[tuple[int, Any]]:
    """Returns the family and the socket address of each server. The result is empty when one of the servers cannot be
    asked by UDP.
    """
    addresses: list[tuple[int, Any]] = []
    for host, port in map(parse_server, servers):
        try:
            (family, *_, address), *_ = socket.getaddrinfo(
                host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
            )
        except OSError:
            return []
        addresses.append((family, address))
    return addresses


def _record(record: Any) -> Any:
    match record.rdtype:
        case dns.rdatatype.A | dns.rdatatype.AAAA:
            return record.address
        case dns.rdatatype.PTR | dns.rdatatype.CNAME:
            return _name(record.target)
        case dns.rdatatype.MX:
            return record.preference, _name(record.exchange)
        case _:
            return tuple(record.strings)


def _name(name: dns.name.Name) -> str:
    """Returns the name as text. The result is empty for the root."""
    return name.to_text().lower().removesuffix(".")
