"""Facts that follow from the address of a client alone: whether it is trusted or local, its counter key, and the access
rules on it. This module is pure.

Patterns are grouped by mask, so a look-up costs one dictionary access for each mask, however many rules there are. The
facts are cached for a bounded number of addresses. The cache contains only facts that follow from address and snapshot,
and never facts that a session has proved (C69).
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from immutables import Map, MapMutation

from libs.smtp.network import AddressPattern, canonical_ip, counter_key, parse_pattern, sharing_network
from libs.smtp.value import fast_value
from services.policy.rules.access_tables import Rules, add_rule, remove_rule
from services.policy.rules.configuration import AccessRule
from services.policy.rules.lookup import Lookup, Question

_REMEMBERED = 20_000

# For each (version, mask), the rules by value.
_Group = tuple[int, int, Map[int, Rules]]


@fast_value(frozen=True, slots=True)
class Client:
    """Facts about a client's address under one snapshot."""

    # The canonical text of the address, and the key of its counters.
    address: str
    key: str
    # The /24 or /64 network of the address, which has a share of look-ups and password checks.
    network: str
    trusted: bool
    local: bool
    # True for an address that is neither private nor special, so that DNS block lists are asked about it.
    public: bool
    # The access rules that match the address, with the closest match first, including expired rules.
    access: tuple[AccessRule, ...] = ()
    # The look-ups about the address: its names, and its listing in each zone.
    name_questions: tuple[Question, ...] = ()
    dnsbl_questions: tuple[Question, ...] = ()


class Networks:
    """A set of address ranges."""

    __slots__ = ("_groups",)

    def __init__(self, patterns: Iterable[AddressPattern]) -> None:
        groups: dict[tuple[int, int], set[int]] = {}
        for pattern in patterns:
            groups.setdefault((pattern.version, pattern.mask), set()).add(pattern.value)
        self._groups = tuple((version, mask, frozenset(values)) for (version, mask), values in groups.items())

    def __contains__(self, address: IPv4Address | IPv6Address) -> bool:
        number, version = int(address), address.version
        return any(number & mask in values for of, mask, values in self._groups if of == version)


# DNS block lists are never asked about these networks (C84): 0.0.0.0/8, and the private, shared, loopback, link-local,
# multicast and reserved networks.
_NOT_PUBLIC = Networks(
    parse_pattern(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.168.0.0/16", "224.0.0.0/3", "::/127", "fc00::/7", "fe80::/10", "ff00::/8"),
    )
)


@dataclass(frozen=True, slots=True)
class ClientRules:
    """The access rules on addresses of clients. Rules with the same pattern are in the order of their ids."""

    by_mask: Map[tuple[int, int], Map[int, Rules]] = field(default_factory=Map)

    def changed(
        self,
        removed: Iterable[tuple[AddressPattern, AccessRule]] = (),
        added: Iterable[tuple[AddressPattern, AccessRule]] = (),
    ) -> ClientRules:
        """Returns these rules without some and with others."""
        tables: dict[tuple[int, int], MapMutation[int, Rules]] = {}

        def table(pattern: AddressPattern) -> MapMutation[int, Rules]:
            place = pattern.version, pattern.mask
            if place not in tables:
                tables[place] = self.by_mask.get(place, Map[int, Rules]()).mutate()
            return tables[place]

        for pattern, rule in removed:
            remove_rule(table(pattern), pattern.value, rule)
        for pattern, rule in added:
            add_rule(table(pattern), pattern.value, rule)
        by_mask = self.by_mask.mutate()
        for place, values in tables.items():
            if values:
                by_mask[place] = values.finish()
            else:
                by_mask.pop(place, None)
        return ClientRules(by_mask.finish())

    def closest_first(self) -> tuple[_Group, ...]:
        """Returns (version, mask, rules by value). The mask with the most bits is the closest match."""
        ordered = sorted(self.by_mask.items(), key=lambda group: -group[0][1].bit_count())
        return tuple((version, mask, values) for (version, mask), values in ordered)


class ClientTable:
    """Clients by address."""

    __slots__ = ("_groups", "_known", "_local", "_trusted", "_zones", "rules")

    def __init__(
        self,
        trusted: Iterable[AddressPattern],
        local: Iterable[AddressPattern],
        rules: ClientRules,
        zones: Iterable[str],
    ) -> None:
        self._trusted = Networks(trusted)
        self._local = Networks(local)
        self.rules = rules
        self._groups = rules.closest_first()
        self._zones = tuple(zones)
        self._known: dict[str, Client] = {}

    def with_rules(self, rules: ClientRules) -> ClientTable:
        """Returns this table with other rules."""
        table = copy(self)
        table.rules, table._groups = rules, rules.closest_first()  # noqa: SLF001 - of the same class
        table._known = {}  # noqa: SLF001 - of the same class
        return table

    def find(self, address: str) -> Client:
        """Returns the facts about `address`, as a session gives it. Raises ValueError when it is not an address."""
        client = self._known.get(address)
        if client is None:
            client = self._look_up(address)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[address] = client
        return client

    def _look_up(self, text: str) -> Client:
        address = canonical_ip(text)
        number, version = int(address), address.version
        matching: list[AccessRule] = []
        for of, mask, values in self._groups:
            if of == version:
                matching += values.get(number & mask, ())
        canonical = str(address)
        public = address not in _NOT_PUBLIC
        return Client(
            address=canonical,
            key=counter_key(canonical),
            network=sharing_network(canonical),
            trusted=address in self._trusted,
            local=address in self._local,
            public=public,
            access=tuple(matching),
            name_questions=(Question(Lookup.CLIENT_NAME, canonical),),
            dnsbl_questions=tuple(Question(Lookup.DNSBL, canonical, zone) for zone in self._zones) if public else (),
        )
