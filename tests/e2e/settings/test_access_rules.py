"""`/access-rules`: block rules and allow rules, their precedence, and the checks that an allow rule turns off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e import world
from tests.e2e.settings.gateway import FAR, Gateway, message
from tests.e2e.settings.session import Client
from tests.peers.clamd import Clamd, eicar
from tests.peers.process import until

pytestmark = pytest.mark.e2e

CAROL = "carol@ours.test"
CLIENT = "93.200.7.9"
CLIENT_V6 = "2a01:4f8:c0c:1::9"

# The columns are: the criterion, a value that matches FAR's mail to alice from CLIENT, and a value that does not.
MATCHES = [
    ("sender", "bob@far.test", "rob@far.test"),
    ("recipient", world.ALICE, CAROL),
    ("ip", CLIENT, "93.200.7.8"),
    ("network", "93.200.7.0/24", "93.200.8.0/24"),
]


@pytest.mark.parametrize(("criterion", "value", "_other"), MATCHES)
@pytest.mark.parametrize(
    ("mode", "expected"), [("off", "accepted"), ("shadow", "accepted"), ("enforce", "RCPT 554 5.7.1")]
)
def test_a_block_rule_refuses_only_in_the_mode_enforce(
    gateway: Gateway, criterion: str, value: str, _other: str, mode: str, expected: str
) -> None:
    gateway.access("block", criterion, value, action="reject", mode=mode)
    assert gateway.attempt(address=CLIENT) == expected


@pytest.mark.parametrize(("criterion", "_value", "other"), MATCHES)
def test_a_block_rule_does_not_affect_other_mail(gateway: Gateway, criterion: str, _value: str, other: str) -> None:
    gateway.access("block", criterion, other, action="reject")
    assert gateway.attempt(address=CLIENT) == "accepted"


@pytest.mark.parametrize(
    ("value", "sender", "blocked"),
    [
        ("bob@far.test", "bob@FAR.TEST", True),
        ("bob@Far.Test", "bob@far.test", True),
        ("bob@far.test", "BOB@far.test", True),
        ("bob@far.test", "bob@far.test.evil.test", False),
        ("bob@far.test", "xbob@far.test", False),
        ("bob@far.test", "bob@sub.far.test", False),
        ("bob@far.test", '"bob@far.test"@evil.test', False),
        ("bob@far.test", '"bob"@far.test', True),
        ("bob@far.test", "bob+tag@far.test", False),
        ("bob@far.test", "", False),
        ("bob@xn--bcher-kva.test", "bob@b\u00fccher.test", True),
        ("bob@b\u00fccher.test", "bob@xn--bcher-kva.test", True),
        ("b%b@far.test", "bob@far.test", False),
        ("b_b@far.test", "bob@far.test", False),
    ],
)
def test_a_sender_is_compared_as_a_whole_and_without_regard_to_case(
    gateway: Gateway, value: str, sender: str, blocked: bool
) -> None:
    gateway.access("block", "sender", value, action="reject")
    with gateway.connect() as client:
        assert client.mail(sender, "" if sender.isascii() else "SMTPUTF8") == "250"
        assert client.rcpt(world.ALICE) == ("554 5.7.1" if blocked else "250")


def test_a_blocked_recipient_does_not_affect_the_other_recipients(gateway: Gateway) -> None:
    gateway.access("block", "recipient", "Alice@Ours.Test", action="reject")
    with gateway.connect() as client:
        client.mail(FAR)
        assert [client.rcpt(world.ALICE), client.rcpt("ALICE@ours.test"), client.rcpt(CAROL)] == [
            "554 5.7.1",
            "554 5.7.1",
            "250",
        ]
        assert client.data(message("to carol alone")) == "250"
    assert gateway.delivered("to carol alone").accepted_recipients == [CAROL.encode()]


# Networks


@pytest.mark.parametrize(
    ("value", "shown", "inside", "outside"),
    [
        ("93.200.0.0/16", "93.200.0.0/16", ["93.200.0.0", "93.200.255.255"], ["93.199.255.255", "93.201.0.0"]),
        ("93.200.7.9/16", "93.200.0.0/16", ["93.200.1.1"], ["93.201.0.1"]),
        ("93.200.7.0/255.255.255.0", "93.200.7.0/24", ["93.200.7.200", "::ffff:93.200.7.3"], ["93.200.8.1"]),
        (
            "192.163.1.1/255.100.10.1",
            "192.32.0.1/255.100.10.1",
            ["192.163.1.1", "192.32.0.1", "192.59.244.5"],
            ["192.163.1.2", "192.100.0.1", "193.32.0.1"],
        ),
        ("2a01:4f8::/32", "2a01:4f8::/32", ["2a01:4f8::1", "2a01:4f8:ffff::1"], ["2a01:4f9::1", "93.200.7.1"]),
        ("93.200.7.9/32", "93.200.7.9/32", ["93.200.7.9"], ["93.200.7.8"]),
        ("::ffff:93.200.7.0/120", "93.200.7.0/24", ["93.200.7.1"], ["93.200.8.1"]),
    ],
)
def test_a_blocked_network_blocks_exactly_the_clients_in_it(
    gateway: Gateway, value: str, shown: str, inside: list[str], outside: list[str]
) -> None:
    rule = gateway.access("block", "network", value, action="reject")
    replies = {address: gateway.attempt(address=address) for address in (*inside, *outside)}
    assert replies == {
        **dict.fromkeys(inside, "RCPT 554 5.7.1"),
        **dict.fromkeys(outside, "accepted"),
    }
    canonical = {shown} if "/32" not in shown and "/24" not in shown else {shown, _with_netmask(shown)}
    assert rule["value"] == value
    assert rule["canonical"] in canonical


def _with_netmask(network: str) -> str:
    address, _, bits = network.partition("/")
    return f"{address}/{'255.255.255.255' if bits == '32' else '255.255.255.0'}"


@pytest.mark.parametrize(
    "address", [CLIENT_V6, "2a01:04f8:0c0c:0001:0000:0000:0000:0009", "2A01:4F8:C0C:1:0:0:0:9", "::ffff:93.200.7.9"]
)
def test_a_rule_matches_however_its_address_is_written(gateway: Gateway, address: str) -> None:
    gateway.access("block", "ip", address, action="reject")
    same = CLIENT if "." in address else CLIENT_V6
    other = "93.200.7.10" if "." in address else "2a01:4f8:c0c:1::a"
    assert gateway.attempt(address=same) == "RCPT 554 5.7.1"
    assert gateway.attempt(address=other) == "accepted"


def test_an_ipv4_mapped_client_is_treated_as_its_ipv4_address(gateway: Gateway) -> None:
    gateway.access("block", "ip", CLIENT, action="reject")
    assert gateway.attempt(address=f"::ffff:{CLIENT}") == "RCPT 554 5.7.1"


def test_the_address_of_the_client_is_the_same_after_starttls(gateway: Gateway) -> None:
    gateway.access("block", "ip", CLIENT, action="reject")
    with gateway.connect(CLIENT) as client:
        assert client.starttls() == "220 2.0.0"
        assert client.transaction(FAR, world.ALICE) == "RCPT 554 5.7.1"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"list": "block", "criterion": "domain", "value": "far.test", "action": "reject"}, 201),
        ({"list": "allow", "criterion": "domain", "value": "far.test"}, 201),
        ({"list": "allow", "criterion": "ip", "value": CLIENT, "action": "reject"}, 422),
        ({"list": "block", "criterion": "ip", "value": "93.200.7.0/24", "action": "reject"}, 422),
        ({"list": "block", "criterion": "ip", "value": "93.200.7.256", "action": "reject"}, 422),
        ({"list": "block", "criterion": "network", "value": "93.200.7.0/33", "action": "reject"}, 422),
        ({"list": "block", "criterion": "network", "value": "93.200.7.0/255.0.256.0", "action": "reject"}, 422),
        ({"list": "block", "criterion": "network", "value": "2a01::/ffff:0:ffff::", "action": "reject"}, 422),
        ({"list": "block", "criterion": "sender", "value": "far.test", "action": "reject"}, 422),
        ({"list": "block", "criterion": "recipient", "value": "@far.test", "action": "reject"}, 422),
        ({"list": "block", "criterion": "sender", "value": "bob@far.test", "action": "bounce"}, 422),
        ({"list": "allow", "criterion": "domain", "value": "far..test"}, 422),
    ],
)
def test_the_api_accepts_only_rules_that_can_match(gateway: Gateway, fields: dict[str, Any], status: int) -> None:
    assert gateway.status("POST", "access-rules", fields) == status
    gateway.settle("access-rules")


# Discarded mail


@pytest.mark.parametrize(("criterion", "value", "_other"), [one for one in MATCHES if one[0] != "recipient"])
def test_discarded_mail_is_answered_as_accepted_and_recorded(
    gateway: Gateway, criterion: str, value: str, _other: str
) -> None:
    gateway.access("block", criterion, value, action="discard")
    marker = f"discarded by {criterion}"
    with gateway.connect(CLIENT) as client:
        assert client.transaction(FAR, world.ALICE, CAROL, content=message(marker)) == "accepted"
        # The next message arrives. A copy of the discarded message, if there were one, would have arrived before it.
        behind = f"behind {criterion}"
    assert gateway.attempt(sender="next@far.test", content=message(behind)) == "accepted"
    gateway.delivered(behind)
    (record,) = [one for one in world.history(gateway.suite) if one["state"] == "discarded" and one["sender"] == FAR][
        :1
    ]
    assert record["origin"]["client_address"] == CLIENT
    assert not [one for one in gateway.mailbox.messages if marker.encode() in one.content]


def test_a_recipient_rule_discards_only_that_recipient(gateway: Gateway) -> None:
    gateway.access("block", "recipient", world.ALICE, action="discard")
    sender = "partly@far.test"
    with gateway.connect() as client:
        assert client.transaction(sender, world.ALICE, CAROL, content=message("partly discarded")) == "accepted"
    assert gateway.delivered("partly discarded").accepted_recipients == [CAROL.encode()]
    until(
        lambda: gateway.states(sender) == {world.ALICE: "discarded", CAROL: "delivered"},
        f"one recipient is discarded and one is delivered; states so far: {gateway.states(sender)}",
    )


def test_discarded_mail_is_not_relayed(gateway: Gateway) -> None:
    gateway.access("block", "ip", CLIENT, action="discard")
    assert gateway.attempt("nobody@ours.test", address=CLIENT) in ("accepted", "RCPT 550 5.1.1")
    # A discard rule must not make the gateway an open relay: a message that is answered as accepted is not sent.
    gateway.attempt(FAR, address=CLIENT, content=message("not relayed"))
    assert gateway.attempt(sender="after@far.test", content=message("after")) == "accepted"
    gateway.delivered("after")
    assert gateway.far.messages == []


# Allow rules take precedence over block rules


@pytest.mark.parametrize("allow", ["sender", "recipient", "ip", "network", "domain"])
@pytest.mark.parametrize("block", ["sender", "recipient", "ip", "network"])
def test_a_block_rule_on_a_client_is_lifted_only_by_an_allow_rule_on_ip_or_network(
    gateway: Gateway, allow: str, block: str
) -> None:
    values = {criterion: value for criterion, value, _ in MATCHES} | {"domain": "far.test"}
    gateway.access("block", block, values[block], action="reject")
    gateway.access("allow", allow, values[allow])
    lifted = block not in ("ip", "network") or allow in ("ip", "network")
    assert gateway.attempt(address=CLIENT) == ("accepted" if lifted else "RCPT 554 5.7.1")


@pytest.mark.parametrize("mode", ["off", "shadow"])
def test_an_allow_rule_that_is_off_or_in_shadow_mode_exempts_nothing(gateway: Gateway, mode: str) -> None:
    gateway.access("block", "sender", FAR, action="reject")
    gateway.access("allow", "ip", CLIENT, mode=mode)
    assert gateway.attempt(address=CLIENT) == "RCPT 554 5.7.1"


@pytest.mark.parametrize("criterion", ["sender", "recipient", "ip", "network", "domain"])
def test_an_allow_rule_never_grants_relaying(gateway: Gateway, criterion: str) -> None:
    values = {
        "sender": FAR,
        "recipient": "eve@elsewhere.test",
        "ip": CLIENT,
        "network": "93.200.0.0/16",
        "domain": "far.test",
    }
    gateway.access("allow", criterion, values[criterion])
    assert gateway.attempt("eve@elsewhere.test", address=CLIENT) == "RCPT 554 5.7.1"
    assert gateway.attempt("nobody@ours.test", address=CLIENT) == "RCPT 550 5.1.1"


@pytest.mark.parametrize(
    ("value", "sender", "allowed"),
    [
        ("far.test", "spam@far.test", True),
        ("FAR.test", "spam@Far.Test", True),
        ("far.test", "spam@sub.far.test", False),
        ("far.test", "spam@notfar.test", False),
        ("far.test", "spam@far.test.evil.test", False),
        ("far.test", '"@far.test"@evil.test', False),
    ],
)
def test_an_allowed_domain_must_be_exactly_the_domain_of_the_sender(
    gateway: Gateway, value: str, sender: str, allowed: bool
) -> None:
    gateway.access("block", "recipient", world.ALICE, action="reject")
    gateway.access("allow", "domain", value)
    assert gateway.attempt(sender=sender) == ("accepted" if allowed else "RCPT 554 5.7.1")


# The checks that an allow rule turns off: a table of the five criteria and the five checks

EXEMPT = {
    "ip": {"dnsbl", "spf", "antivirus", "dkim", "dmarc"},
    "network": {"dnsbl", "spf", "dkim", "dmarc"},
    "sender": {"spf", "antivirus"},
    "recipient": {"spf", "antivirus"},
    "domain": {"spf", "antivirus", "dkim", "dmarc"},
}
REFUSED = {
    "dnsbl": "RCPT 554 5.7.1",
    "spf": "RCPT 550 5.7.23",
    "antivirus": "DATA 554 5.7.1",
    "dkim": "DATA 550 5.7.20",
    "dmarc": "DATA 550 5.7.1",
}
FORGED_SIGNATURE = (
    "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=judged.test; s=s1; h=From:Subject;\r\n"
    f" bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b={'A' * 86}==\r\n"
)
# This public key is from RFC 8463 appendix A.
KEY_RECORD = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


@pytest.fixture
def judged(gateway: Gateway, clamd: Clamd) -> Gateway:
    """A gateway with DNS records by which each content check, when it is on, refuses the test's client and mail."""
    gateway.dns.replace("9.7.200.93.list.test", "A", "127.0.0.2")
    gateway.dns.replace("2.0.0.127.list.test", "A", "127.0.0.2")
    gateway.dns.replace("judged.test", "TXT", "v=spf1 -all")
    gateway.dns.replace("judged.test", "MX", "10 mx.far.test.")
    gateway.dns.replace("s1._domainkey.judged.test", "TXT", KEY_RECORD)
    gateway.dns.replace("_dmarc.judged.test", "TXT", "v=DMARC1; p=reject")
    return gateway


