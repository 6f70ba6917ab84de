"""The tables of block and allow lists. This module is pure.

A change of a few rules makes new tables that share everything else with the former tables. So it costs little, however
many rules there are.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from immutables import Map, MapMutation

from services.policy.rules.configuration import AccessRule, Criterion, Mode

Key = TypeVar("Key", bound=Hashable)
Rules: TypeAlias = tuple[AccessRule, ...]


@dataclass(frozen=True, slots=True)
class PlacedRule:
    """A rule with the address or domain that it matches. A domain whose subdomains match has a dot before it."""

    rule: AccessRule
    key: str


@dataclass(frozen=True, slots=True)
class AccessTables:
    """The rules by the value that they match exactly (C103). Rules on addresses of clients are in
    `clients.ClientRules`; here only their kinds are counted.
    """

    senders: Map[str, Rules] = field(default_factory=Map)
    recipients: Map[str, Rules] = field(default_factory=Map)
    domains: Map[str, Rules] = field(default_factory=Map)
    # The rules written as `.example.com`, by the domain whose subdomains they match.
    subdomains: Map[str, Rules] = field(default_factory=Map)
    # The number of rules of each kind: (whether it allows, criterion, whether it discards, mode).
    kinds: Map[tuple[bool, Criterion, bool, Mode], int] = field(default_factory=Map)
    # The kinds of entries that the block list has: (criterion, discard, mode).
    blocks: frozenset[tuple[Criterion, bool, Mode]] = field(init=False)
    has_allow: bool = field(init=False)
    # Whether a discard rule is in force.
    has_discard: bool = field(init=False)

    def __post_init__(self) -> None:
        blocks = frozenset((criterion, discard, mode) for allow, criterion, discard, mode in self.kinds if not allow)
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "has_allow", any(allow for allow, _, _, _ in self.kinds))
        object.__setattr__(self, "has_discard", any(discard and mode is Mode.ENFORCE for _, discard, mode in blocks))

    def changed(
        self,
        removed: Iterable[PlacedRule] = (),
        added: Iterable[PlacedRule] = (),
        removed_of_clients: Iterable[AccessRule] = (),
        added_of_clients: Iterable[AccessRule] = (),
    ) -> AccessTables:
        """Returns these tables without some rules and with others. Rules with the same key are in the order of their
        ids, which is the order of their creation.
        """
        senders, recipients = self.senders.mutate(), self.recipients.mutate()
        domains, subdomains, kinds = self.domains.mutate(), self.subdomains.mutate(), self.kinds.mutate()

        def place(placed: PlacedRule) -> tuple[MapMutation[str, Rules], str]:
            if placed.rule.criterion is Criterion.SENDER:
                return senders, placed.key
            if placed.rule.criterion is Criterion.RECIPIENT:
                return recipients, placed.key
            return (subdomains, placed.key[1:]) if placed.key.startswith(".") else (domains, placed.key)

        for each in removed:
            remove_rule(*place(each), each.rule)
            _count(kinds, each.rule, -1)
        for each in added:
            add_rule(*place(each), each.rule)
            _count(kinds, each.rule, 1)
        for rule in removed_of_clients:
            _count(kinds, rule, -1)
        for rule in added_of_clients:
            _count(kinds, rule, 1)
        tables = (senders.finish(), recipients.finish(), domains.finish(), subdomains.finish())
        return AccessTables(*tables, kinds=kinds.finish())

    def of_domain(self, domain: str) -> Rules:
        """Returns rules on the domain itself, and then the rules on the subdomains of each domain above it, beginning
        with the closest.
        """
        rules = self.domains.get(domain, ())
        if self.subdomains:
            above = domain.partition(".")[2]
            while above:
                rules += self.subdomains.get(above, ())
                above = above.partition(".")[2]
        return rules


def add_rule(table: MapMutation[Key, Rules], key: Key, rule: AccessRule) -> None:
    """Adds a rule to those with the same key, in the order of their ids."""
    rules = table.get(key, ())
    if rules and rules[-1].id > rule.id:
        table[key] = tuple(sorted((*rules, rule), key=lambda each: each.id))
    else:
        table[key] = (*rules, rule)


def remove_rule(table: MapMutation[Key, Rules], key: Key, rule: AccessRule) -> None:
    """Removes the rule with the same id. If no rule is left, the key is removed too."""
    rules = tuple(each for each in table.get(key, ()) if each.id != rule.id)
    if rules:
        table[key] = rules
    else:
        table.pop(key, None)


def _count(kinds: MapMutation[tuple[bool, Criterion, bool, Mode], int], rule: AccessRule, number: int) -> None:
    kind = rule.allow, rule.criterion, rule.discard, rule.mode
    count = kinds.get(kind, 0) + number
    if count:
        kinds[kind] = count
    else:
        kinds.pop(kind, None)
