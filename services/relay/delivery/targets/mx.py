"""Where a destination's servers are: MX and address look-ups; which hosts found may be tried, and in what order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from dns.rdtypes.ANY.MX import MX

from libs.smtp.address import canonical_domain
from libs.smtp.value import value
from services.relay.delivery.targets.dns import Finding, HostsFile, Lookup, Resolver
from services.relay.model.outcome import Verdict, deferred, failed

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Hosts of one MX set whose addresses are asked for, best first.
_HOST_LIMIT = 16
_ADDRESSES_A_HOST = 4


@value(frozen=True, slots=True)
class Host:
    """A server of a destination."""

    preference: int
    name: str
    port: int
    # In the order in which they are tried.
    addresses: tuple[str, ...] = ()
    # Why it isn't tried; empty when it is.
    left_out: str = ""
    # DNSSEC vouches for the way from the domain to this name, and for its addresses.
    authenticated: bool = False
    # The look-up without which its addresses are not known.
    unanswered: Lookup | None = None


@value(frozen=True, slots=True)
class Targets:
    """Every host of a destination, those that are tried first and in order; or why there is none."""

    hosts: tuple[Host, ...] = ()
    failure: Verdict | None = None
    lookups: tuple[Lookup, ...] = ()


@value(frozen=True, slots=True)
class Ourselves:
    """What this gateway is known by: mail sent there would come back (RFC 5321 5.1)."""

    names: frozenset[str]
    # Port 0: any.
    addresses: frozenset[tuple[Address, int]]
    prohibited: tuple[Network, ...]
    # Where moreover no address literal may lead.
    prohibited_literals: tuple[Network, ...] = ()

    def owns(self, address: Address, port: int) -> bool:
        return (address, port) in self.addresses or (address, 0) in self.addresses

    def prohibits(self, address: Address) -> bool:
        return _in(address, self.prohibited)

    def prohibits_literal(self, address: Address) -> bool:
        return self.prohibits(address) or _in(address, self.prohibited_literals)


def _in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


@dataclass(slots=True)
class _Named:
    """A host on its way to the list: named by some servers at some preference."""

    preference: int
    name: str
    servers: list[tuple[str, ...]]
    authenticated: bool


class Exchangers:
    """Finds servers. One for the process; `chance` shuffles among equals."""

    def __init__(
        self, resolver: Resolver, chance: random.Random, port: int, hosts_file: HostsFile | None = None
    ) -> None:
        """`port` is the MX hosts'; `hosts_file` is asked first for hosts that the operator names."""
        self._resolver = resolver
        self._hosts_file = hosts_file or HostsFile()
        self._chance = chance
        self._port = port
        self._families = Families()

    @property
    def families(self) -> Families:
        return self._families

    async def of_domain(self, domain: str, ourselves: Ourselves) -> Targets:
        """The servers of somebody's domain, or of an address literal, asked of the process' name servers."""
        literal = parse_literal(domain)
        if literal is not None:
            return _settled([_literal_host(literal, self._port, ourselves)], (), looped=_LOOP)
        if domain.startswith("["):
            return Targets(failure=failed(550, "5.1.2", f"{domain} is no address literal"))
        lookup = await self._resolver.lookup(domain, "MX")
        lookups = [lookup]
        if lookup.finding is Finding.NO_ANSWER:
            return Targets(failure=_silent(lookup), lookups=tuple(lookups))
        if _is_null_mx(lookup):
            return Targets(failure=_null_mx(domain), lookups=tuple(lookups))
        named = _named([lookup])
        if not named:
            if lookup.nonexistent:
                return Targets(failure=failed(550, "5.1.2", f"{domain} does not exist"), lookups=tuple(lookups))
            if lookup.finding is Finding.FOUND:
                return Targets(failure=_null_mx(domain), lookups=tuple(lookups))
            named = [_Named(0, lookup.canonical or domain, [()], lookup.authenticated)]
        hosts = await self._with_addresses(named, ourselves, lookups)
        if not any(host.addresses or host.left_out == IS_OURSELVES for host in hosts):
            return Targets(tuple(hosts), _no_addresses(domain, lookup, lookups), tuple(lookups))
        return _settled(self._ordered(hosts), lookups, looped=_LOOP)

    async def of_relay_domain(
        self, domain: str, ourselves: Ourselves, preferred: Sequence[str], alternate: Sequence[str]
    ) -> Targets:
        """A relay domain's own servers: the MX sets of two groups of name servers merged, ourselves left out.

        Unlike in `of_domain` nothing here bounces for want of a server: the operator named the domain, so what is
        wrong is set right and the mail goes on.
        """
        groups = [tuple(preferred), tuple(alternate)] if alternate else [tuple(preferred)]
        lookups = list(await asyncio.gather(*(self._resolver.lookup(domain, "MX", group) for group in groups)))
        silent = next((lookup for lookup in lookups if lookup.finding is Finding.NO_ANSWER), None)
        usable = [lookup for lookup in lookups if not _is_null_mx(lookup)]
        if not usable:
            return Targets(failure=_null_mx(domain), lookups=tuple(lookups))
        named = _named(usable)
        if not named and silent is None:
            without_mx = [
                group
                for group, lookup in zip(groups, lookups, strict=True)
                if lookup.finding is Finding.NONE and not lookup.nonexistent
            ]
            named = [_Named(0, domain, without_mx, False)] if without_mx else []
        hosts = await self._with_addresses(named, ourselves, lookups)
        if silent is not None and not any(host.addresses and not host.left_out for host in hosts):
            return Targets(tuple(hosts), _silent(silent), tuple(lookups))
        if not any(host.addresses or host.unanswered or host.left_out == IS_OURSELVES for host in hosts):
            reason = f"no name server knows a mail server of the relay domain {domain}"
            return Targets(tuple(hosts), deferred(451, "4.4.4", reason), tuple(lookups))
        nothing_better = deferred(451, "4.4.6", f"no mail server of {domain} is better than this gateway itself")
        return _settled(self._ordered(hosts), lookups, looped=nothing_better)

    async def of_named_host(self, name: str, port: int) -> Targets:
        """A server that the operator named: an address or a name, never looked up as MX, and anywhere at all."""
        bare = name.strip("[]")
        literal = _parse_address(bare.removeprefix("IPv6:"))
        if literal is not None:
            return Targets((Host(0, str(literal), port, (str(literal),)),))
        if not bare.isascii():
            try:
                bare = canonical_domain(bare)
            except ValueError:
                return Targets(failure=deferred(451, "4.4.4", "the host's name is no domain name"))
        if bare == "localhost" or bare.endswith(".localhost"):
            # RFC 6761 6.3: never asked of a name server.
            return Targets((Host(0, bare, port, ("127.0.0.1", "::1")),))
        listed = self._hosts_file.addresses(bare.lower().rstrip("."))
        if listed:
            return Targets((Host(0, bare, port, listed[:_ADDRESSES_A_HOST]),))
        lookups: list[Lookup] = []
        (host,) = await self._with_addresses([_Named(0, bare, [()], True)], None, lookups, port)
        if host.addresses:
            return Targets((host,), lookups=tuple(lookups))
        silent = next((lookup for lookup in lookups if lookup.finding is Finding.NO_ANSWER), None)
        if silent is not None:
            return Targets((host,), _silent(silent), tuple(lookups))
        # Not a bounce: the name is the operator's to put right.
        return Targets((host,), deferred(451, "4.4.4", f"{bare} has no address"), tuple(lookups))

    async def _with_addresses(
        self, named: Sequence[_Named], ourselves: Ourselves | None, lookups: list[Lookup], port: int = 0
    ) -> list[Host]:
        """The hosts with their addresses; what was asked is added to `lookups`."""
        best = sorted(named, key=lambda one: one.preference)
        if len(best) > _HOST_LIMIT:
            ours = ourselves.names if ourselves is not None else ()
            best = best[:_HOST_LIMIT] + [one for one in best[_HOST_LIMIT:] if one.name in ours]
        questions = [
            self._resolver.lookup(one.name, kind, servers)
            for one in best
            for servers in one.servers
            for kind in ("AAAA", "A")
        ]
        answers = iter(await asyncio.gather(*questions))
        hosts = []
        for one in best:
            own = [next(answers) for _ in one.servers for _ in range(2)]
            lookups.extend(own)
            found = dict.fromkeys(
                canonical(record.address)  # type: ignore[attr-defined]
                for lookup in own
                for record in lookup.records
            )
            authenticated = one.authenticated and all(lookup.authenticated for lookup in own)
            host = Host(one.preference, one.name, port or self._port, authenticated=authenticated)
            hosts.append(self._judged(host, list(found), own, ourselves))
        return hosts

    def _judged(
        self, host: Host, addresses: list[Address], lookups: Sequence[Lookup], ourselves: Ourselves | None
    ) -> Host:
        """The host with its addresses in order, and with what speaks against it."""
        names = {host.name, *(lookup.canonical for lookup in lookups if lookup.canonical)}
        if ourselves is not None and not ourselves.names.isdisjoint(names):
            # Also where its address is not known: those of no better preference would give the mail to us.
            return replace(host, addresses=tuple(map(str, addresses)), left_out=IS_OURSELVES)
        if not addresses:
            silent = next((lookup for lookup in lookups if lookup.finding is Finding.NO_ANSWER), None)
            return replace(host, left_out="no answer" if silent else "has no address", unanswered=silent)
        ordered = tuple(map(str, self._families.ordered(host.name, addresses, self._chance)))
        if ourselves is None:
            return replace(host, addresses=ordered[:_ADDRESSES_A_HOST])
        own = next((address for address in addresses if ourselves.owns(address, host.port)), None)
        if own is not None:
            return replace(host, addresses=ordered, left_out=IS_OURSELVES)
        allowed = tuple(text for text in ordered if not ourselves.prohibits(ip_address(text)))
        if not allowed:
            return replace(host, addresses=ordered, left_out="its addresses are in a prohibited network")
        return replace(host, addresses=allowed[:_ADDRESSES_A_HOST])

    def _ordered(self, hosts: Iterable[Host]) -> list[Host]:
        """Best preference first; equals in random order (RFC 5321 5.1)."""
        return sorted(hosts, key=lambda host: (host.preference, self._chance.random()))