def _check(clamd: Clamd, check: str, mode: str = "enforce") -> dict[str, Any]:
    settings: dict[str, Any] = {"mode": mode}
    if check == "dnsbl":
        settings["zones"] = [{"zone": "list.test"}]
    if check == "antivirus":
        settings["clamd"] = clamd.address
    return {check: settings}


def _bad(check: str) -> bytes:
    header = FORGED_SIGNATURE if check == "dkim" else ""
    body = eicar().decode() + "\r\n" if check == "antivirus" else "Hello.\r\n"
    return message(f"bad for {check}", sender="x@judged.test", header=header, body=body)


@pytest.mark.parametrize("check", sorted(REFUSED))
@pytest.mark.parametrize("criterion", ["none", *EXEMPT])
def test_an_allow_rule_skips_the_checks_of_its_row_in_the_table(
    judged: Gateway, clamd: Clamd, criterion: str, check: str
) -> None:
    values = {
        "ip": CLIENT,
        "network": "93.200.7.0/24",
        "sender": "x@judged.test",
        "recipient": world.ALICE,
        "domain": "judged.test",
    }
    judged.content_checks(**_check(clamd, check))
    if criterion != "none":
        judged.access("allow", criterion, values[criterion])
    expected = "accepted" if check in EXEMPT.get(criterion, set()) else REFUSED[check]
    assert judged.attempt(sender="x@judged.test", address=CLIENT, content=_bad(check)) == expected


