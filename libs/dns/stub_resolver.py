"""Asks name servers one question at a time. The result tells that records exist, that none exist, or that there was no
answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
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

from libs.dns.resolv_conf import RESOLV_CONF, ResolvConf
from libs.dns.servers import parse_server

# The largest number of CNAMEs that are followed when the server has not followed them itself (C113).
_ALIAS_LIMIT = 8
_EDNS_PAYLOAD = 1232
# A server may be upgraded, so EDNS, which DNSSEC needs, is tried again after this time.
_WITHOUT_EDNS_SECONDS = 3600.0
# When there are more stored resolvers than this number, all of them are discarded.
_LISTS = 100
_EDNS_ERRORS = (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS)


class Outcome(Enum):
    FOUND = "found"
    # NXDOMAIN, or the name has no record of this type.
    NONE = "none"
    # SERVFAIL, REFUSED, a time-out or an invalid answer: nothing is known, and nothing may be concluded (C85, C109).
    NO_ANSWER = "no_answer"


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a question."""

    outcome: Outcome
    records: tuple[dns.rdata.Rdata, ...] = ()
    # The seconds for which the result is valid. This is the shortest lifetime of the records and of the aliases that
    # led to them. For names that do not exist, it is the value in the SOA record (RFC 2308 5). None means unknown.
    lifetime: float | None = None
    # NXDOMAIN: the whole name does not exist.
    is_nonexistent: bool = False
    # The name that the records belong to, at the end of the aliases.
    canonical: str = ""
    # Whether a validating name server authenticated the answer (the AD bit).
    is_authenticated: bool = False
    # The reason when nothing was found because of an error, and whether the error was a time-out of the question.
    error: str = ""
    is_timeout: bool = False


