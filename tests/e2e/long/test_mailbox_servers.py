"""Posthouse with real mailbox servers: Dovecot by LMTP, and Postfix as the next hop and as the sending server.

Each server is stopped and comes back. While it is away, clients get only 4xx replies, nothing is lost, and service
resumes without help.
"""

from __future__ import annotations

import smtplib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.e2e import world
from tests.peers.dns import DnsServer
from tests.peers.dovecot import Dovecot
from tests.peers.ports import free_port
from tests.peers.postfix import Postfix
from tests.peers.process import until
from tests.peers.suite import Suite

pytestmark = pytest.mark.e2e

ANN, FULL = "ann@boxes.test", "full@boxes.test"
# The recipients at relay domains: BOB's mail goes to Postfix by SMTP, EVE's to Dovecot by LMTP.
BOB, EVE = "bob@hub.test", "eve@lmtp.test"
# A quota in octets that is smaller than any message.
_TOO_SMALL = 300
# This is about one second, since the setting is in minutes.
_FIRST_RETRY_MINUTES = 0.02


@pytest.fixture(scope="module")
def certificate(certificates: trustme.CA) -> trustme.LeafCert:
    """The certificate that both servers use."""
    return certificates.issue_cert("mail.test")


@pytest.fixture(scope="module")
def dovecot(certificate: trustme.LeafCert) -> Iterator[Dovecot]:
    with Dovecot({ANN: 0, FULL: _TOO_SMALL, EVE: 0}, certificate=certificate) as server:
        yield server


@pytest.fixture(scope="module")
def postfix(certificate: trustme.LeafCert) -> Iterator[Postfix]:
    """A Postfix that has one mailbox and refuses mail for other recipients."""
    with Postfix(certificate=certificate, settings={"virtual_mailbox_maps": f"inline:{{{BOB}=all/}}"}) as server:
        yield server


@pytest.fixture(scope="module")
def suite(
    dovecot: Dovecot, postfix: Postfix, certificates: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Suite]:
    authority: Path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.write_bytes(certificates.cert_pem.bytes())
    environment = {"RELAY_TLS_CA_FILE": str(authority)}
    with DnsServer() as outside, Suite(environment, nameservers=outside.address) as running:
        outside.add("mail.test", "A", dovecot.host)
        schedule = {"first_minutes": _FIRST_RETRY_MINUTES, "growth": 1, "max_minutes": _FIRST_RETRY_MINUTES}
        world.change(running, "/v1/settings/queue", {"retry_schedule": schedule})
        mailbox = {"kind": "lmtp", "host": dovecot.host, "port": dovecot.port}
        domain = {"name": "boxes.test", "mailbox": mailbox, "recipients": "verify"}
        world.create(running, "/v1/local-domains", domain)
        for name, kind, port in (("hub.test", "smtp", postfix.port), ("lmtp.test", "lmtp", dovecot.port)):
            # Nothing listens at the first host of the list.
            first = {"kind": kind, "host": "127.0.0.1", "port": free_port()}
            fallback_hosts = [{"host": "mail.test", "port": port}]
            next_hop = {**first, "tls": "verify", "fallback_hosts": fallback_hosts}
            world.create(running, "/v1/relay-domains", {"domain": name, "recipients": "verify", "next_hop": next_hop})
        world.until_in_force(running)
        until(lambda: world.reply_to_rcpt(running, "postmaster")[0] == 250, "ingress has connected to policy and relay")
        yield running
        print(running.logs[-20_000:])


def _send(suite: Suite, recipient: str, marker: str, sender: str = "joe@far.test") -> tuple[int, bytes]:
    """Sends a message and returns (code, text) of the reply that decided: the one to RCPT, or to the content."""
    with world.smtp(suite) as client:
        client.mail(sender)
        code, text = client.rcpt(recipient)
        if code != 250:
            return code, text
        return client.data(world.message(sender, [recipient], marker))


def _kind_of_domain(suite: Suite, recipients: str) -> None:
    (domain,) = suite.api.get("/v1/local-domains").json()["items"]
    world.change(suite, f"/v1/local-domains/{domain['id']}", {"recipients": recipients})
    world.until_in_force(suite)