def test_an_allow_rule_on_a_recipient_applies_only_to_this_recipient(judged: Gateway, clamd: Clamd) -> None:
    judged.content_checks(**_check(clamd, "spf"))
    judged.access("allow", "recipient", world.ALICE)
    with judged.connect(CLIENT) as client:
        client.mail("x@judged.test")
        assert [client.rcpt(world.ALICE), client.rcpt(CAROL), client.rcpt("ALICE@OURS.test")] == [
            "250",
            "550 5.7.23",
            "250",
        ]


@pytest.mark.parametrize("recipients", [(world.ALICE, CAROL), (CAROL, world.ALICE)])
def test_a_virus_is_refused_for_all_recipients_if_one_is_not_exempt(
    judged: Gateway, clamd: Clamd, recipients: tuple[str, str]
) -> None:
    judged.content_checks(**_check(clamd, "antivirus"))
    judged.access("allow", "recipient", world.ALICE)
    with judged.connect(CLIENT) as client:
        assert client.transaction("x@judged.test", *recipients, content=_bad("antivirus")) == "DATA 554 5.7.1"
        assert client.transaction("x@judged.test", world.ALICE, content=_bad("antivirus")) == "accepted"


def test_an_allowed_ip_is_exempt_from_the_security_settings(gateway: Gateway) -> None:
    gateway.access("allow", "ip", CLIENT)
    gateway.access("block", "sender", "a@short", action="reject")
    gateway.patch("sender-policy", {"reject_non_fqdn_sender": "enforce", "reject_unknown_sender_domain": "enforce"})
    gateway.patch("advanced-security", {"reject_non_fqdn_helo": "enforce", "reject_unknown_helo": "enforce"})
    gateway.patch(
        "connection-policy",
        {
            "reject_unknown_client_hostname": "enforce",
            "max_concurrent_connections": 1,
            "max_messages_per_minute": 1,
            "max_connections_per_minute": 1,
        },
    )
    clients = [gateway.connect(CLIENT, helo="short") for _ in range(3)]
    try:
        for client in clients:
            assert client.greeting == "220"
            for _ in range(2):
                assert client.transaction("a@short", "nobody-yet@ours.test") == "RCPT 550 5.1.1"
                assert client.rcpt(CAROL) == "250"
                client.say("RSET")
    finally:
        for client in clients:
            client.close()


