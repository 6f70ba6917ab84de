"""Mail passes through all four services: every way in, every way out, and recipients with different outcomes."""

from __future__ import annotations

import smtplib

import pytest
import trustme

from tests.e2e import world
from tests.peers.dns import DnsServer
from tests.peers.process import until
from tests.peers.smtp_sink import Offer, SmtpSink, Stage, reply
from tests.peers.suite import Suite

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", params=["127.0.0.1", "::1"], ids=["IPv4", "IPv6"])
def loopback(request: pytest.FixtureRequest) -> str:
    """The address that clients, next hops, name servers and the API use. The tests run with IPv4 and with IPv6."""
    address: str = request.param
    return address


def test_mail_from_each_listener_reaches_the_next_hop_found_by_mx(suite: Suite, far: SmtpSink) -> None:
    content = world.message(text="plain\n.dot\n..dots\n")
    with smtplib.SMTP(suite.host, suite.submission_port, timeout=60) as client:
        client.starttls(context=world.no_verify())
        client.login(world.LOGIN, world.PASSWORD)
        client.sendmail(world.ALICE, ["bob@far.test"], content)
    with smtplib.SMTP_SSL(suite.host, suite.smtps_port, timeout=60, context=world.no_verify()) as client:
        client.login(world.LOGIN, world.PASSWORD)
        client.sendmail(world.ALICE, ["bob@far.test"], content)
    with smtplib.SMTP(suite.host, suite.smtp_port, timeout=60) as client:
        client.starttls(context=world.no_verify())
        client.login(world.LOGIN, world.PASSWORD)
        client.sendmail(world.ALICE, ["bob@far.test"], content)
    taken = far.wait_for_messages(3)
    body = content.partition(b"\r\n\r\n")[2]
    for one in taken:
        assert one.sender == world.ALICE.encode()
        assert one.accepted_recipients == [b"bob@far.test"]
        assert one.body == body
        assert b"Received: from " in one.header
        assert b"for <bob@far.test>" in one.header
    assert sorted(b"with ESMTPSA" in one.header for one in taken) == [True, True, True]


def test_plain_smtp_brings_mail_for_our_own_domain_into_the_maildir(suite: Suite) -> None:
    with world.smtp(suite) as client:
        client.sendmail("bob@far.test", [world.ALICE], world.message("bob@far.test", [world.ALICE], "For the maildir."))
    new = suite.folder / "mail" / "alice" / "new"

    def kept() -> list[bytes]:
        found = [path.read_bytes() for path in new.iterdir()] if new.is_dir() else []
        return [one for one in found if b"For the maildir." in one]

    until(lambda: bool(kept()), "the message is in alice's maildir")
    (only,) = kept()
    assert only.startswith(b"Return-Path: <bob@far.test>")


def test_a_stranger_cannot_relay_and_unknown_recipients_are_refused(suite: Suite, far: SmtpSink) -> None:
    assert world.reply_to_rcpt(suite, "bob@far.test") == (554, "5.7.1")
    assert world.reply_to_rcpt(suite, "nobody@ours.test") == (550, "5.1.1")
    assert world.reply_to_rcpt(suite, "Alice@OURS.test") == (250, "2.1.5")
    assert far.sessions == []


def test_submission_requires_a_login_and_a_sender_address_of_its_account(suite: Suite) -> None:
    with smtplib.SMTP(suite.host, suite.submission_port, timeout=60) as client:
        client.ehlo("client.test")
        assert "auth" not in client.esmtp_features, "AUTH is not offered before TLS"
        assert client.mail(world.ALICE)[0] == 530
        client.starttls(context=world.no_verify())
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.login(world.LOGIN, "wrong")
        assert refused.value.smtp_code == 535
        client.login(world.LOGIN, world.PASSWORD)
        client.mail("someone-else@ours.test")
        code, text = client.rcpt("bob@far.test")
        assert (code, text.split()[0]) == (553, b"5.7.1")