def test_dovecot_says_which_recipients_exist(suite: Suite, dovecot: Dovecot) -> None:
    marker = uuid.uuid4().hex
    assert _send(suite, ANN, marker)[0] == 250
    (found,) = [message for message in dovecot.wait_for_messages(ANN, 1) if marker.encode() in message]
    assert b"Delivered-To: ann@boxes.test" in found
    # While Dovecot runs, mail for a mailbox that does not exist is refused at RCPT.
    code, text = _send(suite, "nobody@boxes.test", marker)
    assert (code, text.split()[0]) == (550, b"5.1.1")
    log = dovecot.log
    # The answer is cached, so Dovecot is not asked again.
    assert _send(suite, "Nobody@boxes.test", marker)[0] == 550
    assert dovecot.log.count("nobody") == log.count("nobody")
    # Mail for postmaster is accepted without asking Dovecot.
    assert world.reply_to_rcpt(suite, "postmaster@boxes.test")[0] == 250


def test_a_full_mailbox_of_a_listed_recipient_is_reported_to_the_sender(suite: Suite, dovecot: Dovecot) -> None:
    world.create(suite, "/v1/recipients", {"address": FULL})
    sender = ANN
    _kind_of_domain(suite, "list")
    try:
        world.create(suite, "/v1/recipients", {"address": ANN})
        world.until_in_force(suite)
        before = len(dovecot.messages(ANN))
        assert _send(suite, FULL, "too much", sender)[0] == 250
        report = dovecot.wait_for_messages(ANN, before + 1)[-1]
        assert b"multipart/report" in report
        assert b"5.2.2" in report
        code, text = _send(suite, "nobody@boxes.test", "x")
        assert (code, text.split()[0]) == (550, b"5.1.1")
    finally:
        _kind_of_domain(suite, "verify")


def test_while_dovecot_is_down_mail_waits_and_recovers_alone(suite: Suite, dovecot: Dovecot) -> None:
    marker = uuid.uuid4().hex
    assert _send(suite, ANN, "known good")[0] == 250
    world.until_queue_is_empty(suite)
    before = len(dovecot.messages(ANN))
    dovecot.stop()
    try:
        # Dovecot confirmed this recipient recently, so the cached answer is used, and the mail is accepted and stored.
        assert _send(suite, ANN, marker)[0] == 250
        # The answer for any other recipient is unknown, so the reply is temporary.
        code, text = _send(suite, f"{uuid.uuid4().hex}@boxes.test", marker)
        assert (code, text.split()[0]) == (451, b"4.4.3")

        def was_tried() -> bool:
            (message,) = world.queued(suite)
            return bool(message["deliveries"][0]["attempts"])

        until(was_tried, "delivery was tried while Dovecot was down")
    finally:
        dovecot.start()
    assert marker.encode() in dovecot.wait_for_messages(ANN, before + 1)[-1]
    world.until_queue_is_empty(suite)
    code, text = _send(suite, f"{uuid.uuid4().hex}@boxes.test", marker)
    assert (code, text.split()[0]) == (550, b"5.1.1")


# Relay domains with a next hop


def _attempt(suite: Suite, recipient: str) -> dict[str, Any]:
    """Returns the newest attempt of the newest message to the recipient."""
    (message,) = suite.api.get("/v1/messages", params={"recipient": recipient, "limit": 1}).json()["items"]
    (delivery,) = suite.api.get(f"/v1/queue/messages/{message['queue_id']}").json()["deliveries"]
    newest: dict[str, Any] = delivery["last_attempt"]
    return newest


def test_postfix_is_a_next_hop_over_verified_tls_and_says_who_exists(suite: Suite, postfix: Postfix) -> None:
    marker = uuid.uuid4().hex
    before = len(postfix.messages)
    assert _send(suite, BOB, marker)[0] == 250
    assert marker.encode() in postfix.wait_for_messages(before + 1)[-1]
    world.until_queue_is_empty(suite)
    attempt = _attempt(suite, BOB)
    assert (attempt["result"], attempt["port"], attempt["tls_policy"]) == ("delivered", postfix.port, "required")
    assert attempt["tls"]
    code, text = _send(suite, "nobody@hub.test", marker)
    assert (code, text.split()[0]) == (550, b"5.1.1")