def test_protocol_checks_apply_to_an_allowed_ip(gateway: Gateway) -> None:
    gateway.access("allow", "ip", CLIENT)
    gateway.patch("advanced-security", {"max_junk_commands": 10})
    with gateway.connect(CLIENT) as client:
        answers = [client.say("NOOP") for _ in range(12)]
        assert "421 4.7.0" in answers
    with gateway.connect(CLIENT) as client:
        client.send("DATA\r\nNOOP\r\n")
        assert client.reply() != "250"
    early = Client.early(CLIENT, gateway.suite.smtp_port, b"EHLO early.test\r\n")
    assert early == ["554 5.5.0", "closed"]


@pytest.mark.parametrize("criterion", ["sender", "recipient", "network", "domain"])
def test_allow_rules_with_criteria_other_than_ip_do_not_exempt_from_security_settings(
    gateway: Gateway, criterion: str
) -> None:
    values = {"sender": FAR, "recipient": world.ALICE, "network": "93.200.7.0/24", "domain": "far.test"}
    gateway.access("allow", criterion, values[criterion])
    gateway.patch("advanced-security", {"reject_non_fqdn_helo": "enforce"})
    assert gateway.attempt(address=CLIENT, helo="short") == "RCPT 504 5.5.2"


# Expiry, shadow mode and counts of rules


