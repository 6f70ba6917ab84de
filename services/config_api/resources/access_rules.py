"""The collection `/v1/access-rules`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from libs.smtp.network import AddressPattern, parse_pattern
from services.config_api.resources.description import (
    Body,
    CheckContext,
    Collection,
    Filter,
    Finding,
    UniqueKey,
    named,
)
from services.config_api.resources.fields import (
    Instant,
    Label,
    Mode,
    Model,
    domain_or_below,
    fault,
    full_address,
    ip_address,
)
from services.config_api.resources.filters import exact, lenient, name_key

Criterion = Literal["sender", "recipient", "ip", "network", "domain"]


def canonical_value(criterion: str, value: str) -> str:
    """Returns the value in the form in which it is compared. Raises ValueError."""
    match criterion:
        case "ip":
            return ip_address(value)
        case "network":
            return str(parse_pattern(value))
        case "domain":
            return domain_or_below(value)
        case _:
            return full_address(value).local_key()


def _hint(criterion: str, value: str) -> str:
    """Returns a hint for a value that is a pattern: which criterion has the effect that the pattern probably was meant
    to have (F27). The result is empty for any other value.
    """
    if criterion in ("sender", "recipient"):
        domain = value.rpartition("@")[2]
        if value.startswith(("@", "*@")) or ("@" not in value and "." in value):
            return f"a full address is compared exactly; for a whole domain, {_for_domain(criterion)}"
        if "*" in value or domain.startswith("*"):
            return (
                f"a full address is compared exactly, and patterns are not allowed; for a whole domain, "
                f"{_for_domain(criterion)}"
            )
    if criterion == "ip" and ("/" in value or "*" in value):
        return "this must be a single address; for a range use the criterion network, for example 192.0.2.0/24"
    if criterion == "network" and "*" in value:
        return "a range is written as CIDR or address/netmask, for example 192.0.2.0/24"
    return ""


def _for_domain(criterion: str) -> str:
    if criterion == "sender":
        return "use the criterion domain, with the domain alone"
    return "make one rule for each address"


class AccessRule(Model):
    """An entry of the block list or allow list. Values are compared exactly. An allow rule never permits relaying."""

    name: Label = ""
    list: Literal["block", "allow"] = Field(description="The effect of a match. An allow rule wins over a block rule.")
    criterion: Criterion = Field(
        description="The fact that is compared: the envelope's sender or recipient (a full address), the client's ip "
        "or network, or the sender's domain."
    )
    value: Annotated[
        str, Field(min_length=1, max_length=512, pattern=r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]+$")
    ] = Field(
        description="An address, an IP address, a network (CIDR, or address/netmask, where an IPv4 mask may be any "
        "bit pattern), or a domain, where .example.com stands for all its subdomains. Patterns are not "
        "allowed.",
        examples=["192.0.2.7", "192.163.1.1/255.100.10.1", "user@example.com"],
    )
    action: Literal["reject", "discard"] | None = Field(
        default=None,
        description="For block rules only: reject (the default) answers 554 5.7.1, and discard accepts the mail and "
        "drops it.",
    )
    mode: Mode = "enforce"
    expires_at: Instant | None = Field(default=None, description="When the rule ends. null means never.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.list == "allow" and self.action is not None:
            raise fault("action_on_allow", "only block rules have an action", "action")
        if self.list == "block" and self.action is None:
            object.__setattr__(self, "action", "reject")
            self.__pydantic_fields_set__.add("action")
        if hint := _hint(self.criterion, self.value):
            raise fault("pattern", hint, "value")
        try:
            canonical = canonical_value(self.criterion, self.value)
        except ValueError as error:
            raise fault("value", str(error), "value") from None
        if self.criterion != "network":
            object.__setattr__(self, "value", canonical)
        return self


class AccessRuleShown(Model):
    """The read-only members of an access rule."""

    canonical: str = Field(description="The value in the form in which it is compared. A network has no host bits.")
    hits: int = Field(ge=0, description="The number of sessions and messages that it matched.")
    last_hit_at: Instant | None = Field(
        default=None, description="The time of its last match. null means that there was none."
    )


def _key(body: Body) -> str:
    """Returns the unique key of a rule: (list, criterion, value)."""
    return f"{body['list']} {body['criterion']} {canonical_value(body['criterion'], body['value'])}"


def _terms(body: Body) -> list[str]:
    return [canonical_value(body["criterion"], body["value"])]


async def check(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Returns warnings when the rule can never act, matches every client, or prevents other rules from acting (F28)."""
    findings = []
    now = datetime.now(UTC)
    if _has_ended(body, now):
        findings.append(Finding("/expires_at", "ended", "The rule has already ended, so it never acts."))
    if body["criterion"] == "network" and parse_pattern(body["value"]).mask == 0:
        findings.append(Finding("/value", "everyone", "It matches every client of its IP version."))
    if body["mode"] == "off" or findings:
        return findings
    if body["list"] == "block":
        wider = [rule for rule in await _rules_on("allow", body, check_context, _wider(body)) if _acts(rule, now)]
        findings += named(
            "covered",
            "This rule never acts, because the allow rule on {} matches everything that it matches, and wins.",
            [rule["value"] for rule in wider if _covers(rule, body)],
            "/value",
        )
    elif body["mode"] == "enforce":
        narrower = [rule for rule in await _rules_on("block", body, check_context, _narrower(body)) if _acts(rule, now)]
        findings += named(
            "covers",
            "The block rule on {} never acts, because this rule matches everything that it matches, and wins.",
            [rule["value"] for rule in narrower if _covers(body, rule)],
            "/value",
        )
        findings += await _exempt_already(body, check_context)
    return findings


