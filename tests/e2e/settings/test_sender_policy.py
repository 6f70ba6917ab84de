"""`/settings/sender-policy`: sender domains that are not fully qualified, and sender domains that do not exist."""

from __future__ import annotations

import pytest

from tests.e2e import world
from tests.e2e.settings.gateway import FAR, Gateway
from tests.peers.dns import Behaviour
from tests.peers.process import until

pytestmark = pytest.mark.e2e

# The rule about unknown senders applies to this recipient, although nobody has a mailbox there.
UNKNOWN_SENDERS_COUNT_FOR = "anyone@partner.test"


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("bob@short", "RCPT 504 5.5.2"),
        ("bob@localhost", "RCPT 504 5.5.2"),
        ("bob@far.test", "accepted"),
        ("bob@[192.0.2.1]", "accepted"),
        ("bob@[IPv6:2001:db8::1]", "accepted"),
        ("", "accepted"),
    ],
)
def test_a_sender_domain_must_be_fully_qualified(gateway: Gateway, sender: str, expected: str) -> None:
    gateway.patch("sender-policy", {"reject_non_fqdn_sender": "enforce"})
    assert gateway.attempt(sender=sender) == expected


@pytest.mark.parametrize("mode", ["off", "shadow"])
def test_both_rules_refuse_nothing_when_they_are_off_or_in_shadow_mode(gateway: Gateway, mode: str) -> None:
    gateway.create("relay-domains", name="partner", domain="partner.test")
    gateway.patch("sender-policy", {"reject_non_fqdn_sender": mode, "reject_unknown_sender_domain": mode})
    gateway.dns.behave("silent.test", Behaviour.SERVFAIL)
    for sender in ("bob@short", "bob@no-such.test", "bob@silent.test"):
        assert gateway.attempt(UNKNOWN_SENDERS_COUNT_FOR, sender=sender) == "accepted"


@pytest.fixture
def unknown_refused(gateway: Gateway) -> Gateway:
    """A gateway that refuses unknown sender domains and has a relay domain."""
    gateway.dns.load(
        {
            "mx-only.test": {"MX": "10 mx.far.test."},
            "a-only.test": {"A": "127.0.0.3"},
            "aaaa-only.test": {"AAAA": "2001:db8::3"},
            "txt-only.test": {"TXT": "neither"},
            "null-mx.test": {"MX": "0 .", "A": "127.0.0.3"},
            "dot-and-mx.test": {"MX": ["10 .", "20 mx.far.test."]},
            "alias-of.test": {"CNAME": "mx-only.test."},
            "xn--bcher-kva.test": {"A": "127.0.0.3"},
            "mx-silent.test": {"A": "127.0.0.3"},
            "a-silent.test": {"TXT": "x"},
        }
    )
    for name, behaviour, kind in (
        ("servfail.test", Behaviour.SERVFAIL, None),
        ("refused.test", Behaviour.REFUSED, None),
        ("nodata.test", Behaviour.NODATA, None),
        ("mx-silent.test", Behaviour.SERVFAIL, "MX"),
        ("a-silent.test", Behaviour.SERVFAIL, "A"),
    ):
        gateway.dns.behave(name, behaviour, kind)
    gateway.create("relay-domains", name="partner", domain="partner.test")
    gateway.patch("sender-policy", {"reject_unknown_sender_domain": "enforce"})
    return gateway


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("mx-only.test", "accepted"),
        ("a-only.test", "accepted"),
        ("aaaa-only.test", "accepted"),
        ("alias-of.test", "accepted"),
        ("MX-only.TEST", "accepted"),
        ("dot-and-mx.test", "accepted"),
        ("xn--bcher-kva.test", "accepted"),
        ("ours.test", "accepted"),
        ("partner.test", "accepted"),
        ("[192.0.2.1]", "accepted"),
        ("no-such.test", "RCPT 550 5.1.8"),
        ("nodata.test", "RCPT 550 5.1.8"),
        ("txt-only.test", "RCPT 550 5.1.8"),
        ("null-mx.test", "RCPT 550 5.7.27"),
        ("servfail.test", "RCPT 450 4.1.8"),
        ("refused.test", "RCPT 450 4.1.8"),
        ("mx-silent.test", "accepted-or-450"),
        ("a-silent.test", "RCPT 450 4.1.8"),
    ],
)
def test_an_unknown_sender_domain_is_refused(unknown_refused: Gateway, domain: str, expected: str) -> None:
    got = unknown_refused.attempt(UNKNOWN_SENDERS_COUNT_FOR, sender=f"bob@{domain}")
    if expected == "accepted-or-450":
        # Both outcomes are valid: the domain exists, because it has an address, but the missing answer about its MX
        # records could be a null MX.
        assert got in ("accepted", "RCPT 450 4.1.8")
    else:
        assert got == expected


def test_a_sender_domain_without_an_answer_is_refused_temporarily(unknown_refused: Gateway) -> None:
    unknown_refused.dns.behave("silent.test", Behaviour.SILENT)
    assert unknown_refused.attempt(UNKNOWN_SENDERS_COUNT_FOR, sender="bob@silent.test") == "RCPT 450 4.1.8"


@pytest.mark.parametrize(
    "recipient", [world.ALICE, "ALICE@ours.test", "info@ours.test", "postmaster@ours.test", "postmaster"]
)
def test_an_existing_account_gets_mail_from_unknown_sender_domains(unknown_refused: Gateway, recipient: str) -> None:
    for domain in ("no-such.test", "null-mx.test", "servfail.test"):
        assert unknown_refused.attempt(recipient, sender=f"bob@{domain}") == "accepted"


def test_a_listed_recipient_of_a_relay_domain_does_not_count_as_an_account(unknown_refused: Gateway) -> None:
    unknown_refused.list_recipient("eve@listed.test")
    unknown_refused.create("relay-domains", name="listed", domain="listed.test", recipients="list")
    assert unknown_refused.attempt("eve@listed.test", sender="bob@no-such.test") == "RCPT 550 5.1.8"
    assert unknown_refused.attempt("eve@listed.test", sender="") == "accepted"


def test_a_refused_recipient_does_not_change_the_transaction(unknown_refused: Gateway) -> None:
    with unknown_refused.connect() as client:
        client.mail("bob@no-such.test")
        assert [client.rcpt(UNKNOWN_SENDERS_COUNT_FOR), client.rcpt(world.ALICE)] == ["550 5.1.8", "250"]
        client.say("RSET")
        assert client.transaction(FAR, UNKNOWN_SENDERS_COUNT_FOR) == "accepted"


def test_shadow_mode_counts_its_refusals(gateway: Gateway) -> None:
    gateway.patch("sender-policy", {"reject_non_fqdn_sender": "shadow"})
    labels = {"reason": "non_fqdn_sender"}
    before = gateway.metric("policy", "posthouse_policy_shadow_total", **labels)
    assert gateway.attempt(sender="bob@short") == "accepted"
    assert gateway.attempt(sender="bob@far.test") == "accepted"
    until(
        lambda: gateway.metric("policy", "posthouse_policy_shadow_total", **labels) == before + 1,
        "the counter has increased by one",
    )
    explained = gateway.explain(client_address="93.9.9.9", sender="bob@short", recipient=world.ALICE)
    (report,) = [one for one in explained["rules"] if one["reason_id"] == "non_fqdn_sender"]
    assert (report["outcome"], report["reply"]["code"], report["reply"]["enhanced_code"]) == ("shadow", 504, "5.5.2")