def test_an_expired_rule_has_no_effect(gateway: Gateway) -> None:
    now = datetime.now(UTC)
    soon = (now + timedelta(seconds=2)).isoformat()
    gateway.access("block", "sender", "later@far.test", action="reject", expires_at=(now + timedelta(1)).isoformat())
    rule = gateway.access("block", "sender", FAR, action="reject", expires_at=soon)
    assert gateway.attempt(sender="later@far.test") == "RCPT 554 5.7.1"
    until(lambda: gateway.attempt() == "accepted", f"the rule {rule['id']} has expired", pause=0.1)
    assert gateway.attempt(sender="later@far.test") == "RCPT 554 5.7.1"


def test_a_changed_or_removed_rule_is_in_force_at_once(gateway: Gateway) -> None:
    rule = gateway.access("block", "sender", FAR, action="reject")
    with gateway.connect() as client:
        assert client.transaction(FAR, world.ALICE) == "RCPT 554 5.7.1"
        gateway.change("access-rules", rule["id"], {"value": "rob@far.test"})
        assert client.rcpt(world.ALICE) == "250"
        gateway.change("access-rules", rule["id"], {"value": FAR})
        assert client.rcpt(CAROL) == "554 5.7.1"
        gateway.remove("access-rules", rule["id"])
        assert client.rcpt(CAROL) == "250"


