"""`/settings/general`: logins, session profile, recipients, hops, sizes and postmasters."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e import world
from tests.e2e.settings.gateway import FAR, HOSTNAME, Gateway, message
from tests.e2e.settings.session import Client
from tests.peers.process import until

pytestmark = pytest.mark.e2e

MEGABYTE = 1_048_576


# smtp_auth.enabled


def test_plain_and_login_are_offered_after_tls(gateway: Gateway) -> None:
    with gateway.connect() as client:
        assert "AUTH" not in client.extensions
        assert client.starttls() == "220 2.0.0"
        assert sorted(client.extensions["AUTH"].split()) == ["LOGIN", "PLAIN"]
        assert "STARTTLS" not in client.extensions
        assert client.auth_login() == "235 2.7.0"
        assert client.transaction(world.ALICE, FAR) == "accepted"


def test_without_a_login_mail_is_accepted_only_for_our_domains(gateway: Gateway) -> None:
    assert gateway.attempt(FAR) == "RCPT 554 5.7.1"
    assert gateway.attempt(world.ALICE) == "accepted"


@pytest.mark.parametrize("port", ["submission_port", "smtps_port"])
def test_the_submission_ports_refuse_mail_without_a_login(gateway: Gateway, port: str) -> None:
    implicit = port == "smtps_port"
    with Client(gateway.public_address(), getattr(gateway.suite, port), tls=implicit) as client:
        if not implicit:
            assert client.mail(FAR) == "530 5.7.0"
            assert client.starttls() == "220 2.0.0"
        assert client.mail(world.ALICE) == "530 5.7.0"
        assert client.auth_plain(password="wrong") == "535 5.7.8"
        assert client.mail(world.ALICE) == "530 5.7.0"
        assert client.auth_plain() == "235 2.7.0"
        assert client.transaction(world.ALICE, FAR) == "accepted"


def test_a_login_applies_only_to_its_session(gateway: Gateway) -> None:
    address = gateway.public_address()
    with gateway.submission(address) as first, gateway.connect(address) as second:
        assert first.transaction(world.ALICE, FAR) == "accepted"
        assert second.transaction(FAR, FAR) == "RCPT 554 5.7.1"


def test_a_disabled_account_can_no_longer_log_in(gateway: Gateway) -> None:
    (carol,) = [one for one in gateway.read("accounts")["items"] if one["login"] == "carol"]
    gateway.change("accounts", carol["id"], {"enabled": False})
    with gateway.connect() as client:
        client.starttls()
        assert client.auth_plain("carol") == "535 5.7.8"


@pytest.mark.parametrize("change", [{"enabled": False}, {"password": "another password"}])
def test_f61_an_open_session_ends_when_its_account_changes(gateway: Gateway, change: dict[str, Any]) -> None:
    [carol] = [one for one in gateway.read("accounts")["items"] if one["login"] == "carol"]
    with gateway.connect() as client:
        client.starttls()
        assert client.auth_plain("carol") == "235 2.7.0"
        assert client.mail("carol@ours.test") == "250"
        world.change(gateway.suite, f"/v1/accounts/{carol['id']}", change)
        # Relay's snapshot does not contain passwords, so the test waits only for policy.
        gateway.settle("general")
        assert client.rcpt(FAR) == "421 4.7.0"
        assert client.ended()


def test_f61_the_rights_of_a_login_end_with_starttls(gateway: Gateway) -> None:
    gateway.patch("general", {"smtp_auth": {"forbid_plaintext_auth_without_tls": False}})
    with Client(gateway.public_address(), gateway.suite.submission_port) as client:
        assert client.auth_plain() == "235 2.7.0"
        assert client.starttls() == "220 2.0.0"
        assert client.mail("x@far.test") == "530 5.7.0"
    with gateway.connect() as client:
        assert client.auth_plain() == "235 2.7.0"
        assert client.starttls() == "220 2.0.0"
        assert client.transaction(FAR, FAR) == "RCPT 554 5.7.1"


def test_without_auth_only_trusted_clients_send_to_other_domains(gateway: Gateway) -> None:
    gateway.patch("general", {"smtp_auth": {"enabled": False}})
    with gateway.connect() as client:
        client.starttls()
        assert "AUTH" not in client.extensions
        assert client.auth_plain().startswith(("502", "503", "500"))
        assert client.transaction(FAR, FAR) == "RCPT 554 5.7.1"
    with Client(gateway.public_address(), gateway.suite.submission_port) as client:
        client.starttls()
        assert "AUTH" not in client.extensions
        assert client.mail(FAR) == "530 5.7.0"
    assert gateway.attempt(world.ALICE) == "accepted"
    trusted = gateway.public_address()
    gateway.create("trusted-networks", name="one", networks=[trusted])
    assert gateway.attempt(FAR, address=trusted) == "accepted"
    gateway.patch("general", {"smtp_auth": {"skip_for_local_networks": True}})
    assert gateway.attempt(FAR, address="10.1.2.3") == "accepted"


# smtp_auth.skip_for_local_networks

LOCAL = ["127.0.0.9", "10.255.0.1", "172.16.0.1", "172.31.255.254", "192.168.9.9", "fd00::1", "fe80::1", "::1"]
NOT_LOCAL = ["11.0.0.1", "172.32.0.1", "192.169.0.1", "2a00:1450::1", "fec0::1"]


@pytest.mark.parametrize("address", LOCAL)
def test_local_networks_need_a_login_by_default(gateway: Gateway, address: str) -> None:
    assert gateway.attempt(FAR, address=address) == "RCPT 554 5.7.1"


def test_clients_in_local_networks_may_be_exempt_from_the_login_on_every_port(gateway: Gateway) -> None:
    gateway.patch("general", {"smtp_auth": {"skip_for_local_networks": True}})
    for address in LOCAL:
        assert gateway.attempt(FAR, address=address) == "accepted", address
    mapped = Client("::ffff:10.0.0.9", gateway.suite.smtp_port)
    with mapped as client:
        assert client.transaction(FAR, FAR) == "accepted"
    for address in NOT_LOCAL:
        assert gateway.attempt(FAR, address=address) == "RCPT 554 5.7.1", address
    for port, tls in ((gateway.suite.submission_port, False), (gateway.suite.smtps_port, True)):
        with Client("10.1.1.1", port, tls=tls) as client:
            assert client.transaction(FAR, FAR) == "accepted"
        with Client(gateway.public_address(), port, tls=tls) as client:
            assert client.mail(FAR) == "530 5.7.0"


def test_local_networks_can_be_configured(gateway: Gateway) -> None:
    gateway.patch(
        "general", {"smtp_auth": {"skip_for_local_networks": True, "local_networks": ["93.10.0.0/16", "2a0a::/32"]}}
    )
    replies = {
        address: gateway.attempt(FAR, address=address)
        for address in ("93.10.1.1", "::ffff:93.10.1.2", "93.11.0.1", "2a0a::5", "2a0b::5", "10.0.0.1", "127.0.0.9")
    }
    assert replies == {
        "93.10.1.1": "accepted",
        "::ffff:93.10.1.2": "accepted",
        "93.11.0.1": "RCPT 554 5.7.1",
        "2a0a::5": "accepted",
        "2a0b::5": "RCPT 554 5.7.1",
        "10.0.0.1": "RCPT 554 5.7.1",
        "127.0.0.9": "RCPT 554 5.7.1",
    }


# smtp_auth.sender_must_match_login


@pytest.mark.parametrize(
    ("login", "sender", "expected"),
    [
        ("alice", "alice@ours.test", "accepted"),
        ("alice", "ALICE@Ours.Test", "accepted"),
        ("alice", "carol@ours.test", "RCPT 553 5.7.1"),
        ("alice", "bob@far.test", "RCPT 553 5.7.1"),
        # This is the address of an alias that leads to the account (F57).
        ("alice", "info@ours.test", "accepted"),
        ("alice", "", "accepted"),
        ("", "alice@ours.test", "RCPT 553 5.7.1"),
        ("", "Alice@OURS.test", "RCPT 553 5.7.1"),
        ("", "someone@ours.test", "accepted"),
        ("", "alice@far.test", "accepted"),
    ],
)
def test_only_the_login_of_an_account_may_use_an_address_of_the_account(
    gateway: Gateway, login: str, sender: str, expected: str
) -> None:
    with gateway.submission() if login else gateway.connect() as client:
        assert client.transaction(sender, "carol@ours.test") == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("alice@ours.test", "accepted"),
        ("Alice <ALICE@ours.test>", "accepted"),
        ("carol@ours.test", "DATA 553 5.7.1"),
        ("bob@far.test", "DATA 553 5.7.1"),
        ("alice@ours.test, carol@ours.test", "DATA 553 5.7.1"),
        ("Alice <carol@ours.test>", "DATA 553 5.7.1"),
        ('"alice@ours.test" <bob@far.test>', "DATA 553 5.7.1"),
    ],
)
def test_the_from_header_of_a_logged_in_client_must_contain_its_own_address(
    gateway: Gateway, origin: str, expected: str
) -> None:
    with gateway.submission() as client:
        content = message("from header", sender=origin)
        assert client.transaction(world.ALICE, "carol@ours.test", content=content) == expected


def test_the_sender_may_differ_when_the_sender_check_is_off(gateway: Gateway) -> None:
    gateway.patch("general", {"smtp_auth": {"sender_must_match_login": False}})
    with gateway.submission() as client:
        content = message("any sender", sender="carol@ours.test")
        assert client.transaction("carol@ours.test", world.ALICE, content=content) == "accepted"
    assert gateway.attempt("carol@ours.test", sender=world.ALICE) == "accepted"


def test_trusted_networks_are_not_exempt_from_the_sender_match_by_default(gateway: Gateway) -> None:
    trusted = gateway.public_address()
    gateway.create("trusted-networks", name="one", networks=[trusted])
    assert gateway.attempt(FAR, sender=world.ALICE, address=trusted) == "RCPT 553 5.7.1"
    gateway.patch("general", {"smtp_auth": {"skip_sender_match_for_trusted_networks": True}})
    assert gateway.attempt(FAR, sender=world.ALICE, address=trusted) == "accepted"
    assert gateway.attempt("carol@ours.test", sender=world.ALICE) == "RCPT 553 5.7.1"


def test_local_networks_are_exempt_from_the_sender_match_while_they_need_no_login(gateway: Gateway) -> None:
    assert gateway.attempt("carol@ours.test", sender=world.ALICE, address="10.0.0.1") == "RCPT 553 5.7.1"
    gateway.patch("general", {"smtp_auth": {"skip_for_local_networks": True}})
    assert gateway.attempt("carol@ours.test", sender=world.ALICE, address="10.0.0.1") == "accepted"


# smtp_auth.forbid_plaintext_auth_without_tls


def test_a_password_is_not_checked_before_tls(gateway: Gateway) -> None:
    with gateway.connect() as client:
        assert client.auth_plain() == "538 5.7.11"
        assert client.auth_plain(password="wrong") == "538 5.7.11"
        assert client.auth_login() == "538 5.7.11"
        assert client.transaction(world.ALICE, FAR) in ("RCPT 554 5.7.1", "RCPT 553 5.7.1")


def test_auth_without_tls_can_be_allowed(gateway: Gateway) -> None:
    gateway.patch("general", {"smtp_auth": {"forbid_plaintext_auth_without_tls": False}})
    with gateway.connect() as client:
        assert sorted(client.extensions["AUTH"].split()) == ["LOGIN", "PLAIN"]
        assert client.auth_plain(password="wrong") == "535 5.7.8"
        assert client.auth_plain() == "235 2.7.0"
        assert client.auth_plain().startswith("503")
        assert client.transaction(world.ALICE, FAR) == "accepted"


def test_auth_inside_a_transaction_is_refused(gateway: Gateway) -> None:
    with gateway.submission(login="") as client, gateway.connect() as other:
        assert client.auth_plain() == "235 2.7.0"
        other.starttls()
        assert other.mail(FAR) == "250"
        assert other.auth_plain().startswith("503")
        assert other.rcpt(FAR) == "554 5.7.1"


# profile


def test_the_hostname_is_in_banner_ehlo_and_received(gateway: Gateway) -> None:
    gateway.patch("general", {"profile": {"hostname": "Gate.Ours.Test", "banner": "no UCE please"}})
    with gateway.connect() as client:
        assert client.text.splitlines()[0].lower() == "250-gate.ours.test"
        assert client.transaction(FAR, world.ALICE, content=message("hostname")) == "accepted"
    with gateway.connect(helo=None) as client:
        assert client.text.lower() == "220 gate.ours.test no uce please"
    received = gateway.delivered("hostname").header.split(b"\r\n\r\n")[0]
    assert b"by gate.ours.test" in received.lower()


@pytest.mark.parametrize(
    ("profile", "status"),
    [
        ({"hostname": "gate"}, 422),
        ({"hostname": "gate_way.ours.test"}, 422),
        ({"hostname": "127.0.0.1"}, 422),
        ({"hostname": "gate.ours.test\r\n250"}, 422),
        ({"hostname": ""}, 422),
        ({"hostname": "gate.ours.test."}, 200),
        ({"banner": "a\r\n250 b"}, 422),
        ({"banner": "tab\there"}, 422),
        ({"banner": "caf\u00e9"}, 422),
        ({"banner": "ESMTP ready"}, 200),
        ({"max_recipients": -1}, 422),
        ({"max_message_size_mb": -1}, 422),
        ({"max_hops": -1}, 422),
        ({"recipients_over_limit": "drop"}, 422),
    ],
)
def test_the_profile_accepts_only_valid_values(gateway: Gateway, profile: dict[str, Any], status: int) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    headers["If-Match"] = gateway.suite.api.get("/v1/settings/general").headers["ETag"]
    assert gateway.status("PATCH", "settings/general", {"profile": profile}, headers) == status
    gateway.settle("general", ["profile"])


def test_the_api_warns_of_a_hostname_without_address_or_reverse_name(gateway: Gateway) -> None:
    gateway.dns.add("no-ptr.ours.test", "A", "93.60.0.77")
    gateway.dns.add("other-ptr.ours.test", "A", "93.60.0.78")
    gateway.dns.ptr("93.60.0.78", "something-else.test")
    for name, doubted in (
        ("nowhere.ours.test", True),
        ("no-ptr.ours.test", True),
        ("other-ptr.ours.test", True),
        (HOSTNAME, False),
    ):
        answer = gateway.patch("general", {"profile": {"hostname": name}})
        pointers = [one["pointer"] for one in answer["warnings"]]
        assert any("hostname" in pointer for pointer in pointers) is doubted, (name, answer["warnings"])


def test_the_api_warns_of_fewer_than_a_hundred_recipients(gateway: Gateway) -> None:
    for count, doubted in ((99, True), (100, False)):
        warnings = gateway.patch("general", {"profile": {"max_recipients": count}})["warnings"]
        assert any("max_recipients" in warning["pointer"] for warning in warnings) is doubted, warnings


def test_excess_recipients_are_deferred_and_the_others_get_the_message(gateway: Gateway) -> None:
    gateway.patch("general", {"profile": {"max_recipients": 2, "recipients_over_limit": "defer_excess"}})
    with gateway.connect() as client:
        assert client.mail("excess@far.test") == "250"
        assert [client.rcpt(one) for one in (world.ALICE, "carol@ours.test", "info@ours.test", "info@ours.test")] == [
            "250",
            "250",
            "452 4.5.3",
            "452 4.5.3",
        ]
        assert client.data(message("excess recipients")) == "250"
    taken = gateway.delivered("excess recipients")
    assert sorted(taken.accepted_recipients) == [b"alice@ours.test", b"carol@ours.test"]


def test_a_message_with_too_many_recipients_is_refused_completely_by_default(gateway: Gateway) -> None:
    gateway.patch("general", {"profile": {"max_recipients": 2}})
    with gateway.connect() as client:
        assert client.mail(FAR) == "250"
        for recipient in (world.ALICE, "carol@ours.test", "info@ours.test"):
            assert client.rcpt(recipient) == ("550 5.5.3" if recipient == "info@ours.test" else "250")
        assert client.say("DATA") == "554 5.5.3"
        assert client.transaction(FAR, world.ALICE, "carol@ours.test", content=message("just enough")) == "accepted"


RECEIVED = "Received: from a.test by b.test; Wed, 25 Nov 2026 09:00:00 +0000\r\n"


@pytest.mark.parametrize(
    ("header", "body", "expected"),
    [
        (RECEIVED * 5, "", "accepted"),
        (RECEIVED * 6, "", "DATA 554 5.4.6"),
        (RECEIVED.upper() * 6, "", "DATA 554 5.4.6"),
        ("Received:\r\n\tfrom a.test\r\n" * 6, "", "DATA 554 5.4.6"),
        ("Received: nonsense ((\r\n" * 5, "", "accepted"),
        ("X-Received: from a.test\r\n" * 9, "", "accepted"),
        (RECEIVED * 5, RECEIVED * 9, "accepted"),
        (RECEIVED * 5 + "X-Note: one\r\n Received: two\r\n", "", "accepted"),
    ],
)
def test_a_message_with_more_received_fields_than_max_hops_is_refused(
    gateway: Gateway, header: str, body: str, expected: str
) -> None:
    gateway.patch("general", {"profile": {"max_hops": 5}})
    assert gateway.attempt(content=message("hops", header=header, body=body)) == expected


@pytest.mark.parametrize(("count", "expected"), [(50, "accepted"), (51, "DATA 554 5.4.6")])
def test_the_default_limit_is_fifty_hops(gateway: Gateway, count: int, expected: str) -> None:
    assert gateway.attempt(content=message("fifty", header=RECEIVED * count)) == expected


def _sized(octets: int) -> bytes:
    head = message("sized")
    line = b"x" * 98 + b"\r\n"
    missing = octets - len(head)
    return head + line * (missing // 100) + (b"y" * (missing % 100 - 2) + b"\r\n" if missing % 100 else b"")


def test_size_is_offered_in_octets_and_a_larger_declared_size_is_refused(gateway: Gateway) -> None:
    gateway.patch("general", {"profile": {"max_message_size_mb": 1}})
    with gateway.connect() as client:
        assert client.extensions["SIZE"] == str(MEGABYTE)
        assert client.mail(FAR, f"SIZE={MEGABYTE}") == "250"
        client.say("RSET")
        assert client.mail(FAR, f"SIZE={MEGABYTE + 1}") == "552 5.3.4"
        assert client.mail(FAR, "SIZE=99999999999999999999999") == "552 5.3.4"
        assert client.mail(FAR, "SIZE=-1").startswith("501")
        assert client.mail(FAR, "SIZE=1 SIZE=1").startswith("501")


@pytest.mark.parametrize(
    ("octets", "expected"),
    [(MEGABYTE, "accepted"), (MEGABYTE + 1, "DATA 552 5.3.4"), (2 * MEGABYTE, "DATA 552 5.3.4")],
)
def test_content_over_the_size_limit_gets_one_reply(gateway: Gateway, octets: int, expected: str) -> None:
    gateway.patch("general", {"profile": {"max_message_size_mb": 1}})
    content = _sized(octets)
    assert len(content) == octets
    with gateway.connect() as client:
        assert client.transaction(FAR, world.ALICE, content=content) == expected
        assert client.say("NOOP") == "250"


def test_a_size_limit_of_zero_means_no_limit(gateway: Gateway) -> None:
    gateway.patch("general", {"profile": {"max_message_size_mb": 0}})
    with gateway.connect() as client:
        assert client.extensions["SIZE"] in ("", "0")
        assert client.mail(FAR, f"SIZE={100 * MEGABYTE}") == "250"
        client.say("RSET")
        assert client.transaction(FAR, world.ALICE, content=_sized(2 * MEGABYTE)) == "accepted"


# external_postmasters


@pytest.mark.parametrize("recipient", ["postmaster@ours.test", "Mailer-Daemon@ours.test", "Postmaster"])
def test_mail_for_the_postmaster_goes_to_the_external_postmasters(gateway: Gateway, recipient: str) -> None:
    gateway.patch("general", {"external_postmasters": ["bob@far.test", "eve@far.test"]})
    assert gateway.attempt(recipient, content=message("for the postmaster")) == "accepted"
    taken = gateway.delivered("for the postmaster", gateway.far)
    recipients = {address for one in gateway.far.messages for address in one.accepted_recipients}
    assert recipients <= {b"bob@far.test", b"eve@far.test"}
    assert taken.accepted_recipients
    until(
        lambda: (
            {address for one in gateway.far.messages for address in one.accepted_recipients}
            == {b"bob@far.test", b"eve@far.test"}
        ),
        "both external postmasters have the message",
    )


def test_without_external_postmasters_an_account_named_postmaster_gets_their_mail(gateway: Gateway) -> None:
    gateway.create("accounts", login="pat", password=world.PASSWORD, addresses=["postmaster@ours.test"])
    assert gateway.attempt("POSTMASTER@ours.test", content=message("to the account")) == "accepted"
    assert gateway.delivered("to the account").accepted_recipients[0].lower() == b"postmaster@ours.test"


def test_without_external_postmasters_an_alias_named_postmaster_gets_their_mail(gateway: Gateway) -> None:
    gateway.create("aliases", address="mailer-daemon@ours.test", targets=["carol@ours.test"])
    assert gateway.attempt("mailer-daemon@ours.test", content=message("to the alias")) == "accepted"
    assert gateway.delivered("to the alias").accepted_recipients == [b"carol@ours.test"]


def test_mail_for_a_postmaster_without_mailbox_is_held_and_the_api_warns(gateway: Gateway) -> None:
    sender = "held@far.test"
    assert gateway.attempt("postmaster@ours.test", sender=sender, content=message("held")) == "accepted"
    until(
        lambda: "held" in gateway.states(sender).values(),
        f"the message is held; states so far: {gateway.states(sender)}",
    )
    # This patch changes no setting, so the test does not wait until it is in force.
    warnings = world.change(gateway.suite, "/v1/settings/general", {"external_postmasters": []})["warnings"]
    assert any("external_postmasters" in warning["pointer"] for warning in warnings), warnings


def test_only_block_rules_apply_to_mail_for_the_postmaster(gateway: Gateway) -> None:
    blocked, stranger = gateway.public_address(), gateway.public_address()
    gateway.access("block", "ip", blocked, action="reject")
    gateway.patch("sender-policy", {"reject_unknown_sender_domain": "enforce", "reject_non_fqdn_sender": "enforce"})
    gateway.patch("advanced-security", {"reject_non_fqdn_helo": "enforce", "reject_unknown_helo": "enforce"})
    gateway.patch("connection-policy", {"reject_unknown_client_hostname": "enforce"})
    for recipient in ("postmaster@ours.test", "mailer-daemon@OURS.test", "postmaster", "PostMaster"):
        for sender in ("a@nowhere.test", "a@short", "", world.ALICE):
            got = gateway.attempt(recipient, sender=sender, address=stranger, helo="short")
            assert got == "accepted", (recipient, sender)
        assert gateway.attempt(recipient, sender=FAR, address=blocked) == "RCPT 554 5.7.1", recipient
    assert gateway.attempt("abuse", sender=FAR) != "accepted"