class StubResolver:
    """Asks the name servers of a setting, or those that the system has at the time of the question."""

    def __init__(
        self,
        servers: Sequence[str] = (),
        *,
        seconds: float,
        try_share: float = 0.25,
        clock: Callable[[], float] = time.monotonic,
        resolv_conf: Path = RESOLV_CONF,
    ) -> None:
        """`servers` (address[:port]) replace those of the system. `seconds` is the time limit of a question. One try at
        one server gets at most the share `try_share` of this time. Raises ValueError when a name server is not an
        address.
        """
        for server in servers:
            parse_server(server)
        self._servers = tuple(servers)
        self._seconds = seconds
        self._try_share = try_share
        self._clock = clock
        self._system = ResolvConf(resolv_conf)
        self._stubs: dict[tuple[tuple[str, ...], bool], dns.asyncresolver.Resolver] = {}
        # The lists of name servers that answered with an error because of EDNS, and for each the time until which it is
        # asked without EDNS.
        self._without_edns: dict[tuple[str, ...], float] = {}
        self._backend = dns.asyncbackend.get_backend("asyncio")

    @property
    def servers(self) -> tuple[str, ...]:
        """Returns the name servers that are asked. The result is empty while the system names none."""
        return self._servers or self._system.addresses()

    async def ask(
        self, name: str | dns.name.Name, kind: str, *, servers: Sequence[str] = (), seconds: float | None = None
    ) -> Answer:
        """Asks a question. `name` is absolute, so that no search list applies (C111). `servers` and `seconds` replace
        those of the resolver. Raises nothing.
        """
        question = absolute(name) if isinstance(name, str) else name
        if question is None:
            return Answer(Outcome.NONE, is_nonexistent=True, error="not a domain name")
        try:
            return await self._follow(question, kind, tuple(servers) or self.servers, seconds)
        except (dns.exception.DNSException, OSError, EOFError, ValueError) as error:
            is_timeout = isinstance(error, dns.exception.Timeout)
            return Answer(Outcome.NO_ANSWER, error=_reason(error), is_timeout=is_timeout)

    async def _follow(
        self, question: dns.name.Name, kind: str, servers: tuple[str, ...], seconds: float | None
    ) -> Answer:
        """Follows the aliases that the server has not followed. Raises DNSException, OSError."""
        lifetime, is_authenticated = float("inf"), True
        for _ in range(_ALIAS_LIMIT):
            try:
                answer = await self._answer(servers, question, kind, seconds)
            except dns.resolver.NXDOMAIN as error:
                response = next(iter(error.kwargs["responses"].values()))
                is_authenticated = is_authenticated and _is_authenticated(response)
                return Answer(
                    Outcome.NONE,
                    lifetime=negative_lifetime(response, lifetime),
                    is_nonexistent=True,
                    is_authenticated=is_authenticated,
                )
            is_authenticated = is_authenticated and _is_authenticated(answer.response)
            canonical = answer.canonical_name
            if answer.rrset is not None:
                lifetime = min(lifetime, answer.chaining_result.minimum_ttl)
                name = canonical.to_text(omit_final_dot=True).lower()
                return Answer(
                    Outcome.FOUND, tuple(answer.rrset), lifetime, canonical=name, is_authenticated=is_authenticated
                )
            if canonical == question:
                lifetime_of_none = negative_lifetime(answer.response, lifetime)
                return Answer(Outcome.NONE, lifetime=lifetime_of_none, is_authenticated=is_authenticated)
            lifetime = min(lifetime, answer.chaining_result.minimum_ttl)
            question = canonical
        return Answer(Outcome.NO_ANSWER, error="too many aliases")

    async def _answer(
        self, servers: tuple[str, ...], question: dns.name.Name, kind: str, seconds: float | None
    ) -> dns.resolver.Answer:
        """Returns the answer. If all name servers failed, and at least one of them because of EDNS, the question is
        repeated without EDNS (RFC 6891 7). Raises DNSException, OSError.
        """
        with_edns = self._without_edns.get(servers, 0.0) <= self._clock()
        try:
            return await self._asked(servers, question, kind, seconds, edns=with_edns)
        except (dns.resolver.NoNameservers, dns.resolver.LifetimeTimeout) as error:
            if not with_edns or not _refuses_edns(error):
                raise
        answer = await self._asked(servers, question, kind, seconds, edns=False)
        if len(self._without_edns) >= _LISTS:
            self._without_edns.clear()
        self._without_edns[servers] = self._clock() + _WITHOUT_EDNS_SECONDS
        return answer

    async def _asked(
        self, servers: tuple[str, ...], question: dns.name.Name, kind: str, seconds: float | None, *, edns: bool
    ) -> dns.resolver.Answer:
        return await self._stub(servers, edns=edns).resolve(
            question, kind, search=False, raise_on_no_answer=False, lifetime=seconds, backend=self._backend
        )

    def _stub(self, servers: tuple[str, ...], *, edns: bool) -> dns.asyncresolver.Resolver:
        kept = self._stubs.get((servers, edns))
        if kept is not None:
            return kept
        if len(self._stubs) > _LISTS:
            self._stubs.clear()
        stub = dns.asyncresolver.Resolver(configure=False)
        stub.nameservers = [
            dns.nameserver.Do53Nameserver(address, port) for address, port in map(parse_server, servers)
        ]
        # A silent server must leave time for the other servers.
        stub.timeout = self._seconds * min(self._try_share, 1 / max(1, len(servers)))
        stub.lifetime = self._seconds
        if edns:
            stub.use_edns(0, 0, _EDNS_PAYLOAD)
        # AD in a query requests AD in the answer (RFC 6840 5.7).
        stub.flags = dns.flags.RD | dns.flags.AD
        self._stubs[servers, edns] = stub
        return stub


def absolute(name: str) -> dns.name.Name | None:
    """Returns the absolute name, so that no search list applies (C111), or None when it is not a valid name."""
    try:
        labels = name.removesuffix(".").split(".")
        return dns.name.Name([*(label.encode("ascii") for label in labels), b""])
    except (dns.exception.DNSException, ValueError):
        return None


def _is_authenticated(response: dns.message.Message) -> bool:
    return bool(response.flags & dns.flags.AD)


def negative_lifetime(response: dns.message.Message, of_aliases: float) -> float | None:
    """Returns the seconds for which a negative answer is valid (RFC 2308 5), or None when it has no SOA record."""
    for rrset in response.authority:
        if rrset.rdtype == dns.rdatatype.SOA:
            return float(min(rrset.ttl, rrset[0].minimum, of_aliases))
    return None


def _refuses_edns(error: dns.resolver.NoNameservers | dns.resolver.LifetimeTimeout) -> bool:
    """Whether one of the name servers answered like a server that does not know EDNS."""
    responses = (response for *_, response in error.kwargs.get("errors") or ())
    return any(response is not None and response.rcode() in _EDNS_ERRORS for response in responses)


def _reason(error: Exception) -> str:
    if isinstance(error, dns.exception.Timeout):
        return "time-out"
    if isinstance(error, dns.resolver.NoNameservers):
        errors = error.kwargs.get("errors") or []
        # Each entry is a tuple (nameserver, tcp, port, error, response).
        return str(errors[-1][3]) if errors else "no name server"
    return str(error) or type(error).__name__