def test_dovecot_is_a_next_hop_by_lmtp_over_verified_tls(suite: Suite, dovecot: Dovecot) -> None:
    marker = uuid.uuid4().hex
    before = len(dovecot.messages(EVE))
    assert _send(suite, EVE, marker)[0] == 250
    assert marker.encode() in dovecot.wait_for_messages(EVE, before + 1)[-1]
    world.until_queue_is_empty(suite)
    attempt = _attempt(suite, EVE)
    assert (attempt["result"], attempt["port"], attempt["tls_policy"]) == ("delivered", dovecot.port, "required")
    assert attempt["tls"]
    code, text = _send(suite, "nobody@lmtp.test", marker)
    assert (code, text.split()[0]) == (550, b"5.1.1")


def test_while_postfix_is_down_mail_waits_and_recovers_alone(suite: Suite, postfix: Postfix) -> None:
    marker = uuid.uuid4().hex
    assert _send(suite, BOB, "known good")[0] == 250
    world.until_queue_is_empty(suite)
    before = len(postfix.messages)
    postfix.pause()
    try:
        assert _send(suite, BOB, marker)[0] == 250
        code, text = _send(suite, f"{uuid.uuid4().hex}@hub.test", marker)
        assert (code, text.split()[0]) == (451, b"4.4.3")

        def was_tried() -> bool:
            (message,) = world.queued(suite)
            return bool(message["deliveries"][0]["attempts"])

        until(was_tried, "delivery was tried while Postfix was down")
    finally:
        postfix.start()
    assert marker.encode() in postfix.wait_for_messages(before + 1)[-1]
    world.until_queue_is_empty(suite)
    code, text = _send(suite, f"{uuid.uuid4().hex}@hub.test", marker)
    assert (code, text.split()[0]) == (550, b"5.1.1")


# Postfix as the sending server


def test_postfix_sends_and_keeps_its_mail_while_posthouse_is_down(suite: Suite, dovecot: Dovecot) -> None:
    marker = uuid.uuid4().hex
    soon = dict.fromkeys(("minimal_backoff_time", "maximal_backoff_time", "queue_run_delay"), "1s")
    before = len(dovecot.messages(ANN))
    with Postfix(f"{suite.host}:{suite.smtp_port}", settings=soon) as peer:

        def hand_over(recipient: str) -> None:
            with smtplib.SMTP(peer.host, peer.port, timeout=60) as client:
                content = world.message("joe@far.test", [recipient], marker)
                client.sendmail("joe@far.test", [recipient], content)

        hand_over(ANN)
        dovecot.wait_for_messages(ANN, before + 1)
        hand_over("nobody@boxes.test")
        peer.wait_for_log("status=bounced (host")
        for service in ("policy", "relay"):
            # All earlier outcomes must be committed, because relay would send uncommitted ones again after the kill.
            world.until_queue_is_empty(suite)
            suite.kill(service)
            refused = peer.log.count("status=deferred")
            hand_over(ANN)
            until(
                lambda: peer.log.count("status=deferred") > refused,  # noqa: B023
                f"Postfix has deferred its mail because {service} is down",
            )
            suite.start_service(service)
            before += 1
            dovecot.wait_for_messages(ANN, before + 1)
    # Each message has arrived exactly once.
    assert len(dovecot.messages(ANN)) == before + 1


@pytest.mark.parametrize(
    ("kind", "recipients"),
    [
        ("local-domains", "accounts"),
        ("local-domains", "list"),
        ("local-domains", "any"),
        ("relay-domains", "list"),
        ("relay-domains", "any"),
    ],
)
def test_mail_from_a_stranger_to_nobody_is_refused_or_warned_of(suite: Suite, kind: str, recipients: str) -> None:
    """The mode `verify` is tested above, with a server that knows its recipients."""
    domain = f"{kind[:5]}-{recipients}.test"
    member = "name" if kind == "local-domains" else "domain"
    body = {member: domain, "recipients": recipients}
    if kind == "local-domains":
        body["mailbox"] = {"kind": "maildir", "path": str(suite.folder / "mail")}  # type: ignore[assignment]
    made = world.create(suite, f"/v1/{kind}", body)
    world.until_in_force(suite)
    is_warned = "any_recipient" in {warning["code"] for warning in made["warnings"]}
    assert is_warned is (recipients == "any")
    assert world.reply_to_rcpt(suite, f"nobody@{domain}") == ((250, "2.1.5") if is_warned else (550, "5.1.1"))
