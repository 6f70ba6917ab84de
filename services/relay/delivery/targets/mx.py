"""Finds the servers of a destination by look-ups of MX records and addresses, and decides which ones may be tried in
which order.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from dns.rdtypes.ANY.MX import MX

from libs.dns.stub_resolver import Outcome
from libs.smtp.address import canonical_domain
from services.relay.delivery.targets.address_families import AddressFamilyCache
from services.relay.delivery.targets.dns import HostsFile, Lookup, Resolver
from services.relay.delivery.targets.own_addresses import Address, Network, OwnAddresses, canonical
from services.relay.model.outcome import ReplyMeaning, deferred, failed

# The largest number of hosts of one MX set whose addresses are looked up, best preference first.
_HOST_LIMIT = 16
_ADDRESSES_A_HOST = 4


@dataclass(frozen=True, slots=True)
class Host:
    """A server of a destination."""

    preference: int
    name: str
    port: int
    # The addresses in the order in which they are tried.
    addresses: tuple[str, ...] = ()
    # The reason why the host is not tried. Empty when the host is tried.
    left_out: str = ""
    # Whether DNSSEC authenticates the MX record that leads from the domain to this name.
    authenticated: bool = False
    # The addresses that DNSSEC authenticates, together with the aliases that lead to them.
    secure_addresses: frozenset[str] = frozenset()
    # The name at the end of the host's aliases. It is empty when the host is no alias, or when this is unknown.
    alias_target: str = ""
    # The look-up that got no answer, when it is therefore unknown whether the host has an address that may be tried.
    unanswered: Lookup | None = None


@dataclass(frozen=True, slots=True)
class Targets:
    """All hosts of a destination, first those that are tried, in their order. When none is tried, `failure` is the
    reason.
    """

    hosts: tuple[Host, ...] = ()
    failure: ReplyMeaning | None = None
    lookups: tuple[Lookup, ...] = ()


@dataclass(frozen=True, slots=True)
class OwnIdentity:
    """The names and addresses of this gateway. Mail that is sent to them would come back (RFC 5321 5.1)."""

    names: frozenset[str]
    addresses: OwnAddresses
    prohibited: tuple[Network, ...]
    # Networks to which address literals must not lead, in addition to the prohibited networks.
    prohibited_literals: tuple[Network, ...] = ()

    def owns(self, address: Address, port: int) -> bool:
        return self.addresses.contain(address, port)

    def prohibits(self, address: Address) -> bool:
        return _in(address, self.prohibited)

    def prohibits_literal(self, address: Address) -> bool:
        return self.prohibits(address) or _in(address, self.prohibited_literals)


def _in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A host from the name servers, before its addresses are known."""

    preference: int
    name: str
    # The name servers that are asked for its addresses. Empty means those of the process.
    servers: tuple[str, ...] = ()
    authenticated: bool = False


