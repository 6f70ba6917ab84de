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
    """The value as it is matched and compared. Raises ValueError."""
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
    """A hint at the criterion that does what a pattern was meant to do; empty when the value is no pattern (F27)."""
    if criterion in ("sender", "recipient"):
        domain = value.rpartition("@")[2]
        if value.startswith(("@", "*@")) or ("@" not in value and "." in value):
            below = "use the criterion domain, with the domain alone" if criterion == "sender" else "name each address"
            return f"a full address is compared as it is; for a whole domain {below}"
        if "*" in value or domain.startswith("*"):
            return (
                "a full address is compared as it is: patterns match nothing; the criterion domain takes whole domains"
            )
    if criterion == "ip" and ("/" in value or "*" in value):
        return "it is one address; for a range use the criterion network, as 192.0.2.0/24"
    if criterion == "network" and "*" in value:
        return "a range is written as CIDR or address/netmask, as 192.0.2.0/24"
    return ""


class AccessRule(Model):
    """An entry of the block or allow list. Each criterion is matched exactly; an allow rule never grants relaying."""

    name: Label = ""
    list: Literal["block", "allow"] = Field(description="What a match does. An allow match beats a block match.")
    criterion: Criterion = Field(
        description="What is compared: the envelope's sender or recipient (full address), the client's ip or network, "
        "or the sender's domain."
    )
    value: Annotated[
        str, Field(min_length=1, max_length=512, pattern=r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]+$")
    ] = Field(
        description="An address, an IP address, a network (CIDR, or address/netmask where an IPv4 mask may be any bit "
        "pattern; kept as it is written), or a domain, .example.com for all its sub-domains. Patterns are not taken.",
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
    """What is read-only in an access rule."""

    canonical: str = Field(description="The value as it is compared; of a network without its host bits.")
    hits: int = Field(ge=0, description="Sessions and messages that it matched.")
    last_hit_at: Instant | None = Field(default=None, description="Its last match; null: none yet.")


def _key(body: Body) -> str:
    """The unique key of a rule: (list, criterion, value)."""
    return f"{body['list']} {body['criterion']} {canonical_value(body['criterion'], body['value'])}"


def _terms(body: Body) -> list[str]:
    return [canonical_value(body["criterion"], body["value"])]


async def check(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """Why the rule can never act, or which others can't because of it (F28)."""
    findings = []
    now = datetime.now(UTC)
    if _has_ended(body, now):
        findings.append(Finding("/expires_at", "ended", "The rule has ended already: it never acts."))
    if body["criterion"] == "network" and parse_pattern(body["value"]).mask == 0:
        findings.append(Finding("/value", "everyone", "It matches every client of its IP version."))
    if body["mode"] == "off" or findings:
        return findings
    if body["list"] == "block":
        wider = [rule for rule in await _rules_on("allow", body, check_context) if _acts(rule, now)]
        findings += named(
            "covered",
            "The allow rule on {} matches whatever this rule does, and beats it: it never acts.",
            [rule["value"] for rule in wider if _covers(rule, body)],
            "/value",
        )
    elif body["mode"] == "enforce":
        narrower = [rule for rule in await _rules_on("block", body, check_context) if _acts(rule, now)]
        findings += named(
            "covers",
            "The block rule on {} never acts, since this rule matches whatever it does, and beats it.",
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


async def _rules_on(list_name: str, body: Body, check_context: CheckContext) -> Sequence[Body]:
    """Rules of the other list that may match what this one does: only a client's lift or meet a client's."""
    if body["criterion"] in _OF_CLIENTS:
        criteria: tuple[str, ...] = _OF_CLIENTS
    elif body["criterion"] == "recipient":
        criteria = ("recipient",)
    else:
        criteria = ("sender", "domain")
    return [
        rule
        for criterion in criteria
        for rule in await check_context.matching("access-rules", "criterion", criterion)
        if rule["list"] == list_name
    ]


def _covers(wide: Body, narrow: Body) -> bool:
    """Whether everything that one rule matches is matched by the other."""
    outer = canonical_value(wide["criterion"], wide["value"])
    inner = canonical_value(narrow["criterion"], narrow["value"])
    if narrow["criterion"] in _OF_CLIENTS:
        return _within(parse_pattern(outer), parse_pattern(inner))
    if wide["criterion"] == narrow["criterion"] and outer == inner:
        return True
    if wide["criterion"] != "domain":
        return False
    domain = inner.rpartition("@")[2]
    # A rule on sub-domains begins with the dot that it stands for.
    return domain == outer or (outer.startswith(".") and domain.endswith(outer))


def _within(outer: AddressPattern, inner: AddressPattern) -> bool:
    same_bits = outer.mask & inner.mask == outer.mask and inner.value & outer.mask == outer.value
    return outer.version == inner.version and same_bits


async def _exempt_already(body: Body, check_context: CheckContext) -> Sequence[Finding]:
    """An allow rule on a network of clients that are not judged anyway."""
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
                "These clients are trusted, or local without login: the checks are not tried anyway.",
            ),
        )
    return ()


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
    check=check,
    show=lambda body: {"canonical": canonical_value(body["criterion"], body["value"])},
    unique=lambda body: [UniqueKey("access-rules/value", _key(body), "/value")],
    filters={
        "name": exact("name", "The rule's name, without regard to case.", name_key),
        "list": exact("list", "block or allow.", choices=("block", "allow")),
        "criterion": exact(
            "criterion", "What is compared.", choices=("sender", "recipient", "ip", "network", "domain")
        ),
        "value": Filter("The value, in any form that a rule may be given it in.", _terms, _FORM),
        "mode": exact("mode", "off, shadow or enforce.", choices=("off", "shadow", "enforce")),
    },
)