@pytest.mark.parametrize("mode", ["shadow", "enforce"])
def test_each_rule_counts_its_hits_and_records_the_time_of_the_last_hit(gateway: Gateway, mode: str) -> None:
    rule = gateway.access("block", "sender", "counted@far.test", action="reject", mode=mode)
    other = gateway.access("block", "sender", "other@far.test", action="reject", mode=mode)
    assert (rule["hits"], rule["last_hit_at"]) == (0, None)
    started = datetime.now(UTC) - timedelta(seconds=1)
    for _ in range(3):
        gateway.attempt(sender="counted@far.test")

    def hits() -> int:
        return int(gateway.read(f"access-rules/{rule['id']}")["hits"])

    until(lambda: hits() == 3, "three hits are counted", pause=0.1)
    last = datetime.fromisoformat(gateway.read(f"access-rules/{rule['id']}")["last_hit_at"])
    assert started <= last <= datetime.now(UTC) + timedelta(seconds=1)
    assert gateway.read(f"access-rules/{other['id']}")["hits"] == 0
    listed = {one["id"]: one["hits"] for one in gateway.read("access-rules")["items"]}
    assert listed == {rule["id"]: 3, other["id"]: 0}


def test_explain_shows_a_rule_in_shadow_mode(gateway: Gateway) -> None:
    rule = gateway.access("block", "sender", FAR, action="reject", mode="shadow")
    explained = gateway.explain(client_address=CLIENT, sender=FAR, recipient=world.ALICE)
    assert explained["action"] == "accept"
    (report,) = [one for one in explained["rules"] if one["rule_id"] == rule["id"]]
    assert (report["outcome"], report["reply"]["code"], report["reply"]["enhanced_code"]) == ("shadow", 554, "5.7.1")
