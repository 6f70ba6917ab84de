"""The collection `/v1/relay-rules`, and targets in it that no mail can reach."""

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
    """An address, or a domain where a first dot stands for its sub-domains. Raises ValueError."""
    if target_type == "address":
        return full_address(target).local_key()
    return domain_or_below(target)


class RelayRule(Model):
    """Mail to (recipient) or from (sender) a target goes through this relay host."""

    name: Name
    type: Literal["recipient", "sender"] = Field(
        description="Which address is looked at. Any recipient rule beats every sender rule."
    )
    target_type: Literal["address", "domain"] = Field(
        description="What the targets are. An address beats a domain, whatever the position."
    )
    targets: Annotated[list[Target], Field(min_length=1, max_length=10_000)] = Field(
        description="Full addresses, or domains; sub-domains only where a target is written .example.com.",
        examples=[["example.com", ".example.com"]],
    )
    relay_host: RelayHost = Field(description="Where the mail goes.")
    position: int = Field(
        default=0, ge=0, le=1_000_000, description="Among rules alike the lowest is tried first; then the oldest."
    )
    enabled: bool = Field(default=True, description="false: as if it were not there.")

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
    """Targets that another rule takes first, or that alias expansion replaces before rules are asked."""
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
    refuse=refuse_relay_host,
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