class MxResolver:
    """Finds servers. There is one in each process. `rng` shuffles hosts of the same preference."""

    def __init__(self, resolver: Resolver, rng: random.Random, port: int, hosts_file: HostsFile | None = None) -> None:
        """`port` is the port of MX hosts. `hosts_file` is asked first for hosts that the operator names."""
        self._resolver = resolver
        self._hosts_file = hosts_file or HostsFile()
        self._rng = rng
        self._port = port
        self._families = AddressFamilyCache()

    @property
    def families(self) -> AddressFamilyCache:
        return self._families

    async def of_domain(self, domain: str, ourselves: OwnIdentity) -> Targets:
        """Returns the servers of a domain of others, or of an address literal. It asks the name servers of the
        process.
        """
        literal = parse_literal(domain)
        if literal is not None:
            return _settled([_literal_host(literal, self._port, ourselves)], (), looped=_LOOP)
        if domain.startswith("["):
            return Targets(failure=failed(550, "5.1.2", f"{domain} is not an address literal"))
        lookup = await self._resolver.lookup(domain, "MX")
        lookups = [lookup]
        if lookup.outcome is Outcome.NO_ANSWER:
            return Targets(failure=no_answer(lookup), lookups=tuple(lookups))
        if _is_null_mx(lookup):
            return Targets(failure=_null_mx(domain), lookups=tuple(lookups))
        candidates = _candidates(lookup)
        if not candidates:
            if lookup.nonexistent:
                return Targets(failure=failed(550, "5.1.2", f"{domain} does not exist"), lookups=tuple(lookups))
            if lookup.outcome is Outcome.FOUND:
                return Targets(failure=_null_mx(domain), lookups=tuple(lookups))
            candidates = [_Candidate(0, lookup.canonical or domain, authenticated=lookup.authenticated)]
        hosts = await self._with_addresses(candidates, ourselves, lookups, by_name=True)
        if not any(host.addresses or host.left_out == IS_OURSELVES for host in hosts):
            return Targets(tuple(hosts), _no_addresses(domain, lookup, lookups), tuple(lookups))
        return _settled(self._ordered(hosts), lookups, looped=_LOOP)

    async def of_relay_domain(
        self, domain: str, ourselves: OwnIdentity, preferred: Sequence[str], alternate: Sequence[str]
    ) -> Targets:
        """Returns the servers of a relay domain: the MX sets of two groups of name servers, merged and without this
        gateway.

        The groups may have different views of the domain. So a name from both groups gives two candidates, each with
        the preference and the addresses from its own group. When the address of a candidate is known, only the address
        decides whether the candidate is this gateway, because the inner server may have the public name of this gateway
        (F51).

        Unlike `of_domain`, this method bounces no mail when it finds no server, except for a null MX. The operator
        configured the domain and can correct the mistake. Then the mail is delivered.
        """
        groups = [tuple(preferred), tuple(alternate)] if alternate else [tuple(preferred)]
        lookups = list(await asyncio.gather(*(self._resolver.lookup(domain, "MX", group) for group in groups)))
        silent = _first_silent(lookups)
        usable = [lookup for lookup in lookups if not _is_null_mx(lookup)]
        if not usable:
            return Targets(failure=_null_mx(domain), lookups=tuple(lookups))
        candidates = [candidate for lookup in usable for candidate in _candidates(lookup)]
        if not candidates and silent is None:
            candidates = [
                _Candidate(0, domain, group)
                for group, lookup in zip(groups, lookups, strict=True)
                if lookup.outcome is Outcome.NONE and not lookup.nonexistent
            ]
        hosts = _without_repeats(await self._with_addresses(candidates, ourselves, lookups, by_name=False))
        nothing_better = deferred(451, "4.4.6", f"no mail server of {domain} is better than this gateway itself")
        targets = _settled(self._ordered(hosts), lookups, looped=nothing_better)
        if targets.failure is None:
            return targets
        if silent is not None:
            return replace(targets, failure=no_answer(silent))
        if not any(host.addresses or host.unanswered or host.left_out == IS_OURSELVES for host in hosts):
            reason = f"no name server knows a mail server of the relay domain {domain}"
            return replace(targets, failure=deferred(451, "4.4.4", reason))
        return targets

    async def of_named_host(self, name: str, port: int) -> Targets:
        """Returns a server that the operator named: an address, or a name for which no MX record is looked up. It may
        be in any network.
        """
        bare = name.strip("[]")
        literal = _parse_address(bare.removeprefix("IPv6:"))
        if literal is not None:
            return Targets((Host(0, str(literal), port, (str(literal),)),))
        if not bare.isascii():
            try:
                bare = canonical_domain(bare)
            except ValueError:
                return Targets(failure=deferred(451, "4.4.4", "the host's name is not a domain name"))
        if bare == "localhost" or bare.endswith(".localhost"):
            # RFC 6761 6.3: name servers are never asked for this name.
            return Targets((Host(0, bare, port, ("127.0.0.1", "::1")),))
        listed = self._hosts_file.addresses(bare.lower().rstrip("."))
        if listed:
            return Targets((Host(0, bare, port, listed[:_ADDRESSES_A_HOST]),))
        lookups: list[Lookup] = []
        (host,) = await self._with_addresses([_Candidate(0, bare)], None, lookups, port=port)
        if host.addresses:
            return Targets((host,), lookups=tuple(lookups))
        silent = _first_silent(lookups)
        if silent is not None:
            return Targets((host,), no_answer(silent), tuple(lookups))
        # The mail is deferred, since the operator can correct the name.
        return Targets((host,), deferred(451, "4.4.4", f"{bare} has no address"), tuple(lookups))

    async def _with_addresses(
        self,
        candidates: Sequence[_Candidate],
        ourselves: OwnIdentity | None,
        lookups: list[Lookup],
        *,
        port: int = 0,
        by_name: bool = False,
    ) -> list[Host]:
        """Returns the hosts with their addresses, and adds the look-ups to `lookups`.

        With `by_name`, a host that has the name of this gateway is this gateway, whatever its address.
        """
        best = self._best(candidates, ourselves)
        questions = [
            self._resolver.lookup(candidate.name, kind, candidate.servers)
            for candidate in best
            for kind in ("AAAA", "A")
        ]
        answers = iter(await asyncio.gather(*questions))
        hosts = []
        for candidate in best:
            own = [next(answers), next(answers)]
            lookups.extend(own)
            host = _host(candidate, port or self._port, own)
            hosts.append(self._judged(host, own, ourselves, by_name=by_name))
        return hosts

    def _best(self, candidates: Sequence[_Candidate], ourselves: OwnIdentity | None) -> list[_Candidate]:
        """Returns a bounded number of candidates of the best preference, and this gateway in any case.

        When too many have the same preference, some are chosen at random (F07).
        """
        shuffled = self._rng.sample(candidates, len(candidates))
        best = sorted(shuffled, key=lambda candidate: candidate.preference)
        if len(best) <= _HOST_LIMIT:
            return best
        own_names = ourselves.names if ourselves is not None else frozenset()
        return best[:_HOST_LIMIT] + [candidate for candidate in best[_HOST_LIMIT:] if candidate.name in own_names]

    def _judged(self, host: Host, lookups: Sequence[Lookup], ourselves: OwnIdentity | None, *, by_name: bool) -> Host:
        """Returns the host with its addresses in order, and with the reason why it must not be used, if there is
        one.
        """
        silent = _first_silent(lookups)
        has_our_name = ourselves is not None and not ourselves.names.isdisjoint((host.name, host.alias_target))
        if has_our_name and (by_name or not host.addresses):
            # A host with our name is this gateway, even when our address is not known. So hosts of the same or a worse
            # preference, which would hand the mail to us, are left out.
            return replace(host, left_out=IS_OURSELVES)
        if not host.addresses:
            return replace(host, left_out="no answer" if silent else "has no address", unanswered=silent)
        addresses = [ip_address(text) for text in host.addresses]
        ordered = tuple(map(str, self._families.ordered(host.name, addresses, self._rng)))
        if ourselves is None:
            return replace(host, addresses=ordered[:_ADDRESSES_A_HOST])
        if any(ourselves.owns(address, host.port) for address in addresses):
            return replace(host, addresses=ordered, left_out=IS_OURSELVES)
        allowed = [text for text in ordered if not ourselves.prohibits(ip_address(text))]
        if not allowed:
            reason = "its addresses are in a prohibited network"
            return replace(host, addresses=ordered, left_out=reason, unanswered=silent)
        # With DANE, addresses that DNSSEC authenticates are preferred, so these come first when only some are
        # authenticated.
        allowed.sort(key=lambda text: text not in host.secure_addresses)
        chosen = tuple(allowed[:_ADDRESSES_A_HOST])
        return replace(host, addresses=chosen, secure_addresses=host.secure_addresses.intersection(chosen))

    def _ordered(self, hosts: Iterable[Host]) -> list[Host]:
        """Sorts by preference, and hosts of the same preference at random (RFC 5321 5.1)."""
        return sorted(hosts, key=lambda host: (host.preference, self._rng.random()))