IS_OURSELVES = "is this gateway"
NO_BETTER = "is of no better preference than this gateway"
_LOOP = failed(550, "5.4.6", "mail for this domain leads back to this gateway or into a prohibited network")


class Families:
    """Which address family worked last for a host; bounded. The first tried costs nothing, the dead one a time-out."""

    _LIMIT = 10_000

    def __init__(self) -> None:
        self._good: dict[str, int] = {}

    def remember(self, host: str, address: str) -> None:
        if len(self._good) >= self._LIMIT:
            self._good.clear()
        self._good[host] = 6 if ":" in address else 4

    def ordered(self, host: str, addresses: Sequence[Address], chance: random.Random) -> list[Address]:
        """The two families in turn, beginning with the good one, so that a few tries reach both."""
        shuffled = list(addresses)
        chance.shuffle(shuffled)
        first = self._good.get(host, 6)
        one = [address for address in shuffled if address.version == first]
        other = [address for address in shuffled if address.version != first]
        mixed: list[Address] = []
        for index in range(max(len(one), len(other))):
            mixed += one[index : index + 1] + other[index : index + 1]
        return mixed


def canonical(text: str) -> Address:
    """The address; a mapped IPv4 address as IPv4."""
    address = ip_address(text)
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def parse_literal(domain: str) -> Address | None:
    """The address of `[192.0.2.1]` or `[IPv6:…]` (RFC 5321 4.1.3); None for a domain, and for other literals."""
    if not (domain.startswith("[") and domain.endswith("]")):
        return None
    inner = domain[1:-1]
    return _parse_address(inner[5:] if inner.lower().startswith("ipv6:") else inner)


