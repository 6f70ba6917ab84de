"""Which recipients of our domains exist (listed, any, verified, catch-all, tagged), and which mailbox they lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from libs.smtp.address_set import AddressSet
from services.relay.configuration.model import (
    Alias,
    Configuration,
    ExistingRecipients,
    LocalDomain,
    Mailbox,
    MailboxKind,
    RelayHost,
    RelayRule,
    RuleType,
    TargetType,
)
from services.relay.model.attempt import RouteKind
from services.relay.routing.aliases import expand, expand_one
from services.relay.routing.rules import examine, resolve

LMTP = Mailbox(MailboxKind.LMTP, "mail.test", 24)
ANN = b"ann@local.test"


def configuration(
    recipients: ExistingRecipients = ExistingRecipients.ACCOUNTS,
    *,
    catch_all: bytes = b"",
    delimiter: str = "",
    aliases: Mapping[bytes, tuple[bytes, ...]] | None = None,
    rules: tuple[RelayRule, ...] = (),
) -> Configuration:
    domain = LocalDomain("l1", "local.test", LMTP, None, recipients, catch_all, delimiter)
    return Configuration(
        revision=1,
        hostname="gw.test",
        relay_rules=rules,
        local_domains={"local.test": domain},
        account_addresses=frozenset((ANN,)),
        listed_recipients=AddressSet.of([b"listed@local.test"]),
        aliases={key: Alias("a1", key, targets) for key, targets in (aliases or {}).items()},
    )


def kind(configured: Configuration, recipient: bytes) -> RouteKind:
    return resolve(configured, b"x@far.test", recipient, quarantine=False).kind


@pytest.mark.parametrize(
    ("recipients", "listed", "nobody"),
    [
        (ExistingRecipients.ACCOUNTS, RouteKind.FAIL, RouteKind.FAIL),
        (ExistingRecipients.LIST, RouteKind.MAILBOX, RouteKind.FAIL),
        (ExistingRecipients.ANY, RouteKind.MAILBOX, RouteKind.MAILBOX),
        (ExistingRecipients.VERIFY, RouteKind.MAILBOX, RouteKind.MAILBOX),
    ],
)
def test_existing_recipients_reach_the_mailbox(
    recipients: ExistingRecipients, listed: RouteKind, nobody: RouteKind
) -> None:
    configured = configuration(recipients)
    assert kind(configured, ANN) is RouteKind.MAILBOX
    assert kind(configured, b"Listed@local.test") is listed
    assert kind(configured, b"nobody@local.test") is nobody


def test_a_role_without_an_owner_is_held() -> None:
    assert kind(configuration(ExistingRecipients.LIST), b"postmaster@local.test") is RouteKind.HOLD
    # With VERIFY and ANY the mailbox server decides itself which addresses exist.
    assert kind(configuration(ExistingRecipients.ANY), b"postmaster@local.test") is RouteKind.MAILBOX


def test_a_catch_all_gets_mail_for_unknown_addresses() -> None:
    configured = configuration(ExistingRecipients.LIST, catch_all=ANN)
    assert expand_one(configured, b"nobody@local.test").targets == (ANN,)
    assert expand_one(configured, b"nobody@local.test").by == "catch_all"
    for other in (ANN, b"listed@local.test", b"postmaster@local.test", b"x@far.test"):
        assert expand_one(configured, other).targets == (other,), other
    # A person who is addressed twice gets one copy.
    assert [each.targets for each in expand(configured, [ANN, b"a@local.test", b"b@local.test"])] == [(ANN,), (), ()]


def test_a_catch_all_has_no_effect_when_every_address_exists() -> None:
    configured = configuration(ExistingRecipients.ANY, catch_all=ANN)
    assert expand_one(configured, b"nobody@local.test").targets == (b"nobody@local.test",)


def test_an_alias_that_names_nobody_goes_to_the_catch_all() -> None:
    configured = configuration(catch_all=ANN, aliases={b"sales@local.test": (b"ghost@local.test",)})
    assert expand_one(configured, b"sales@local.test").targets == (ANN,)


def test_a_catch_all_that_does_not_exist_gets_no_mail() -> None:
    configured = configuration(catch_all=b"ghost@local.test")
    (target,) = expand_one(configured, b"nobody@local.test").targets
    assert kind(configured, target) is RouteKind.FAIL


def test_the_tag_stays_in_the_delivered_address() -> None:
    configured = configuration(delimiter="+")
    tagged = b"Ann+News@local.test"
    assert expand_one(configured, tagged).targets == (tagged,)
    assert kind(configured, tagged) is RouteKind.MAILBOX
    assert kind(configured, b"nobody+news@local.test") is RouteKind.FAIL
    assert kind(configuration(), tagged) is RouteKind.FAIL


def test_a_tagged_alias_goes_where_the_alias_goes() -> None:
    aliases = {b"info@local.test": (ANN,), b"info+own@local.test": (b"x@far.test",)}
    configured = configuration(delimiter="+", aliases=aliases)
    assert expand_one(configured, b"info+2026@local.test").targets == (ANN,)
    assert expand_one(configured, b"info+own@local.test").targets == (b"x@far.test",)


def test_a_tagged_alias_of_itself_keeps_a_copy() -> None:
    configured = configuration(delimiter="+", aliases={ANN: (b"ann+kept@local.test", b"ann@far.test")})
    assert expand_one(configured, ANN).targets == (b"ann+kept@local.test", b"ann@far.test")


def test_relay_rules_on_an_address_apply_to_its_tagged_forms() -> None:
    def rule(name: str, type_: RuleType, *targets: str) -> RelayRule:
        return RelayRule(name, name, type_, TargetType.ADDRESS, targets, RelayHost(f"{name}.test"))

    rules = (
        rule("to-ann", RuleType.RECIPIENT, "ann@local.test"),
        rule("to-tag", RuleType.RECIPIENT, "ann+own@local.test"),
        rule("from-ann", RuleType.SENDER, "ann@local.test"),
    )
    configured = configuration(delimiter="+", rules=rules)
    for sender, recipient, name in (
        (b"x@far.test", b"ann+news@local.test", "to-ann"),
        (b"x@far.test", b"ann+own@local.test", "to-tag"),
        (b"Ann+x@local.test", b"joe@far.test", "from-ann"),
    ):
        route, reports = examine(configured, sender, recipient, quarantine=False)
        assert route.rule_id == name
        assert [report.rule_id for report in reports if report.won] == [name]
    untagged = replace(configured, local_domains={"local.test": LocalDomain("l1", "local.test", LMTP)})
    assert examine(untagged, b"x@far.test", b"ann+news@local.test", quarantine=False)[0].rule_id == "l1"
