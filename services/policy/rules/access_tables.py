"""The tables of block and allow lists. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from libs.smtp.value import value
from services.policy.rules.configuration import AccessRule, Criterion, Mode


@value(frozen=True, slots=True)
class AccessTables:
    """Rules by what they match exactly (C103); those on addresses are in `clients.ClientTable`."""

    senders: Mapping[str, tuple[AccessRule, ...]] = field(default_factory=dict)
    recipients: Mapping[str, tuple[AccessRule, ...]] = field(default_factory=dict)
    domains: Mapping[str, tuple[AccessRule, ...]] = field(default_factory=dict)
    # What there is at all: (criterion, allow, mode).
    kinds: frozenset[tuple[Criterion, bool, Mode]] = frozenset()
    has_allow: bool = False
