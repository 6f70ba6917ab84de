"""The tables of block and allow lists. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from services.policy.rules.configuration import AccessRule, Criterion, Mode


@dataclass(frozen=True, slots=True)
class AccessTables:
    """The rules by the value that they match exactly (C103). Rules on addresses of clients are in
    `clients.ClientTable`.
    """

    senders: Mapping[str, tuple[AccessRule, ...]] = field(default_factory=dict)
    recipients: Mapping[str, tuple[AccessRule, ...]] = field(default_factory=dict)
    domains: Mapping[str, tuple[AccessRule, ...]] = field(default_factory=dict)
    # The rules written as `.example.com`, by the domain whose subdomains they match.
    subdomains: Mapping[str, tuple[AccessRule, ...]] = field(default_factory=dict)
    # The kinds of entries that the block list has: (criterion, discard, mode).
    blocks: frozenset[tuple[Criterion, bool, Mode]] = frozenset()
    has_allow: bool = False
    # Whether a discard rule is in force.
    has_discard: bool = False

    def with_rule(self, rule: AccessRule, key: str) -> AccessTables:
        """Returns these tables with one more rule, the newest. `key` is the address or domain of the rule. A domain
        whose subdomains match has a dot before it. It is empty when the criterion is an address of clients, because
        such rules are in another table.
        """
        changed = self
        if rule.criterion is Criterion.SENDER:
            changed = replace(changed, senders=_added(self.senders, key, rule))
        elif rule.criterion is Criterion.RECIPIENT:
            changed = replace(changed, recipients=_added(self.recipients, key, rule))
        elif key.startswith("."):
            changed = replace(changed, subdomains=_added(self.subdomains, key[1:], rule))
        elif key:
            changed = replace(changed, domains=_added(self.domains, key, rule))
        if rule.allow:
            return replace(changed, has_allow=True)
        return replace(
            changed,
            blocks=self.blocks | {(rule.criterion, rule.discard, rule.mode)},
            has_discard=self.has_discard or (rule.discard and rule.mode is Mode.ENFORCE),
        )

    def of_domain(self, domain: str) -> tuple[AccessRule, ...]:
        """Returns rules on the domain itself, and then those on the subdomains of each domain above it, the closest
        first.
        """
        rules = self.domains.get(domain, ())
        if self.subdomains:
            above = domain.partition(".")[2]
            while above:
                rules += self.subdomains.get(above, ())
                above = above.partition(".")[2]
        return rules


def _added(
    table: Mapping[str, tuple[AccessRule, ...]], key: str, rule: AccessRule
) -> Mapping[str, tuple[AccessRule, ...]]:
    return {**table, key: (*table.get(key, ()), rule)}
