"""Finds the access rules that can never act, among many thousands. This module is pure.

`resources/access_rules.py` makes the same check for one rule when it is written, and compares this rule with others
that may match the same mail.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from libs.smtp.network import AddressPattern, parse_pattern
from services.config_api.resources.access_rules import canonical_value
from services.config_api.resources.description import Body

_ENDED = "Access rules that have ended:"
_COVERED = "Block rules that never act, because an allow rule matches everything that they match:"
_EXEMPT = "Allow rules on networks whose clients are never checked:"
_OF_CLIENTS = ("ip", "network")


def access_rules_that_never_act(
    rules: Sequence[tuple[str, Body]], exempt: Iterable[str], now: datetime
) -> dict[str, list[str]]:
    """Returns the ids of the rules that can never act, by reason. Rules that are turned off are left out. `exempt` are
    the networks whose clients are trusted, or are local and need no login.
    """
    idle: defaultdict[str, list[str]] = defaultdict(list)
    acting: list[tuple[str, Body]] = []
    for rule_id, body in rules:
        if body["expires_at"] is not None and datetime.fromisoformat(body["expires_at"]) <= now:
            idle[_ENDED].append(rule_id)
        elif body["mode"] != "off":
            acting.append((rule_id, body))
    allowed = _Allowed([body for _, body in acting if (body["list"], body["mode"]) == ("allow", "enforce")])
    exempt_networks = _Networks(parse_pattern(text) for text in exempt)
    for rule_id, body in acting:
        if body["list"] == "block" and allowed.cover(body):
            idle[_COVERED].append(rule_id)
        elif body["list"] == "allow" and body["criterion"] == "network" and exempt_networks.cover(body["value"]):
            idle[_EXEMPT].append(rule_id)
    return dict(idle)


class _Networks:
    """Address patterns, grouped by their masks, so that many patterns with one mask cost no more than one."""

    def __init__(self, patterns: Iterable[AddressPattern]) -> None:
        self._values: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for pattern in patterns:
            self._values[pattern.version, pattern.mask].add(pattern.value & pattern.mask)

    def cover(self, value: str) -> bool:
        """Whether one of the patterns matches every address that `value` matches."""
        inner = parse_pattern(value)
        return any(
            version == inner.version and mask & inner.mask == mask and inner.value & mask in values
            for (version, mask), values in self._values.items()
        )


class _Allowed:
    """The allow rules that can act, in a form in which they are found quickly."""

    def __init__(self, bodies: Iterable[Body]) -> None:
        by_criterion: defaultdict[str, set[str]] = defaultdict(set)
        for body in bodies:
            by_criterion[body["criterion"]].add(canonical_value(body["criterion"], body["value"]))
        self._values = by_criterion
        self._networks = _Networks(parse_pattern(text) for name in _OF_CLIENTS for text in by_criterion[name])

    def cover(self, block: Body) -> bool:
        """Whether these allow rules match everything that a block rule matches. A block rule about clients is compared
        only with allow rules about clients.
        """
        criterion, value = block["criterion"], canonical_value(block["criterion"], block["value"])
        if criterion in _OF_CLIENTS:
            return self._networks.cover(value)
        if value in self._values[criterion]:
            return True
        return criterion in ("sender", "domain") and self._covers_domain(value)

    def _covers_domain(self, value: str) -> bool:
        domains = self._values["domain"]
        domain = value.rpartition("@")[2]
        if domain in domains:
            return True
        # `.example.com` stands for all names below example.com.
        labels = domain.lstrip(".").split(".")
        above = ("." + ".".join(labels[start:]) for start in range(1, len(labels)))
        return any(name in domains for name in above)
