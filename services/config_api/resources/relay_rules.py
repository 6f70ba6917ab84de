"""The collection `/v1/relay-rules`, and warnings about targets to which another rule already applies."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.config_api.resources.delivery import RelayHost
from services.config_api.resources.description import Body, CheckContext, Collection, Filter, Finding, UniqueKey
from services.config_api.resources.fields import Model, Name, domain_or_below, fault, full_address, unique
from services.config_api.resources.filters import boolean, exact, lenient, name_key
from services.config_api.resources.relay_host_checks import refuse_relay_host, relay_host_password, unverified

Target = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]+$")]


def canonical_target(target: str, target_type: str) -> str:
    """Returns the canonical form of an address or of a domain. A dot before a domain stands for its subdomains. Raises
    ValueError.
    """
    if target_type == "address":
        return full_address(target).local_key()
    return domain_or_below(target)


class RelayRule(Model):
    """Mail to a target (recipient) or from a target (sender) goes through this relay host."""

    name: Name
    type: Literal["recipient", "sender"] = Field(
        description="The address that is compared. Every recipient rule comes before every sender rule."
    )
    target_type: Literal["address", "domain"] = Field(
        description="The type of the targets. A rule for an address wins over one for a domain, whatever the position."
    )
    targets: Annotated[list[Target], Field(min_length=1, max_length=10_000)] = Field(
        description="Full addresses, or domains. A domain includes its subdomains only if it is written as "
        ".example.com.",
        examples=[["example.com", ".example.com"]],
    )
    relay_host: RelayHost = Field(description="The relay host.")
    position: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Of rules that match equally, the one with the lowest position is used, and then the oldest.",
    )
    enabled: bool = Field(default=True, description="false means that it has no effect.")

    @model_validator(mode="after")
    def _canonical(self) -> Self:
        canonical = []
        for number, target in enumerate(self.targets):
            try:
                canonical.append(canonical_target(target, self.target_type))
            except ValueError as error:
                raise fault("target", str(error), "targets", number) from None
        object.__setattr__(self, "targets", unique(canonical))
        return self


async def check(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Warns about a relay host whose certificate is not verified, about targets to which another rule applies first,
    and about targets that are aliases, which are replaced before rules are applied.
    """
    findings = [*unverified(body)]
    taken: set[str] = set()
    for other in await check_context.others("relay-rules"):
        alike = other["type"] == body["type"] and other["target_type"] == body["target_type"]
        if alike and other["enabled"] and other["position"] <= body["position"]:
            taken |= {target.lower() for target in other["targets"]}
    aliases: frozenset[str] = frozenset()
    if body["type"] == "recipient" and body["target_type"] == "address":
        aliases = await check_context.taken("alias", [target.lower() for target in body["targets"]])
    for number, target in enumerate(body["targets"]):
        if target.lower() in taken:
            findings.append(
                Finding(f"/targets/{number}", "unreachable", "Another rule with the same target comes first.")
            )
        elif target.lower() in aliases:
            findings.append(
                Finding(
                    f"/targets/{number}",
                    "unreachable",
                    "This address is an alias, which is replaced before rules are applied.",
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
    refuse=refuse_relay_host,
    check=check,
    unique=lambda body: [UniqueKey("relay-rules/name", name_key(body["name"]), "/name")],
    filters={
        "name": exact("name", "The name of the rule, without regard to case.", name_key),
        "type": exact("type", "recipient or sender.", choices=("recipient", "sender")),
        "target": Filter(
            "A target, in any form that a rule accepts.",
            lambda body: [target.lower() for target in body["targets"]],
            lambda text: _form(text).lower(),
        ),
        "enabled": boolean("enabled"),
    },
)
