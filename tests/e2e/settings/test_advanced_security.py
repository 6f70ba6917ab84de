"""`/settings/advanced-security`: pipelining, HELO names, guessed recipients, and junk commands."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.e2e import world
from tests.e2e.settings.gateway import FAR, Gateway, message
from tests.e2e.settings.session import Client
from tests.peers.dns import Behaviour
from tests.peers.process import until

pytestmark = pytest.mark.e2e


# reject_unauthorized_pipelining

ENFORCED = ["554 5.5.0", "closed"]


@pytest.mark.parametrize(("mode", "expected"), [("off", ["220"]), ("shadow", ["220"]), ("enforce", ENFORCED)])
@pytest.mark.parametrize("octets", [b"EHLO early.test\r\n", b"E", b"\r\n"])
def test_octets_before_the_greeting_are_refused_when_the_rule_is_enforced(
    gateway: Gateway, mode: str, expected: list[str], octets: bytes
) -> None:
    gateway.patch("advanced-security", {"reject_unauthorized_pipelining": mode})
    assert Client.early(gateway.public_address(), gateway.suite.smtp_port, octets) == expected


@pytest.mark.parametrize("mode", ["off", "shadow", "enforce"])
@pytest.mark.parametrize(
    ("before", "octets"),
    [
        ([], b"EHLO client.test\r\nMAIL FROM:<bob@far.test>\r\n"),
        ([], b"HELO client.test\r\nMAIL FROM:<bob@far.test>\r\n"),
        (["HELO client.test"], b"MAIL FROM:<bob@far.test>\r\nRCPT TO:<alice@ours.test>\r\n"),
        (
            ["EHLO client.test", "MAIL FROM:<bob@far.test>", "RCPT TO:<alice@ours.test>"],
            b"DATA\r\nSubject: early\r\n\r\n.\r\n",
        ),
    ],
    ids=["behind-ehlo", "behind-helo", "pipelined-after-helo", "behind-data"],
)
def test_commands_that_come_too_early_are_refused_only_in_the_mode_enforce(
    gateway: Gateway, mode: str, before: list[str], octets: bytes
) -> None:
    gateway.patch("advanced-security", {"reject_unauthorized_pipelining": mode})
    with gateway.connect(helo=None) as client:
        for command in before:
            assert client.say(command) == "250"
        client.send(octets)
        first = client.reply()
        if mode != "enforce":
            assert first in ("250", "354"), client.text
            assert client.reply() == "250"
            return
        # The command may be answered before the octets after it were read.
        second = client.reply() if first == "250" else first
        assert second == "554 5.5.0"
        assert client.ended()


def test_commands_sent_together_with_starttls_end_the_session_by_the_rule(gateway: Gateway) -> None:
    with gateway.connect() as client:
        client.send(b"STARTTLS\r\nMAIL FROM:<bob@far.test>\r\n")
        assert client.reply() == "554 5.5.0"
        assert client.ended()


@pytest.mark.parametrize("mode", ["off", "shadow"])
def test_commands_sent_together_with_starttls_are_dropped_without_the_rule(gateway: Gateway, mode: str) -> None:
    gateway.patch("advanced-security", {"reject_unauthorized_pipelining": mode})
    with gateway.connect() as client:
        client.send(b"STARTTLS\r\nMAIL FROM:<bob@far.test>\r\nRCPT TO:<alice@ours.test>\r\n")
        assert client.reply() == "220 2.0.0"
        client.wrap()
        assert client.rcpt(world.ALICE).startswith("503")
        assert client.ehlo("client.test") == "250"


def test_offered_pipelining_is_accepted(gateway: Gateway) -> None:
    with gateway.connect() as client:
        assert "PIPELINING" in client.extensions
        client.send(b"MAIL FROM:<bob@far.test>\r\nRCPT TO:<alice@ours.test>\r\nRCPT TO:<no@ours.test>\r\nDATA\r\n")
        assert [client.reply() for _ in range(4)] == ["250", "250", "550 5.1.1", "354"]


def test_ehlo_and_quit_in_one_write_are_accepted_on_submission(gateway: Gateway) -> None:
    with Client(gateway.public_address(), gateway.suite.submission_port, helo=None) as client:
        client.send(b"EHLO client.test\r\nQUIT\r\n")
        assert client.reply() == "250"
        assert client.reply() == "221 2.0.0"
        assert client.ended()


# HELO names

HELO = [
    # The columns are: the name, the reply when it is not fully qualified, and the reply when it is unknown.
    ("client.far.test", None, None),
    ("CLIENT.FAR.TEST", None, None),
    ("far.test", None, None),
    ("aaaa-only.test", None, None),
    # This name has a null MX (RFC 7505) and an address.
    ("null-mx.test", None, None),
    ("only-null-mx.test", None, "450 4.7.1"),
    ("short", "504 5.5.2", "450 4.7.1"),
    ("localhost", "504 5.5.2", "450 4.7.1"),
    ("no-such.test", None, "450 4.7.1"),
    ("txt-only.test", None, "450 4.7.1"),
    ("silent.test", None, "450 4.7.1"),
    ("[93.40.0.1]", None, None),
    ("[192.0.2.200]", None, None),
    ("[IPv6:2a03::1]", None, None),
    ("93.40.0.1", "504 5.5.2", "450 4.7.1"),
]


@pytest.fixture
def helo_names(gateway: Gateway) -> Gateway:
    gateway.dns.replace("aaaa-only.test", "AAAA", "2a03::1")
    gateway.dns.replace("txt-only.test", "TXT", "x")
    gateway.dns.replace("null-mx.test", "MX", "0 .")
    gateway.dns.replace("null-mx.test", "A", "93.40.0.2")
    gateway.dns.replace("only-null-mx.test", "MX", "0 .")
    gateway.dns.behave("silent.test", Behaviour.SERVFAIL)
    return gateway


@pytest.mark.parametrize("mode", ["off", "shadow", "enforce"])
@pytest.mark.parametrize("rule", ["reject_non_fqdn_helo", "reject_unknown_helo"])
def test_each_helo_rule_refuses_its_names_only_in_the_mode_enforce(helo_names: Gateway, rule: str, mode: str) -> None:
    helo_names.patch("advanced-security", {rule: mode})
    column = 1 if rule == "reject_non_fqdn_helo" else 2
    expected = {row[0]: f"RCPT {row[column]}" if mode == "enforce" and row[column] else "accepted" for row in HELO}
    assert {name: helo_names.attempt(helo=name) for name in expected} == expected


def test_the_name_in_helo_is_checked_like_the_name_in_ehlo(helo_names: Gateway) -> None:
    helo_names.patch("advanced-security", {"reject_non_fqdn_helo": "enforce"})
    with helo_names.connect(helo=None) as client:
        assert client.say("HELO short") == "250"
        assert client.transaction(FAR, world.ALICE) == "RCPT 504 5.5.2"
        client.say("RSET")
        assert client.say("HELO client.far.test") == "250"
        assert client.transaction(FAR, world.ALICE) == "accepted"


def test_logged_in_clients_and_submission_ports_may_use_any_helo_name(helo_names: Gateway) -> None:
    helo_names.patch("advanced-security", {"reject_non_fqdn_helo": "enforce", "reject_unknown_helo": "enforce"})
    with helo_names.connect(helo="short") as client:
        client.starttls("short")
        assert client.transaction(FAR, world.ALICE) == "RCPT 504 5.5.2"
        client.say("RSET")
        assert client.auth_plain() == "235 2.7.0"
        assert client.transaction(world.ALICE, "carol@ours.test") == "accepted"
    trusted = helo_names.public_address()
    helo_names.create("trusted-networks", name="x", networks=[trusted])
    with Client(trusted, helo_names.suite.submission_port, helo="short") as client:
        assert client.transaction(FAR, world.ALICE) == "accepted"


# max_unknown_recipients_per_day


def _guess(gateway: Gateway, address: str, *names: str) -> list[str]:
    with gateway.connect(address) as client:
        if client.greeting != "220":
            return [client.greeting]
        client.mail(FAR)
        return [client.rcpt(f"{name}@ours.test") for name in names]


def test_a_client_that_names_too_many_unknown_recipients_is_blocked_for_the_day(gateway: Gateway) -> None:
    gateway.patch("advanced-security", {"max_unknown_recipients_per_day": 3, "timezone": "Asia/Tokyo"})
    address = gateway.public_address()
    # The same name counts only once.
    assert _guess(gateway, address, "n1", "n1", "N1", "n2", "n1") == ["550 5.1.1"] * 5
    assert _guess(gateway, address, "n3", "alice") == ["550 5.1.1", "421 4.7.0"]
    assert _guess(gateway, address, "alice") == ["421 4.7.0"]
    assert _guess(gateway, f"::ffff:{address}", "alice") == ["421 4.7.0"]
    (blocked,) = [one for one in gateway.read("blocked-clients")["items"] if one["client"] == address]
    assert blocked["reason"]
    tokyo = ZoneInfo("Asia/Tokyo")
    midnight = (datetime.now(tokyo) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    assert datetime.fromisoformat(blocked["ends_at"]) == midnight
    assert gateway.attempt() == "accepted"


def test_the_session_that_reached_the_limit_gets_its_recipients_refused(gateway: Gateway) -> None:
    gateway.patch("advanced-security", {"max_unknown_recipients_per_day": 2})
    address = gateway.public_address()
    with gateway.connect(address) as client:
        client.mail(FAR)
        answers = [client.rcpt(f"{name}@ours.test") for name in ("alice", "n1", "n2", "carol")]
        # The recipient that reaches the limit gets its own reply, and the block begins after it (F31).
        assert answers == ["250", "550 5.1.1", "550 5.1.1", "421 4.7.0"]


def test_a_blocked_client_is_blocked_for_the_postmaster_too_until_the_block_is_lifted(gateway: Gateway) -> None:
    gateway.patch("advanced-security", {"max_unknown_recipients_per_day": 1})
    address = gateway.public_address()
    with gateway.connect(address) as client:
        client.mail(FAR)
        client.rcpt("n1@ours.test")
        assert client.rcpt("postmaster@ours.test") == "421 4.7.0"
    assert gateway.attempt("postmaster@ours.test", address=address) == "CONNECT 421 4.7.0"
    assert gateway.suite.api.delete(f"/v1/blocked-clients/{address}").status_code == 204
    assert address not in [one["client"] for one in gateway.read("blocked-clients")["items"]]
    until(lambda: gateway.attempt(address=address) == "accepted", "the block is removed")
    # The count begins again.
    assert _guess(gateway, address, "alice") == ["250"]


def test_recipients_of_relay_domains_that_are_not_listed_count_as_unknown(gateway: Gateway) -> None:
    gateway.patch("advanced-security", {"max_unknown_recipients_per_day": 2})
    gateway.list_recipient("eve@partner.test")
    gateway.create("relay-domains", name="x", domain="partner.test", recipients="list")
    address = gateway.public_address()
    for name in ("n1", "n2"):
        gateway.attempt(f"{name}@partner.test", address=address)
    assert gateway.attempt(address=address) == "CONNECT 421 4.7.0"


def test_all_addresses_of_an_ipv6_64_network_are_blocked_together(gateway: Gateway) -> None:
    gateway.patch("advanced-security", {"max_unknown_recipients_per_day": 2})
    for last in (1, 2):
        _guess(gateway, f"2a04:5:5:5::{last}", f"n{last}")
    assert _guess(gateway, "2a04:5:5:5::3", "alice") == ["421 4.7.0"]
    assert _guess(gateway, "2a04:5:5:6::3", "alice") == ["250"]


@pytest.mark.parametrize("kind", ["trusted", "allowed", "local", "logged in"])
def test_exempt_clients_are_never_blocked(gateway: Gateway, kind: str) -> None:
    gateway.patch("advanced-security", {"max_unknown_recipients_per_day": 1})
    address = "10.77.0.1" if kind == "local" else gateway.public_address()
    if kind == "trusted":
        gateway.create("trusted-networks", name="x", networks=[address])
    if kind == "allowed":
        gateway.access("allow", "ip", address)
    if kind == "logged in":
        with gateway.submission(address) as client:
            client.mail(world.ALICE)
            answers = [client.rcpt(f"n{number}@ours.test") for number in range(3)]
            answers.append(client.rcpt("carol@ours.test"))
    else:
        answers = _guess(gateway, address, "n0", "n1", "n2", "carol")
    assert answers == ["550 5.1.1"] * 3 + ["250"]
    assert _guess(gateway, address, "alice") == ["250"]


# max_refused_recipients


def test_a_session_with_too_many_refused_recipients_is_closed(gateway: Gateway) -> None:
    gateway.patch("advanced-security", {"max_refused_recipients": 3})
    with gateway.connect() as client:
        assert client.mail("bob@far.test") == "250"
        assert [client.rcpt(f"nobody{number}@ours.test") for number in range(3)] == ["550 5.1.1"] * 3
        assert client.rcpt("alice@ours.test") == "250"
        assert client.rcpt("nobody@ours.test") == "421 4.7.0"
        assert client.ended()
    allowed = gateway.public_address()
    gateway.access("allow", "ip", allowed)
    with gateway.connect(address=allowed) as client:
        assert client.mail("bob@far.test") == "250"
        assert {client.rcpt(f"nobody{number}@ours.test") for number in range(20)} == {"550 5.1.1"}


# max_junk_commands


@pytest.mark.parametrize(
    "command", ["NOOP", "VRFY alice", "EXPN all", "ETRN ours.test", "RSET", "HELP", "EHLO client.test"]
)
def test_junk_commands_above_the_limit_end_the_session(gateway: Gateway, command: str) -> None:
    gateway.patch("advanced-security", {"max_junk_commands": 3})
    with gateway.connect() as client:
        answers = [client.say(command) for _ in range(4)]
        assert "421 4.7.0" not in answers[:3]
        assert answers[3] == "421 4.7.0"
        assert client.ended()


def test_different_junk_commands_are_counted_together(gateway: Gateway) -> None:
    gateway.patch("advanced-security", {"max_junk_commands": 3})
    with gateway.connect() as client:
        answers = [client.say(command) for command in ("NOOP", "RSET", "VRFY x", "HELP")]
        assert answers[3] == "421 4.7.0"


def test_the_count_of_junk_commands_starts_anew_after_an_accepted_message(gateway: Gateway) -> None:
    gateway.patch("advanced-security", {"max_junk_commands": 3})
    with gateway.connect() as client:
        for _ in range(2):
            assert [client.say("NOOP") for _ in range(3)] == ["250"] * 3
            assert client.transaction(FAR, world.ALICE, content=message("anew")) == "accepted"
        assert [client.say("NOOP") for _ in range(4)] == ["250"] * 3 + ["421 4.7.0"]


def test_a_refused_message_does_not_start_the_count_of_junk_commands_anew(gateway: Gateway) -> None:
    gateway.patch("advanced-security", {"max_junk_commands": 3})
    with gateway.connect() as client:
        assert [client.say("NOOP") for _ in range(3)] == ["250"] * 3
        assert client.transaction(FAR, "nobody@ours.test") == "RCPT 550 5.1.1"
        assert client.say("NOOP") == "421 4.7.0"


def test_the_default_limit_is_a_hundred_junk_commands(gateway: Gateway) -> None:
    with gateway.connect() as client:
        client.send(b"NOOP\r\n" * 101)
        assert [client.reply() for _ in range(101)] == ["250"] * 100 + ["421 4.7.0"]
        assert client.ended()


@pytest.mark.parametrize(
    ("junk", "seconds"), [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (99, 9), (300, 30), (999, 30)]
)
def test_every_full_ten_junk_commands_delay_the_next_mail_by_a_second(
    gateway: Gateway, junk: int, seconds: int
) -> None:
    gateway.patch("advanced-security", {"max_junk_commands": 1000})
    facts = {"stage": "mail", "client_address": "93.9.9.9", "sender": FAR, "junk_commands": junk}
    assert gateway.post("explain/session", {"kind": "hypothetical", "facts": facts})["delay_seconds"] == seconds


@pytest.mark.parametrize(("junk", "seconds"), [(10, 1), (29, 2)])
def test_the_mail_after_junk_commands_is_accepted_after_the_delay(gateway: Gateway, junk: int, seconds: int) -> None:
    with gateway.connect() as client:
        assert {client.say("NOOP") for _ in range(junk)} == {"250"}
        began = time.monotonic()
        assert client.mail(FAR) == "250"
        # The delay must not be shorter than this, however busy the machine is.
        assert time.monotonic() - began >= seconds
        assert client.rcpt(world.ALICE) == "250"
