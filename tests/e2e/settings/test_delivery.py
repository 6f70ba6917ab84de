"""`/settings/delivery` and `/relay-rules` choose the route of outgoing mail, and its TLS and AUTH."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import trustme

from tests.e2e import world
from tests.e2e.settings.gateway import FAR, Gateway, message
from tests.peers.process import until
from tests.peers.smtp_sink import Offer, SmtpSink, Stage, reply

pytestmark = pytest.mark.e2e

PASSWORD = "not to be seen anywhere"
LOGINS = {"gateway": PASSWORD}


def _relay_host(gateway: Gateway, sink: SmtpSink, **fields: Any) -> None:
    host = {"host": sink.host, "port": sink.port, **fields}
    gateway.patch("delivery", {"mode": "relay_host", "relay_host": host})


def _send(gateway: Gateway, marker: str, recipient: str = FAR, sender: str = world.ALICE) -> None:
    """Sends a message: as a logged-in client when it is from alice, and otherwise as a trusted client."""
    content = message(marker, sender=sender)
    with gateway.submission() if sender == world.ALICE else gateway.connect("127.0.0.5") as client:
        assert client.transaction(sender, recipient, content=content) == "accepted"


def _attempt(gateway: Gateway, recipient: str = FAR) -> dict[str, Any]:
    """Waits until the queue has a delivery to the recipient that was attempted, and returns its last attempt."""

    def attempts() -> list[dict[str, Any]]:
        waiting = [delivery for one in world.queued(gateway.suite) for delivery in one["deliveries"]]
        return [one["last_attempt"] for one in waiting if one["recipient"] == recipient and one["last_attempt"]]

    until(lambda: bool(attempts()), f"there is an attempt for {recipient}")
    return attempts()[0]


# The relay host


def test_all_mail_for_other_domains_goes_through_the_relay_host(gateway: Gateway) -> None:
    with SmtpSink() as smart:
        _relay_host(gateway, smart)
        gateway.create("relay-domains", name="x", domain="partner.test")
        gateway.dns.replace("partner.test", "MX", "10 mx.far.test.")
        _send(gateway, "outward")
        assert gateway.delivered("outward", smart).accepted_recipients == [FAR.encode()]
        _send(gateway, "no mx needed", "x@nowhere.test")
        gateway.delivered("no mx needed", smart)
        # Mail for our own domains and for relay domains does not go through the relay host.
        _send(gateway, "to carol", "carol@ours.test")
        gateway.delivered("to carol")
        _send(gateway, "to the partner", "eve@partner.test")
        gateway.delivered("to the partner", gateway.far)
        assert len(smart.messages) == 2
    gateway.dns.remove("partner.test")


@pytest.mark.parametrize("written", ["smart.test", "[127.0.0.1]", "[smart.test]", "SMART.test", "127.0.0.1"])
def test_the_mx_records_of_a_relay_host_are_never_used(gateway: Gateway, written: str) -> None:
    with SmtpSink() as smart:
        gateway.dns.replace("smart.test", "MX", "1 mx.far.test.")
        gateway.dns.replace("smart.test", "A", smart.host)
        gateway.dns.forget_queries()
        _relay_host(gateway, smart, host=written)
        _send(gateway, "by name")
        gateway.delivered("by name", smart)
        assert not gateway.dns.asked("smart.test", "MX")


@pytest.mark.parametrize(
    ("relay_host", "status"),
    [
        ({"host": "smart.test", "port": 0}, 422),
        ({"host": "smart.test", "port": 70000}, 422),
        ({"host": "a b.test"}, 422),
        ({"host": "smart.test\r\nX: y"}, 422),
        ({"host": "user@smart.test"}, 422),
        ({"host": ""}, 422),
        ({"host": "smart.test", "user": "x"}, 422),
        ({"host": "smart.test", "port": 465}, 200),
    ],
)
def test_the_api_accepts_only_valid_relay_hosts(gateway: Gateway, relay_host: dict[str, Any], status: int) -> None:
    etag = gateway.suite.api.get("/v1/settings/delivery").headers["ETag"]
    body = {"mode": "relay_host", "relay_host": relay_host}
    assert gateway.status("PUT", "settings/delivery", body, {"If-Match": etag}) == status
    gateway.settle("delivery")


@pytest.mark.parametrize(
    ("fields", "implicit", "verified"),
    [
        ({"port": 465}, True, True),
        ({"port": 25}, False, False),
        ({"port": 465, "implicit_tls": False}, False, False),
        ({"always_tls": True}, False, True),
        ({"always_tls": True, "verify_certificate": False}, False, False),
    ],
)
def test_absent_tls_members_are_derived_from_the_others(
    gateway: Gateway, fields: dict[str, Any], implicit: bool, verified: bool
) -> None:
    gateway.patch("delivery", {"relay_host": {"host": "smart.test", **fields}})
    shown = gateway.read("settings/delivery")["relay_host"]
    assert (shown["implicit_tls"], shown["verify_certificate"]) == (implicit, verified)


# TLS


def test_starttls_is_used_when_offered_whatever_the_certificate(gateway: Gateway, certificates: trustme.CA) -> None:
    with SmtpSink(certificate=certificates.issue_cert("another-name.test")) as smart:
        _relay_host(gateway, smart)
        _send(gateway, "opportunistic")
        taken = gateway.delivered("opportunistic", smart)
        assert taken.session.tls is not None


def test_with_always_tls_plaintext_is_never_used(gateway: Gateway) -> None:
    with SmtpSink() as smart:
        _relay_host(gateway, smart, always_tls=True)
        _send(gateway, "never plain")
        attempt = _attempt(gateway)
        assert attempt["enhanced_code"].startswith("4.7.")
        assert not [verb for session in smart.sessions for verb in session.verbs if verb in ("MAIL FROM", "MAIL")]


def test_with_always_tls_the_certificate_is_verified_by_default(gateway: Gateway, certificates: trustme.CA) -> None:
    with SmtpSink(certificate=certificates.issue_cert("another-name.test")) as smart:
        _relay_host(gateway, smart, always_tls=True)
        _send(gateway, "verified")
        attempt = _attempt(gateway)
        assert attempt["enhanced_code"].startswith("4.7.")
        assert smart.messages == []
        # The new configuration may cause a delivery attempt before `try_again` is called.
        (waiting,) = world.queued(gateway.suite)
        _relay_host(gateway, smart, always_tls=True, verify_certificate=False)
        gateway.try_again(waiting["queue_id"])
        assert gateway.delivered("verified", smart).session.tls is not None


def test_implicit_tls_speaks_tls_from_the_first_octet(gateway: Gateway, certificates: trustme.CA) -> None:
    with SmtpSink(Offer(implicit_tls=True), certificate=certificates.issue_cert("smart.test")) as smart:
        _relay_host(gateway, smart, implicit_tls=True, verify_certificate=False)
        _send(gateway, "implicit")
        taken = gateway.delivered("implicit", smart)
        assert taken.session.tls is not None
        assert taken.session.tls.implicit


# AUTH


def test_credentials_are_sent_over_tls(gateway: Gateway, certificates: trustme.CA) -> None:
    offer = Offer(logins=LOGINS, auth_required=True)
    with SmtpSink(offer, certificate=certificates.issue_cert("smart.test")) as smart:
        _relay_host(gateway, smart, auth={"username": "gateway", "password": PASSWORD})
        _send(gateway, "logged in")
        assert gateway.delivered("logged in", smart).session.authenticated


def test_credentials_are_not_sent_in_plaintext_by_default(gateway: Gateway) -> None:
    with SmtpSink(Offer(logins=LOGINS, auth_without_tls=True)) as smart:
        _relay_host(gateway, smart, auth={"username": "gateway", "password": PASSWORD})
        _send(gateway, "withheld")
        attempt = _attempt(gateway)
        assert (attempt["code"] // 100, attempt["enhanced_code"]) == (4, "4.7.0")
        assert [login for session in smart.sessions for login in session.logins] == []
        assert "AUTH" not in [verb for session in smart.sessions for verb in session.verbs]
        assert smart.messages == []


def test_credentials_are_sent_in_plaintext_where_that_is_allowed(gateway: Gateway) -> None:
    with SmtpSink(Offer(logins=LOGINS, auth_without_tls=True, auth_required=True)) as smart:
        auth = {"username": "gateway", "password": PASSWORD, "allow_without_tls": True}
        _relay_host(gateway, smart, auth=auth)
        _send(gateway, "plain login")
        assert gateway.delivered("plain login", smart).session.authenticated


def test_a_wrong_password_defers_mail(gateway: Gateway, certificates: trustme.CA) -> None:
    offer = Offer(logins=LOGINS, auth_required=True)
    with SmtpSink(offer, certificate=certificates.issue_cert("smart.test")) as smart:
        _relay_host(gateway, smart, auth={"username": "gateway", "password": "wrong"})
        _send(gateway, "wrong password")
        _attempt(gateway)
        assert [one["state"] for one in world.queued(gateway.suite)] == ["deferred"]


def test_the_password_is_never_shown(gateway: Gateway) -> None:
    auth = {"username": "gateway", "password": PASSWORD}
    gateway.patch("delivery", {"relay_host": {"host": "smart.test", "auth": auth}})
    fields = {"type": "recipient", "target_type": "domain", "targets": ["x.test"]}
    rule = gateway.create("relay-rules", name="x", **fields, relay_host={"host": "smart.test", "auth": auth})
    for path in (
        "settings/delivery",
        "relay-rules",
        f"relay-rules/{rule['id']}",
        "revisions",
        "audit-log",
        "config:export",
        f"revisions/{gateway.read('revisions')['items'][0]['number']}",
    ):
        answer = gateway.suite.api.get(f"/v1/{path}")
        assert answer.status_code == 200
        assert PASSWORD not in answer.text, path
    assert PASSWORD not in gateway.suite.logs
    database = b"".join(one.read_bytes() for one in gateway.suite.folder.glob("*.sqlite*"))
    assert database, list(gateway.suite.folder.iterdir())
    assert PASSWORD.encode() not in database


# Relay rules

TRUSTED = "127.0.0.5"
SISTER = "sam@sister.test"


@pytest.fixture
def hosts(gateway: Gateway) -> Iterator[dict[str, SmtpSink]]:
    """Yields the relay hosts a, b and c, and two other servers. Clients at 127.0.0.5 may send mail with any sender."""
    gateway.create("trusted-networks", name="x", networks=[TRUSTED])
    gateway.create("relay-domains", name="partner", domain="partner.test")
    for domain in ("partner.test", "sister.test", "sub.sister.test"):
        gateway.dns.replace(domain, "MX", "10 mx.far.test.")
    with ExitStack() as stack:
        sinks = {name: stack.enter_context(SmtpSink()) for name in "abc"}
        yield {**sinks, "far": gateway.far, "mailbox": gateway.mailbox}
    for domain in ("partner.test", "sister.test", "sub.sister.test"):
        gateway.dns.remove(domain)


Rule = tuple[str, str, str, str, int]
PRECEDENCE: list[tuple[str, list[Rule], str, str, str]] = [
    # The columns are: the purpose, the rules (host, type, target type, target, position), the sender, the recipient,
    # and the destination of the mail.
    ("no rule", [], FAR, SISTER, "far"),
    ("recipient domain", [("a", "recipient", "domain", "sister.test", 0)], FAR, SISTER, "a"),
    ("another domain", [("a", "recipient", "domain", "other.test", 0)], FAR, SISTER, "far"),
    ("recipient address", [("a", "recipient", "address", SISTER, 0)], FAR, SISTER, "a"),
    ("sender domain", [("a", "sender", "domain", "far.test", 0)], FAR, SISTER, "a"),
    ("sender address", [("a", "sender", "address", FAR, 0)], FAR, SISTER, "a"),
    (
        "recipient beats sender",
        [("a", "sender", "address", FAR, 0), ("b", "recipient", "domain", "sister.test", 9)],
        FAR,
        SISTER,
        "b",
    ),
    (
        "address beats domain",
        [("a", "recipient", "domain", "sister.test", 0), ("b", "recipient", "address", SISTER, 9)],
        FAR,
        SISTER,
        "b",
    ),
    (
        "address beats domain of senders",
        [("a", "sender", "domain", "far.test", 0), ("b", "sender", "address", FAR, 9)],
        FAR,
        SISTER,
        "b",
    ),
    (
        "then the position",
        [
            ("a", "recipient", "domain", "sister.test", 3),
            ("b", "recipient", "domain", "sister.test", 1),
            ("c", "recipient", "domain", "sister.test", 2),
        ],
        FAR,
        SISTER,
        "b",
    ),
    (
        "sub-domains not asked for",
        [("a", "recipient", "domain", "sister.test", 0)],
        FAR,
        "sam@sub.sister.test",
        "far",
    ),
    ("sub-domains", [("a", "recipient", "domain", ".sister.test", 0)], FAR, "sam@sub.sister.test", "a"),
    ("no part of a name", [("a", "recipient", "domain", ".ister.test", 0)], FAR, SISTER, "far"),
    (
        "a recipient rule applies to mail for a local domain",
        [("a", "recipient", "domain", "ours.test", 0)],
        FAR,
        world.ALICE,
        "a",
    ),
    (
        "a sender rule does not apply to mail for a local domain",
        [("a", "sender", "domain", "far.test", 0)],
        FAR,
        world.ALICE,
        "mailbox",
    ),
    (
        "a recipient rule applies to mail for a relay domain",
        [("a", "recipient", "domain", "partner.test", 0)],
        FAR,
        "eve@partner.test",
        "a",
    ),
    (
        "a sender rule does not apply to mail for a relay domain",
        [("a", "sender", "domain", "far.test", 0)],
        FAR,
        "eve@partner.test",
        "far",
    ),
    ("any spelling", [("a", "recipient", "domain", "Sister.TEST", 0)], FAR, "sam@SISTER.test", "a"),
]


@pytest.mark.parametrize(
    ("rules", "sender", "recipient", "expected"),
    [one[1:] for one in PRECEDENCE],
    ids=[one[0] for one in PRECEDENCE],
)
def test_rules_are_chosen_in_the_documented_order(
    gateway: Gateway,
    hosts: dict[str, SmtpSink],
    request: pytest.FixtureRequest,
    rules: list[Rule],
    sender: str,
    recipient: str,
    expected: str,
) -> None:
    for host, kind, target_type, target, position in rules:
        gateway.create(
            "relay-rules",
            name=f"to {host}",
            type=kind,
            target_type=target_type,
            targets=[target],
            position=position,
            relay_host={"host": hosts[host].host, "port": hosts[host].port},
        )
    marker = request.node.callspec.id
    _send(gateway, marker, recipient, sender)
    gateway.delivered(marker, hosts[expected])
    assert [name for name, sink in hosts.items() if sink.messages] == [expected]


def test_a_disabled_rule_has_no_effect_and_every_target_of_a_rule_counts(
    gateway: Gateway, hosts: dict[str, SmtpSink]
) -> None:
    fields = {"type": "recipient", "target_type": "domain"}
    host = {"host": hosts["a"].host, "port": hosts["a"].port}
    rule = gateway.create("relay-rules", name="x", **fields, targets=["other.test", "sister.test"], relay_host=host)
    _send(gateway, "enabled", SISTER, FAR)
    gateway.delivered("enabled", hosts["a"])
    gateway.change("relay-rules", rule["id"], {"enabled": False})
    _send(gateway, "disabled", SISTER, FAR)
    gateway.delivered("disabled", gateway.far)


def test_an_alias_is_resolved_before_any_rule(gateway: Gateway, hosts: dict[str, SmtpSink]) -> None:
    gateway.create("aliases", address="sam@ours.test", targets=[SISTER])
    fields = {"type": "recipient", "target_type": "domain"}
    for name, target in (("a", "ours.test"), ("b", "sister.test")):
        host = {"host": hosts[name].host, "port": hosts[name].port}
        gateway.create("relay-rules", name=name, **fields, targets=[target], relay_host=host)
    _send(gateway, "by alias", "sam@ours.test", FAR)
    assert gateway.delivered("by alias", hosts["b"]).accepted_recipients == [SISTER.encode()]


def test_the_route_is_resolved_anew_at_each_attempt(gateway: Gateway, hosts: dict[str, SmtpSink]) -> None:
    gateway.far.on(Stage.RCPT, reply("451 4.3.0 Later"))
    _send(gateway, "anew", SISTER, FAR)
    assert _attempt(gateway, SISTER)["code"] == 451
    host = {"host": hosts["c"].host, "port": hosts["c"].port}
    fields = {"type": "recipient", "target_type": "domain"}
    gateway.create("relay-rules", name="x", **fields, targets=["sister.test"], relay_host=host)
    # A new configuration may have released the message already, so the retry may find nothing to do.
    for waiting in world.queued(gateway.suite):
        gateway.try_again(waiting["queue_id"])
    gateway.delivered("anew", hosts["c"])


# /dkim-keys


def test_mail_of_our_users_is_signed_and_mail_from_outside_is_not(gateway: Gateway) -> None:
    gateway.create("dkim-keys", domain="ours.test", selector="s1")
    gateway.create("trusted-networks", name="applications", networks=[f"{TRUSTED}/32"])
    author = "application@ours.test"
    with gateway.connect(TRUSTED) as application:
        assert application.transaction(author, FAR, content=message("by network", sender=author)) == "accepted"
    with gateway.connect() as outsider:
        assert outsider.transaction(FAR, world.ALICE, content=message("forged", sender=author)) == "accepted"
    _send(gateway, "by login")
    for marker in ("by network", "by login"):
        assert b"DKIM-Signature: v=1;" in gateway.delivered(marker, gateway.far).content
    assert b"DKIM-Signature" not in gateway.delivered("forged").content
