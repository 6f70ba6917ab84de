"""The collection `/v1/relay-rules`, and targets in it that no mail can reach."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from services.config_api.delivery.checks import refuse_loop, relay_host_password
from services.config_api.filters import boolean, exact, lenient, name_key
from services.config_api.relay_rules.schemas import RelayRule, canonical_target
from services.config_api.resources import Body, Collection, Filter, Finding, Surroundings, UniqueKey


async def check(body: Body, surroundings: Surroundings) -> Sequence[Finding]:
    """Targets that another rule takes first, or that alias expansion replaces before rules are asked."""
    findings = []
    taken: set[str] = set()
    for other in await surroundings.others("relay-rules"):
        alike = other["type"] == body["type"] and other["target_type"] == body["target_type"]
        if alike and other["enabled"] and other["position"] <= body["position"]:
            taken |= {target.lower() for target in other["targets"]}
    aliases: frozenset[str] = frozenset()
    if body["type"] == "recipient" and body["target_type"] == "address":
        aliases = await surroundings.taken("alias", [target.lower() for target in body["targets"]])
    for number, target in enumerate(body["targets"]):
        if target.lower() in taken:
            findings.append(
                Finding(f"/targets/{number}", "unreachable", "Another rule with the same target is tried before.")
            )
        elif target.lower() in aliases:
            findings.append(
                Finding(
                    f"/targets/{number}", "unreachable", "This address is an alias, which is replaced before rules."
                )
            )
    return findings


_form = lenient(*(functools.partial(canonical_target, target_type=kind) for kind in ("address", "domain")))

RELAY_RULES = Collection(
    kind="relay-rules",
    noun="RelayRule",
    plural="RelayRules",
    label="relay rule",
    tag="delivery",
    model=RelayRule,
    secrets=(relay_host_password(),),
    refuse=refuse_loop,
    check=check,
    unique=lambda body: [UniqueKey("relay-rules/name", name_key(body["name"]), "/name")],
    filters={
        "name": exact("name", "The rule's name, without regard to case.", name_key),
        "type": exact("type", "recipient or sender.", choices=("recipient", "sender")),
        "target": Filter(
            "A target, in any form that a rule may be given it in.",
            lambda body: [target.lower() for target in body["targets"]],
            lambda text: _form(text).lower(),
        ),
        "enabled": boolean("enabled"),
    },
)
