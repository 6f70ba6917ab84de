"""The collection `/v1/access-rules`."""

from __future__ import annotations

import functools
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from libs.smtp.address import canonical_domain, parse_address
from libs.smtp.network import parse_pattern
from services.config_api.resources.description import Body, Collection, Filter, UniqueKey
from services.config_api.resources.fields import Instant, Label, Mode, Model, fault, ip_address
from services.config_api.resources.filters import exact, lenient, name_key

Criterion = Literal["sender", "recipient", "ip", "network", "domain"]


def canonical_value(criterion: str, value: str) -> str:
    """The value as it is matched. Raises ValueError."""
    match criterion:
        case "ip":
            return ip_address(value)
        case "network":
            return str(parse_pattern(value))
        case "domain":
            return canonical_domain(value)
        case _:
            # Unicode composition makes no other address of it.
            return parse_address(value).matching_key()


class AccessRule(Model):
    """An entry of the block or allow list. Each criterion is matched exactly; an allow rule never grants relaying."""

    name: Label = ""
    list: Literal["block", "allow"] = Field(description="What a match does. An allow match beats a block match.")
    criterion: Criterion = Field(
        description="What is compared: the envelope's sender or recipient (full address), the client's ip or network, "
        "or the sender's domain (allow rules only)."
    )
    value: Annotated[
        str, Field(min_length=1, max_length=512, pattern=r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]+$")
    ] = Field(
        description="An address, an IP address, a network (CIDR, or address/netmask where an IPv4 mask may be any bit "
        "pattern), or a domain; kept in canonical form.",
        examples=["192.0.2.7", "192.163.1.1/255.100.10.1", "user@example.com"],
    )
    action: Literal["reject", "discard"] | None = Field(
        default=None,
        description="Block rules only, reject when left out: answer 554 5.7.1, or take the mail and drop it.",
    )
    mode: Mode = "enforce"
    expires_at: Instant | None = Field(default=None, description="When the rule ends; null: never.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.list == "allow" and self.action is not None:
            raise fault("action_on_allow", "it belongs to block rules", "action")
        if self.list == "block" and self.criterion == "domain":
            raise fault("domain_on_block", "domain belongs to allow rules", "criterion")
        if self.list == "block" and self.action is None:
            object.__setattr__(self, "action", "reject")
            self.__pydantic_fields_set__.add("action")
        try:
            object.__setattr__(self, "value", canonical_value(self.criterion, self.value))
        except ValueError as error:
            raise fault("value", str(error), "value") from None
        return self


class AccessRuleShown(Model):
    """What is read-only in an access rule."""

    hits: int = Field(ge=0, description="Sessions and messages that it matched.")
    last_hit_at: Instant | None = Field(default=None, description="Its last match; null: none yet.")


def _key(body: Body) -> str:
    """What the rule says; (list, criterion, value) is only there once."""
    return f"{body['list']} {body['criterion']} {body['value']}"


# A text of one criterion is none of another's: only an address has an @, only a network a slash.
_FORM = lenient(*(functools.partial(canonical_value, criterion) for criterion in ("ip", "sender", "domain", "network")))

ACCESS_RULES = Collection(
    kind="access-rules",
    noun="AccessRule",
    plural="AccessRules",
    label="access rule",
    tag="security",
    model=AccessRule,
    shown=AccessRuleShown,
    unique=lambda body: [UniqueKey("access-rules/value", _key(body), "/value")],
    filters={
        "name": exact("name", "The rule's name, without regard to case.", name_key),
        "list": exact("list", "block or allow.", choices=("block", "allow")),
        "criterion": exact(
            "criterion", "What is compared.", choices=("sender", "recipient", "ip", "network", "domain")
        ),
        "value": Filter("The value, in any form that a rule may be given it in.", lambda body: [body["value"]], _FORM),
        "mode": exact("mode", "off, shadow or enforce.", choices=("off", "shadow", "enforce")),
    },
)