IS_OURSELVES = "is this gateway"
NO_BETTER = "is of no better preference than this gateway"
_LOOP = failed(550, "5.4.6", "mail for this domain leads back to this gateway or into a prohibited network")


def parse_literal(domain: str) -> Address | None:
    """Returns the address of `[192.0.2.1]` or `[IPv6:…]` (RFC 5321 4.1.3), or None for a domain, and for other
    literals.
    """
    if not (domain.startswith("[") and domain.endswith("]")):
        return None
    inner = domain[1:-1]
    return _parse_address(inner[5:] if inner.lower().startswith("ipv6:") else inner)


def _parse_address(text: str) -> Address | None:
    try:
        return canonical(text)
    except ValueError:
        return None


def _literal_host(address: Address, port: int, ourselves: OwnIdentity) -> Host:
    host = Host(0, f"[{address}]", port, (str(address),))
    if ourselves.owns(address, port):
        return replace(host, left_out=IS_OURSELVES)
    if ourselves.prohibits_literal(address):
        return replace(host, left_out="its addresses are in a prohibited network")
    return host


def _is_null_mx(lookup: Lookup) -> bool:
    """Returns whether the result is a null MX, which is a single record that names the root (RFC 7505 3)."""
    return len(lookup.records) == 1 and lookup.answers[0].split()[-1] == "."