def _has_ended(rule: Body, now: datetime) -> bool:
    return rule["expires_at"] is not None and datetime.fromisoformat(rule["expires_at"]) <= now


def _acts(rule: Body, now: datetime) -> bool:
    return not _has_ended(rule, now) and (
        rule["mode"] == "enforce" or (rule["list"], rule["mode"]) == ("block", "shadow")
    )


_OF_CLIENTS = ("ip", "network")


async def _rules_on(
    list_name: str, body: Body, check_context: CheckContext, values: Sequence[str] | None
) -> Sequence[Body]:
    """Returns rules of the other list that may match the same mail. A rule about clients is compared only with other
    rules about clients. `values` are the values that the returned rules may have; None means any value.
    """
    if body["criterion"] in _OF_CLIENTS:
        criteria: tuple[str, ...] = _OF_CLIENTS
    elif body["criterion"] == "recipient":
        criteria = ("recipient",)
    else:
        criteria = ("sender", "domain")
    places = [("criterion", each) for each in criteria] if values is None else [("value", each) for each in values]
    return [
        rule
        for member, value in places
        for rule in await check_context.matching("access-rules", member, value)
        if rule["list"] == list_name and rule["criterion"] in criteria
    ]


def _wider(body: Body) -> Sequence[str] | None:
    """Returns all values with which a rule would match everything that this rule matches, or None when there are too
    many.
    """
    value = canonical_value(body["criterion"], body["value"])
    if body["criterion"] in _OF_CLIENTS:
        return None
    if body["criterion"] == "recipient":
        return [value]
    domain = value.rpartition("@")[2]
    labels = domain.removeprefix(".").split(".")
    return list(dict.fromkeys([value, domain, *("." + ".".join(labels[at:]) for at in range(1, len(labels)))]))


def _narrower(body: Body) -> Sequence[str] | None:
    """Returns all values with which a rule would match only what this rule matches, or None when there are too many."""
    if body["criterion"] in ("sender", "recipient"):
        return [canonical_value(body["criterion"], body["value"])]
    return None


def _covers(wide: Body, narrow: Body) -> bool:
    """Whether `wide` matches everything that `narrow` matches."""
    outer = canonical_value(wide["criterion"], wide["value"])
    inner = canonical_value(narrow["criterion"], narrow["value"])
    if narrow["criterion"] in _OF_CLIENTS:
        return _within(parse_pattern(outer), parse_pattern(inner))
    if wide["criterion"] == narrow["criterion"] and outer == inner:
        return True
    if wide["criterion"] != "domain":
        return False
    domain = inner.rpartition("@")[2]
    # The value of a rule about subdomains begins with a dot.
    return domain == outer or (outer.startswith(".") and domain.endswith(outer))


def _within(outer: AddressPattern, inner: AddressPattern) -> bool:
    same_bits = outer.mask & inner.mask == outer.mask and inner.value & outer.mask == outer.value
    return outer.version == inner.version and same_bits


async def _exempt_already(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Returns a warning about an allow rule on a network whose clients are never checked."""
    if body["criterion"] != "network":
        return ()
    inner = parse_pattern(body["value"])
    auth = (await check_context.settings("settings/general"))["smtp_auth"]
    local = auth["local_networks"] if auth["skip_for_local_networks"] else []
    trusted = [
        network
        for found in await check_context.others("trusted-networks")
        if found["enabled"]
        for network in found["networks"]
    ]
    if any(_within(parse_pattern(network), inner) for network in (*local, *trusted)):
        return (
            Finding(
                "/value",
                "exempt",
                "These clients are in a trusted network or a network without login, so they are never checked.",
            ),
        )
    return ()


# Converts a filter value to the form in which it is compared. The first criterion that accepts the text is used. An
# e-mail address has an @, and a network has a slash.
_FORM = lenient(*(functools.partial(canonical_value, criterion) for criterion in ("ip", "sender", "domain", "network")))

ACCESS_RULES = Collection(
    kind="access-rules",
    noun="AccessRule",
    plural="AccessRules",
    label="access rule",
    tag="security",
    model=AccessRule,
    shown=AccessRuleShown,
    check=check,
    show=lambda body: {"canonical": canonical_value(body["criterion"], body["value"])},
    unique=lambda body: [UniqueKey("access-rules/value", _key(body), "/value")],
    filters={
        "name": exact("name", "The name of the rule, without regard to case.", name_key),
        "list": exact("list", "block or allow.", choices=("block", "allow")),
        "criterion": exact(
            "criterion", "The fact that is compared.", choices=("sender", "recipient", "ip", "network", "domain")
        ),
        "value": Filter("The value, in any form that a rule accepts.", _terms, _FORM),
        "mode": exact("mode", "off, shadow or enforce.", choices=("off", "shadow", "enforce")),
    },
)
