"""The order of routing rules, and what an explanation of a route says about them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.relay.configuration.model import (
    Alias,
    Configuration,
    LocalDomain,
    Mailbox,
    MailboxKind,
    Quarantine,
    RelayDomain,
    RelayHost,
    RelayHostAuth,
    RelayRule,
    RuleType,
    TargetType,
)
from services.relay.model.attempt import Route, RouteKind
from services.relay.routing.rules import examine, resolve

MAILDIR = Mailbox(MailboxKind.MAILDIR, path="/srv/mail")
JUNK = Mailbox(MailboxKind.MAILDIR, path="/srv/junk")


def rule(
    name: str, type_: RuleType, target_type: TargetType, *targets: str, host: str = "", position: int = 0
) -> RelayRule:
    return RelayRule(name, name, type_, target_type, targets, RelayHost(host or f"{name}.test"), position)


def to_recipient(name: str, *targets: str, position: int = 0) -> RelayRule:
    kind = TargetType.ADDRESS if "@" in targets[0] else TargetType.DOMAIN
    return rule(name, RuleType.RECIPIENT, kind, *targets, position=position)


def from_sender(name: str, *targets: str, position: int = 0) -> RelayRule:
    kind = TargetType.ADDRESS if "@" in targets[0] else TargetType.DOMAIN
    return rule(name, RuleType.SENDER, kind, *targets, position=position)


def configuration(*rules: RelayRule, relay_host: RelayHost | None = None) -> Configuration:
    return Configuration(
        revision=1,
        hostname="mx.posthouse.test",
        relay_host=relay_host,
        relay_rules=tuple(sorted(rules, key=lambda rule: rule.position)),
        local_domains={
            "local.test": LocalDomain("l1", "local.test", MAILDIR, JUNK),
            "empty.test": LocalDomain("l2", "empty.test", None),
        },
        relay_domains={"relayed.test": RelayDomain("d1", "relayed.test")},
        account_addresses=frozenset((b"ann@local.test",)),
    )


def route(configured: Configuration, sender: bytes, recipient: bytes, *, quarantine: bool = False) -> Route:
    return resolve(configured, sender, recipient, quarantine=quarantine)


def test_without_rules_mail_goes_by_mx() -> None:
    found = route(configuration(), b"ann@local.test", b"bob@Example.net".lower())
    assert (found.kind, found.destination, found.domain) == (RouteKind.DIRECT, "domain:example.net", "example.net")


def test_the_single_relay_host_gets_mail_that_no_rule_matches() -> None:
    found = route(configuration(relay_host=RelayHost("hub.test", 587)), b"ann@local.test", b"bob@example.net")
    assert (found.kind, found.destination) == (RouteKind.RELAY_HOST, "relay:hub.test:587")


@pytest.mark.parametrize("recipient", [b"ann@local.test", b"x@relayed.test"])
def test_sender_rules_and_the_relay_host_do_not_apply_to_our_domains(recipient: bytes) -> None:
    configured = configuration(from_sender("s", "local.test"), relay_host=RelayHost("hub.test"))
    assert route(configured, b"ann@local.test", recipient).relay_host is None


def test_a_recipient_rule_wins_over_every_sender_rule() -> None:
    configured = configuration(
        from_sender("sender", "ann@local.test", position=0), to_recipient("recipient", "example.net", position=9)
    )
    assert route(configured, b"ann@local.test", b"bob@example.net").rule_id == "recipient"


def test_a_recipient_rule_applies_to_local_domains_too() -> None:
    configured = configuration(to_recipient("r", "ann@local.test"))
    assert route(configured, b"x@example.net", b"Ann@local.test").rule_id == "r"
    configured = replace(configured, account_addresses=frozenset((b"bob@local.test",)))
    assert route(configured, b"x@example.net", b"bob@local.test").kind is RouteKind.MAILBOX


def test_f18_nobodys_address_at_a_local_domain_fails() -> None:
    """F18: an alias may lead to an address that nobody has, and some mailbox servers would accept mail for it."""
    found = route(configuration(), b"x@example.net", b"ghost@local.test")
    assert (found.kind, found.code, found.enhanced_code) == (RouteKind.FAIL, 550, "5.1.1")
    assert route(configuration(), b"x@example.net", b"ghost@local.test", quarantine=True).kind is RouteKind.FAIL


@pytest.mark.parametrize("role", [b"postmaster", b"mailer-daemon", b"Postmaster"])
@pytest.mark.parametrize("relay_host", [None, RelayHost("smart.test")])
def test_f20_mail_for_a_role_at_our_own_hostname_is_never_sent_out(role: bytes, relay_host: RelayHost | None) -> None:
    """F20: if relay sent this mail out, it would come back again and again until it has too many hops."""
    configured = configuration(relay_host=relay_host)
    found = route(configured, b"", role + b"@mx.posthouse.test")
    assert found.kind is RouteKind.HOLD
    _, rules = examine(configured, b"", role + b"@mx.posthouse.test", quarantine=False)
    assert not any(rule.won for rule in rules)
    assert route(configured, b"", b"joe@mx.posthouse.test").kind is not RouteKind.HOLD
    # Mail to the postmaster of a relay domain goes to the server of that domain.
    relayed = replace(configured, relay_domains={"mx.posthouse.test": RelayDomain("d", "mx.posthouse.test")})
    assert route(relayed, b"", role + b"@mx.posthouse.test").kind is RouteKind.RELAY_DOMAIN


def test_a_rule_for_an_address_wins_over_a_domain_and_then_position_decides() -> None:
    configured = configuration(
        to_recipient("domain-first", "example.net", position=1),
        to_recipient("domain-second", "example.net", position=2),
        to_recipient("address", "bob@example.net", position=3),
    )
    assert route(configured, b"", b"bob@example.net").rule_id == "address"
    assert route(configured, b"", b"eve@example.net").rule_id == "domain-first"


@pytest.mark.parametrize(
    ("domain", "taken"),
    [("a.example.net", True), ("b.a.example.net", True), ("example.net", False), ("notexample.net", False)],
)
def test_subdomains_match_only_if_the_target_says_so(domain: str, taken: bool) -> None:
    configured = configuration(to_recipient("subs", ".example.net"))
    assert (route(configured, b"", f"bob@{domain}".encode()).rule_id == "subs") is taken


def test_a_plain_target_does_not_match_subdomains() -> None:
    assert route(configuration(to_recipient("r", "example.net")), b"", b"bob@a.example.net").rule_id == ""


def test_position_decides_between_exact_domain_and_parent() -> None:
    configured = configuration(
        to_recipient("parent", ".example.net", position=1), to_recipient("exact", "a.example.net", position=2)
    )
    assert route(configured, b"", b"bob@a.example.net").rule_id == "parent"


def test_sender_rules_compare_without_case_and_never_match_the_null_sender() -> None:
    configured = configuration(from_sender("s", "ann@local.test"), from_sender("d", "local.test", position=1))
    assert route(configured, b"Ann@local.test", b"bob@example.net").rule_id == "s"
    assert route(configured, b"eve@local.test", b"bob@example.net").rule_id == "d"
    assert route(configured, b"", b"bob@example.net").kind is RouteKind.DIRECT


def test_mail_of_local_domains_goes_to_the_mailbox_or_the_quarantine_mailbox() -> None:
    found = route(configuration(), b"", b"ann@local.test")
    assert (found.destination, found.mailbox, found.rule_id) == ("mailbox:local.test", MAILDIR, "l1")
    assert route(configuration(), b"", b"ann@local.test", quarantine=True).mailbox == JUNK


def test_the_setting_decides_about_quarantined_mail() -> None:
    marking = replace(configuration(), quarantine=Quarantine.MARK)
    assert route(marking, b"", b"ann@local.test", quarantine=True).mailbox == MAILDIR
    holding = replace(configuration(), quarantine=Quarantine.HOLD)
    for recipient in (b"ann@local.test", b"x@relayed.test", b"x@far.test"):
        held = route(holding, b"", recipient, quarantine=True)
        assert (held.kind, held.destination) == (RouteKind.HOLD, "quarantine")
        assert route(holding, b"", recipient).kind is not RouteKind.HOLD


def test_a_local_domain_without_a_mailbox_is_held() -> None:
    found = route(configuration(), b"", b"ann@empty.test")
    assert found.kind is RouteKind.HOLD
    assert "empty.test" in found.reason


@pytest.mark.parametrize("recipient", [b"postmaster", b"postmaster@local.test", b"Mailer-Daemon@local.test"])
def test_postmaster_mail_without_a_recipient_is_held(recipient: bytes) -> None:
    assert route(configuration(), b"", recipient).kind is RouteKind.HOLD


def test_a_postmaster_account_gets_its_mail() -> None:
    configured = replace(configuration(), account_addresses=frozenset((b"postmaster@local.test",)))
    assert route(configured, b"", b"Postmaster@local.test").kind is RouteKind.MAILBOX


def test_relay_domains_have_their_own_kind_of_route() -> None:
    found = route(configuration(), b"", b"x@relayed.test")
    assert (found.kind, found.destination, found.rule_id) == (RouteKind.RELAY_DOMAIN, "domain:relayed.test", "d1")


def test_percent_and_quotes_in_a_local_part_do_not_change_the_domain() -> None:
    assert route(configuration(), b"", b"u%local.test@example.net").domain == "example.net"
    assert route(configuration(), b"", b'"u@local.test"@example.net').domain == "example.net"


def test_address_literals_are_routed_as_domains() -> None:
    assert route(configuration(), b"", b"u@[192.0.2.1]").domain == "[192.0.2.1]"


def test_recipients_of_one_rule_and_domain_have_equal_routes() -> None:
    configured = configuration(to_recipient("r", "example.net"))
    assert route(configured, b"", b"a@example.net") == route(configured, b"", b"b@example.net")


def test_each_login_at_a_relay_host_has_its_own_destination() -> None:
    """C131: a wrong password suspends only the mail that uses this login."""

    def of(name: str, login: str, host: str = "hub.test") -> RelayRule:
        auth = RelayHostAuth(login, "secret") if login else None
        return replace(from_sender(name, f"{name}@home.test"), relay_host=RelayHost(host, 587, auth=auth))

    def destination(configured: Configuration, name: str) -> str:
        return route(configured, f"{name}@home.test".encode(), b"x@far.test").destination

    shared = configuration(
        of("ann", "ann/1"), of("bob", "bob@home.test"), of("eve", ""), of("joe", "joe", "other.test")
    )
    assert {name: destination(shared, name) for name in ("ann", "bob", "eve", "joe")} == {
        "ann": "relay:hub.test:587:ann%2F1",
        "bob": "relay:hub.test:587:bob@home.test",
        "eve": "relay:hub.test:587",
        "joe": "relay:other.test:587",
    }
    # Rules with the same login have the same destination, and so share what relay knows about the host.
    alone = configuration(of("ann", "gateway"), of("bob", "gateway"), relay_host=RelayHost("hub.test", 25))
    assert destination(alone, "ann") == destination(alone, "bob") == "relay:hub.test:587"


def test_an_address_beyond_ascii_matches_whatever_its_case_and_composition() -> None:
    configured = configuration(to_recipient("in", "j\u00fcrgen@far.test"), from_sender("out", "j\u00fcrgen@home.test"))
    for written in ("J\u00dcRGEN", "ju\u0308rgen"):
        assert route(configured, b"", f"{written}@far.test".encode()).rule_id == "in"
        assert route(configured, f"{written}@home.test".encode(), b"x@far.test").rule_id == "out"


def test_after_the_removal_of_a_rule_the_next_one_applies() -> None:
    with_rule = configuration(to_recipient("r", "example.net"), relay_host=RelayHost("hub.test"))
    without = replace(with_rule, relay_rules=())
    assert route(with_rule, b"", b"a@example.net").rule_id == "r"
    assert route(without, b"", b"a@example.net").destination == "relay:hub.test:25"


def test_the_report_has_the_deciding_rule_and_the_reasons_for_the_others() -> None:
    configured = configuration(
        to_recipient("other", "example.org"),
        to_recipient("loser", "example.net", position=1),
        to_recipient("winner", "bob@example.net", position=2),
        from_sender("sender", "local.test", position=3),
    )
    found, reports = examine(configured, b"ann@local.test", b"bob@example.net", quarantine=False)
    assert found.rule_id == "winner"
    assert [(report.kind, report.rule_id, report.won) for report in reports] == [
        ("recipient_rule", "other", False),
        ("recipient_rule", "loser", False),
        ("recipient_rule", "winner", True),
        ("local_domain", "", False),
        ("relay_domain", "", False),
        ("sender_rule", "sender", False),
        ("mode", "", False),
    ]
    reasons = {report.rule_id: report.reason for report in reports}
    assert reasons["loser"] == "example.net matches, but winner comes first"
    assert reasons["sender"] == "local.test matches, but the recipient rule winner comes first"


@pytest.mark.parametrize(
    ("sender", "recipient", "winner"),
    [
        (b"x@a.test", b"ann@local.test", "local_domain"),
        (b"x@a.test", b"u@relayed.test", "relay_domain"),
        (b"x@a.test", b"u@example.org", "mode"),
        (b"ann@local.test", b"u@example.org", "sender_rule"),
        (b"", b"bob@example.net", "recipient_rule"),
    ],
)
def test_the_explanation_of_a_route_has_one_deciding_rule(sender: bytes, recipient: bytes, winner: str) -> None:
    configured = configuration(to_recipient("r", "example.net"), from_sender("s", "local.test"))
    _, reports = examine(configured, sender, recipient, quarantine=False)
    assert [report.kind for report in reports if report.won] == [winner]


def test_routing_does_not_expand_aliases() -> None:
    alias = Alias("a", b"ann@local.test", (b"bob@example.net",))
    configured = replace(configuration(), aliases={b"ann@local.test": alias})
    assert route(configured, b"", b"ann@local.test").kind is RouteKind.MAILBOX


def test_routes_are_cached_within_a_configuration() -> None:
    before = Configuration(revision=1, hostname="gw.test")
    route = resolve(before, b"a@one.test", b"u@two.test", quarantine=False)
    assert resolve(before, b"a@one.test", b"u@two.test", quarantine=False) is route
    assert resolve(before, b"a@one.test", b"u@three.test", quarantine=False).destination == "domain:three.test"
    after = Configuration(revision=2, hostname="gw.test", relay_host=RelayHost("smart.test"))
    assert resolve(after, b"a@one.test", b"u@two.test", quarantine=False).kind is RouteKind.RELAY_HOST
    assert resolve(before, b"a@one.test", b"u@two.test", quarantine=False) == route


@pytest.mark.parametrize("recipient", [b"ann@local.test", b"bob@example.net", b"postmaster"])
def test_a_rule_that_was_not_tried_does_not_decide(recipient: bytes) -> None:
    """Mail that is held in quarantine or has no domain follows no rule, even if a rule would match."""
    configured = configuration(to_recipient("r", "example.net"), from_sender("s", "local.test"))
    configured = replace(configured, quarantine=Quarantine.HOLD)
    route, reports = examine(configured, b"ann@local.test", recipient, quarantine=b"@" in recipient)
    assert route.kind is RouteKind.HOLD
    assert not [report.kind for report in reports if report.won]


def test_explain_and_routing_apply_the_same_rules() -> None:
    """For any mail, the route that Explain shows is the route that relay uses."""
    configured = configuration(to_recipient("r", "example.net"), from_sender("s", "local.test"))
    for sender in (b"", b"ann@local.test", b"x@a.test"):
        for recipient in (b"ann@local.test", b"u@relayed.test", b"u@example.org", b"bob@example.net", b"postmaster"):
            shown, _ = examine(configured, sender, recipient, quarantine=False)
            assert shown == resolve(configured, sender, recipient, quarantine=False)