def _first_silent(lookups: Iterable[Lookup]) -> Lookup | None:
    return next((lookup for lookup in lookups if lookup.outcome is Outcome.NO_ANSWER), None)


def _candidates(lookup: Lookup) -> list[_Candidate]:
    """Returns the hosts of one MX set, each once with its best preference. Records that name the root are left out
    (C108).
    """
    candidates: dict[str, _Candidate] = {}
    for record in lookup.records:
        assert isinstance(record, MX)  # noqa: S101 - the query's type
        name = record.exchange.to_text(omit_final_dot=True).lower()
        if name in ("", ".", "@"):
            continue
        before = candidates.get(name)
        if before is None or record.preference < before.preference:
            candidates[name] = _Candidate(record.preference, name, lookup.asked_of, lookup.authenticated)
    return list(candidates.values())


def _host(candidate: _Candidate, port: int, lookups: Sequence[Lookup]) -> Host:
    """Returns the candidate with all addresses that its look-ups found, and with those that DNSSEC authenticates."""
    addresses: dict[str, None] = {}
    secure: set[str] = set()
    for lookup in lookups:
        texts = [str(canonical(record.address)) for record in lookup.records]  # type: ignore[attr-defined]
        addresses.update(dict.fromkeys(texts))
        if candidate.authenticated and lookup.authenticated:
            secure.update(texts)
    targets = [lookup.canonical for lookup in lookups if lookup.canonical not in ("", candidate.name)]
    return Host(
        candidate.preference,
        candidate.name,
        port,
        tuple(addresses),
        authenticated=candidate.authenticated,
        secure_addresses=frozenset(secure),
        alias_target=targets[0] if targets else "",
    )


def _without_repeats(hosts: Sequence[Host]) -> list[Host]:
    """Returns each host once, with its best preference, where both groups of name servers give it the same
    addresses.
    """
    distinct: dict[tuple[str, frozenset[str], str], Host] = {}
    for host in hosts:
        key = (host.name, frozenset(host.addresses), host.left_out)
        before = distinct.get(key)
        if before is None or host.preference < before.preference:
            distinct[key] = host
    return list(distinct.values())


def _settled(ordered: Sequence[Host], lookups: Sequence[Lookup], looped: ReplyMeaning) -> Targets:
    """Returns the targets. This gateway, and hosts of the same or a worse preference than it has, are marked as
    `left_out`, and come after the hosts that are tried.
    """
    limit = min((host.preference for host in ordered if host.left_out == IS_OURSELVES), default=None)
    if limit is not None:
        ordered = [
            replace(host, left_out=NO_BETTER) if not host.left_out and host.preference >= limit else host
            for host in ordered
        ]
    hosts = tuple(sorted(ordered, key=lambda host: bool(host.left_out)))
    if any(not host.left_out for host in hosts):
        return Targets(hosts, lookups=tuple(lookups))
    for host in hosts:
        if host.unanswered is not None and (limit is None or host.preference < limit):
            return Targets(hosts, no_answer(host.unanswered), tuple(lookups))
    return Targets(hosts, looped, tuple(lookups))


def no_answer(lookup: Lookup) -> ReplyMeaning:
    """Returns the outcome for mail that depends on a look-up that got no answer."""
    return deferred(451, "4.4.3", f"no answer from the name servers for {lookup.name} {lookup.kind}: {lookup.error}")


def _null_mx(domain: str) -> ReplyMeaning:
    return failed(556, "5.1.10", f"{domain} does not accept mail (null MX)")


def _no_addresses(domain: str, mx: Lookup, lookups: Sequence[Lookup]) -> ReplyMeaning:
    silent = _first_silent(lookups)
    if silent is not None:
        return no_answer(silent)
    if mx.outcome is Outcome.FOUND:
        return failed(550, "5.4.4", f"no mail server of {domain} has an address")
    return failed(550, "5.1.2", f"{domain} has neither mail servers nor an address")