def _parse_address(text: str) -> Address | None:
    try:
        return canonical(text)
    except ValueError:
        return None


def _literal_host(address: Address, port: int, ourselves: Ourselves) -> Host:
    host = Host(0, f"[{address}]", port, (str(address),))
    if ourselves.owns(address, port):
        return replace(host, left_out=IS_OURSELVES)
    if ourselves.prohibits_literal(address):
        return replace(host, left_out="its addresses are in a prohibited network")
    return host


def _is_null_mx(lookup: Lookup) -> bool:
    """RFC 7505 3: a single record that names the root."""
    return len(lookup.records) == 1 and lookup.answers[0].split()[-1] == "."


def _named(lookups: Sequence[Lookup]) -> list[_Named]:
    """The hosts of MX sets, each once with its best preference; entries that name the root are passed over (C108)."""
    named: dict[str, _Named] = {}
    for lookup in lookups:
        for record in lookup.records:
            assert isinstance(record, MX)  # noqa: S101 - the query's type
            name = record.exchange.to_text(omit_final_dot=True).lower()
            if name in ("", ".", "@"):
                continue
            known = named.get(name)
            if known is None:
                named[name] = _Named(record.preference, name, [lookup.asked_of], lookup.authenticated)
                continue
            known.preference = min(known.preference, record.preference)
            known.authenticated = known.authenticated and lookup.authenticated
            if lookup.asked_of not in known.servers:
                known.servers.append(lookup.asked_of)
    return list(named.values())


def _settled(ordered: Sequence[Host], lookups: Sequence[Lookup], looped: Verdict) -> Targets:
    """Ourselves and those of no better preference left out; those that remain come first."""
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
            return Targets(hosts, _silent(host.unanswered), tuple(lookups))
    return Targets(hosts, looped, tuple(lookups))


def _silent(lookup: Lookup) -> Verdict:
    return deferred(451, "4.4.3", f"no answer from the name servers for {lookup.name} {lookup.kind}: {lookup.error}")


def _null_mx(domain: str) -> Verdict:
    return failed(556, "5.1.10", f"{domain} does not take mail (null MX)")


def _no_addresses(domain: str, mx: Lookup, lookups: Sequence[Lookup]) -> Verdict:
    silent = next((lookup for lookup in lookups if lookup.finding is Finding.NO_ANSWER), None)
    if silent is not None:
        return _silent(silent)
    if mx.finding is Finding.FOUND:
        return failed(550, "5.4.4", f"no mail server of {domain} has an address")
    return failed(550, "5.1.2", f"{domain} has neither mail servers nor an address")
