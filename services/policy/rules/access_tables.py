"""The tables of block and allow lists. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.policy.rules.configuration import AccessRule, Criterion, Mode


@dataclass(frozen=True, slots=True)
class AccessTables:
    """Rules by what they match exactly (C103); those on addresses are in `clients.ClientTable`."""

    senders: Mapping[str, tuple[AccessRule, ...]] = field(default_factory=dict)
    recipients: Mapping[str, tuple[AccessRule, ...]] = field(default_factory=dict)
    domains: Mapping[str, tuple[AccessRule, ...]] = field(default_factory=dict)
    # Written `.example.com`: by the domain whose sub-domains they match.
    subdomains: Mapping[str, tuple[AccessRule, ...]] = field(default_factory=dict)
    # What there is of the block list at all: (criterion, discard, mode).
    blocks: frozenset[tuple[Criterion, bool, Mode]] = frozenset()
    has_allow: bool = False
    # Whether a discard rule is in force.
    has_discard: bool = False

    def of_domain(self, domain: str) -> tuple[AccessRule, ...]:
        """Rules on the domain itself, then those on the sub-domains of each domain above it, the closest first."""
        rules = self.domains.get(domain, ())
        if self.subdomains:
            above = domain.partition(".")[2]
            while above:
                rules += self.subdomains.get(above, ())
                above = above.partition(".")[2]
        return rules