def test_one_refused_recipient_never_affects_the_others(suite: Suite, far: SmtpSink) -> None:
    far.on(Stage.RCPT, reply("550 5.1.1 No such user"), address="gone@far.test")
    far.on(Stage.RCPT, reply("451 4.7.1 Later"), address="slow@far.test", times=1)
    recipients = ["bill@far.test", "gone@far.test", "slow@far.test", world.ALICE, "x@no-such-domain.test"]
    with world.submission(suite) as client:
        client.sendmail(world.ALICE, recipients, world.message(recipients=recipients))
    (first,) = far.wait_for_messages(1)
    assert first.accepted_recipients == [b"bill@far.test"]

    def states() -> dict[str, str]:
        found = [one for one in (*world.queued(suite), *world.history(suite)) if one["sender"] == world.ALICE]
        details = [suite.api.get(f"/v1/queue/messages/{one['queue_id']}").json() for one in found]
        deliveries = ({one["recipient"]: one["state"] for one in detail["deliveries"]} for detail in details)
        return next((found for found in deliveries if "bill@far.test" in found), {})

    expected = {
        "bill@far.test": "delivered",
        "gone@far.test": "bounced",
        "slow@far.test": "deferred",
        world.ALICE: "delivered",
        "x@no-such-domain.test": "bounced",
    }
    until(lambda: states() == expected, f"each recipient has its own outcome; states so far: {states()}")
    # The failures are reported, in one report or in several. The maildir also contains the message itself.
    new = suite.folder / "mail" / "alice" / "new"

    def reports() -> bytes:
        found = (path.read_bytes() for path in new.iterdir())
        return b"".join(one for one in found if one.startswith(b"Return-Path: <>"))

    for recipient, status in (("gone@far.test", "5.1.1"), ("x@no-such-domain.test", "5.1.2")):
        field = f"Final-Recipient: rfc822; {recipient}".encode()
        until(lambda field=field: field in reports(), f"there is a report about {recipient}")  # type: ignore[misc]
        assert f"Status: {status}".encode() in reports()
    # The deferred delivery is retried when an operator says so. (The outcome of the report may not be committed yet.)
    (waiting,) = [one for one in world.queued(suite) if one["sender"] == world.ALICE]
    assert suite.api.post(f"/v1/queue/messages/{waiting['queue_id']}:retry").status_code == 200
    last = far.wait_for_messages(2)[-1]
    assert last.accepted_recipients == [b"slow@far.test"]


def test_a_relay_rule_sends_its_mail_over_tls_with_a_login(
    suite: Suite, outside: DnsServer, certificates: trustme.CA
) -> None:
    outside.add("smart.test", "A", "127.0.0.1")
    leaf = certificates.issue_cert("smart.test")
    offer = Offer(logins={"gateway": "not to be seen"}, auth_required=True, tls_required=True)
    with SmtpSink(offer, certificate=leaf) as smarthost:
        world.create(
            suite,
            "/v1/relay-rules",
            {
                "name": "partner",
                "type": "recipient",
                "target_type": "domain",
                "targets": ["partner.test"],
                "relay_host": {
                    "host": "smart.test",
                    "port": smarthost.port,
                    "always_tls": True,
                    "verify_certificate": False,
                    "auth": {"username": "gateway", "password": "not to be seen"},
                },
            },
        )
        world.until_in_force(suite)
        with world.submission(suite) as client:
            client.sendmail(world.ALICE, ["carol@partner.test"], world.message(recipients=["carol@partner.test"]))
        (taken,) = smarthost.wait_for_messages(1)
        assert taken.session.tls is not None
        assert taken.session.authenticated
    assert "not to be seen" not in suite.logs


def test_a_changed_setting_applies_to_the_next_command_of_a_running_session(suite: Suite, far: SmtpSink) -> None:
    with world.smtp(suite) as client:
        client.mail("someone@far.test")
        assert client.rcpt("bob@far.test")[0] == 554
        trusted = world.trust_loopback(suite)
        until(lambda: client.rcpt("bob@far.test")[0] == 250, "the running session may relay")
        world.remove(suite, f"/v1/trusted-networks/{trusted['id']}")

        def refused() -> bool:
            client.rset()
            client.mail("someone@far.test")
            return client.rcpt("bob@far.test")[0] == 554

        until(refused, "the running session may no longer relay")
