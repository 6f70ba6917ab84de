"""Posthouse with real mailbox servers: Dovecot by LMTP, and Postfix as the next hop and as the sending server.

In some tests, rspamd checks the mail.

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
from tests.peers.rspamd import Rspamd, gtube
from tests.peers.suite import Suite

pytestmark = pytest.mark.e2e

ANN, FULL = "ann@boxes.test", "full@boxes.test"
# An account of a domain with a delimiter, and an account of a domain with a catch-all address.
SUE, ALL = "sue@tagged.test", "all@caught.test"
# The recipients at relay domains: BOB's mail goes to Postfix by SMTP, EVE's to Dovecot by LMTP.
BOB, EVE = "bob@hub.test", "eve@lmtp.test"
# Recipients whose mailboxes become full: at a local domain, at a relay domain, temporarily, and after a delivery.
BRIM, BRIM_BEYOND, SOON, LATER = "brim@boxes.test", "brim@lmtp.test", "soon@boxes.test", "later@boxes.test"
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
    users = dict.fromkeys((ANN, EVE, SUE, ALL, BRIM, BRIM_BEYOND, SOON, LATER), 0)
    with Dovecot({**users, FULL: _TOO_SMALL}, certificate=certificate) as server:
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
    """Sends a message and returns (code, text) of the last reply: the reply to RCPT, or to the content."""
    with world.smtp(suite) as client:
        client.mail(sender)
        code, text = client.rcpt(recipient)
        if code != 250:
            return code, text
        return client.data(world.message(sender, [recipient], marker))


def _kind_of_domain(suite: Suite, recipients: str) -> None:
    items = suite.api.get("/v1/local-domains").json()["items"]
    (domain,) = [item for item in items if item["name"] == "boxes.test"]
    world.change(suite, f"/v1/local-domains/{domain['id']}", {"recipients": recipients})
    world.until_in_force(suite)


def test_dovecot_is_asked_which_recipients_exist(suite: Suite, dovecot: Dovecot) -> None:
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


@pytest.mark.parametrize("recipient", [BRIM, BRIM_BEYOND])
def test_a_full_mailbox_is_refused_at_rcpt_until_there_is_room(suite: Suite, dovecot: Dovecot, recipient: str) -> None:
    """The sender gets the mailbox server's permanent refusal at RCPT, so that no bounce is sent to a stranger."""
    marker = uuid.uuid4().hex
    dovecot.put(recipient)
    dovecot.set_full(recipient)
    for _ in range(2):
        code, text = _send(suite, recipient, marker)
        assert (code, text.split()[0]) == (552, b"5.2.2")
    assert not world.queued(suite)
    before = len(dovecot.messages(recipient))
    dovecot.make_room(recipient)
    assert _send(suite, recipient, marker)[0] == 250
    assert marker.encode() in dovecot.wait_for_messages(recipient, before + 1)[-1]


def test_a_mailbox_that_is_full_temporarily_loses_no_mail(suite: Suite, dovecot: Dovecot) -> None:
    """A temporary reply of the mailbox server (here with 4.2.2) does not show whether the address exists."""
    marker = uuid.uuid4().hex
    dovecot.put(SOON)
    dovecot.set_full(SOON, refuses_for_now=True)
    code, text = _send(suite, SOON, marker)
    assert (code, text.split()[0]) == (451, b"4.4.3")
    dovecot.make_room(SOON)
    assert _send(suite, SOON, "known good")[0] == 250
    world.until_queue_is_empty(suite)
    before, reports = len(dovecot.messages(SOON)), len(dovecot.messages(ANN))
    dovecot.set_full(SOON, refuses_for_now=True)
    assert _send(suite, SOON, marker, ANN)[0] == 250
    until(lambda: _was_tried(suite), "the message was tried while the mailbox is full")
    dovecot.make_room(SOON)
    assert marker.encode() in dovecot.wait_for_messages(SOON, before + 1)[-1]
    world.until_queue_is_empty(suite)
    assert len(dovecot.messages(ANN)) == reports


def test_a_mailbox_that_became_full_causes_one_report(suite: Suite, dovecot: Dovecot) -> None:
    """A positive answer of the mailbox server is cached for an hour, or until the server refuses mail."""
    assert _send(suite, LATER, "known good")[0] == 250
    world.until_queue_is_empty(suite)
    reports = len(dovecot.messages(ANN))
    dovecot.set_full(LATER)
    assert _send(suite, LATER, "too much", ANN)[0] == 250
    assert b"5.2.2" in dovecot.wait_for_messages(ANN, reports + 1)[-1]
    world.until_queue_is_empty(suite)
    code, text = _send(suite, LATER, "too much")
    assert (code, text.split()[0]) == (552, b"5.2.2")


def _was_tried(suite: Suite) -> bool:
    (message,) = world.queued(suite)
    return bool(message["deliveries"][0]["attempts"])


def test_mail_waits_while_dovecot_is_down_and_is_delivered_afterwards(suite: Suite, dovecot: Dovecot) -> None:
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
        until(lambda: _was_tried(suite), "delivery was tried while Dovecot was down")
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


def test_postfix_is_a_next_hop_over_verified_tls_and_is_asked_which_recipients_exist(
    suite: Suite, postfix: Postfix
) -> None:
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


def test_mail_waits_while_postfix_is_down_and_is_delivered_afterwards(suite: Suite, postfix: Postfix) -> None:
    marker = uuid.uuid4().hex
    assert _send(suite, BOB, "known good")[0] == 250
    world.until_queue_is_empty(suite)
    before = len(postfix.messages)
    postfix.pause()
    try:
        assert _send(suite, BOB, marker)[0] == 250
        code, text = _send(suite, f"{uuid.uuid4().hex}@hub.test", marker)
        assert (code, text.split()[0]) == (451, b"4.4.3")
        until(lambda: _was_tried(suite), "delivery was tried while Postfix was down")
    finally:
        postfix.start()
    assert marker.encode() in postfix.wait_for_messages(before + 1)[-1]
    world.until_queue_is_empty(suite)
    code, text = _send(suite, f"{uuid.uuid4().hex}@hub.test", marker)
    assert (code, text.split()[0]) == (550, b"5.1.1")


# Postfix as the sending server

_SOON = dict.fromkeys(("minimal_backoff_time", "maximal_backoff_time", "queue_run_delay"), "1s")


def _hand_over(peer: Postfix, recipient: str, text: str) -> None:
    with smtplib.SMTP(peer.host, peer.port, timeout=60) as client:
        client.sendmail("joe@far.test", [recipient], world.message("joe@far.test", [recipient], text))


def test_postfix_keeps_its_mail_while_posthouse_is_down_and_sends_it_afterwards(suite: Suite, dovecot: Dovecot) -> None:
    marker = uuid.uuid4().hex
    before = len(dovecot.messages(ANN))
    with Postfix(f"{suite.host}:{suite.smtp_port}", settings=_SOON) as peer:
        _hand_over(peer, ANN, marker)
        dovecot.wait_for_messages(ANN, before + 1)
        _hand_over(peer, "nobody@boxes.test", marker)
        peer.wait_for_log("status=bounced (host")
        for service in ("policy", "relay"):
            # All earlier outcomes must be committed, because relay would send uncommitted ones again after the kill.
            world.until_queue_is_empty(suite)
            suite.kill(service)
            refused = peer.log.count("status=deferred")
            _hand_over(peer, ANN, marker)
            until(
                lambda: peer.log.count("status=deferred") > refused,  # noqa: B023
                f"Postfix has deferred its mail because {service} is down",
            )
            suite.start_service(service)
            before += 1
            dovecot.wait_for_messages(ANN, before + 1)
    # Each message has arrived exactly once.
    assert len(dovecot.messages(ANN)) == before + 1


# Dovecot, Postfix and rspamd together


@pytest.fixture(scope="module")
def rspamd() -> Iterator[Rspamd]:
    with Rspamd() as daemon:
        yield daemon


@pytest.fixture(params=["tempfail", "accept"])
def on_error(suite: Suite, rspamd: Rspamd, request: pytest.FixtureRequest) -> Iterator[str]:
    """Turns the spam check on during the test. The value is the setting for mail about which rspamd gives no answer."""
    spam = {"mode": "enforce", "rspamd": rspamd.url, "on_error": request.param, "timeout_s": 5}
    world.change(suite, "/v1/settings/content-checks", {"spam": spam})
    world.until_in_force(suite)
    yield request.param
    world.change(suite, "/v1/settings/content-checks", {"spam": {"mode": "off"}})
    world.until_in_force(suite)


def test_mail_follows_on_error_while_rspamd_is_down_and_is_checked_again_afterwards(
    suite: Suite, dovecot: Dovecot, rspamd: Rspamd, on_error: str
) -> None:
    marker = uuid.uuid4().hex
    processes = {name: suite.pid(name) for name in suite.layout}
    before = len(dovecot.messages(ANN))
    with Postfix(f"{suite.host}:{suite.smtp_port}", settings=_SOON) as peer:

        def refused_for_good() -> list[str]:
            return [line for line in peer.log.splitlines() if f"to=<{ANN}>" in line and "status=bounced" in line]

        def spam_is_refused(times: int) -> None:
            _hand_over(peer, ANN, gtube().decode())
            until(lambda: len(refused_for_good()) == times, "Postfix is told that it sends spam")
            assert "said: 554 5.7.1 Message looks like spam" in refused_for_good()[-1]

        spam_is_refused(1)
        rspamd.kill()
        try:
            _hand_over(peer, ANN, marker)
            if on_error == "tempfail":
                until(lambda: "said: 451 4.3.0 " in peer.log, "Postfix keeps its mail without rspamd")
                assert len(dovecot.messages(ANN)) == before
            else:
                dovecot.wait_for_messages(ANN, before + 1)
            # No message that came while rspamd was down was refused permanently.
            assert len(refused_for_good()) == 1
        finally:
            rspamd.start()
        assert marker.encode() in dovecot.wait_for_messages(ANN, before + 1)[-1]
        spam_is_refused(2)
    world.until_queue_is_empty(suite)
    # The message has arrived once, and no process of Posthouse was started again.
    assert len(dovecot.messages(ANN)) == before + 1
    assert {name: suite.pid(name) for name in suite.layout} == processes


@pytest.mark.parametrize(
    ("kind", "recipients"),
    [
        ("local-domains", "accounts"),
        ("local-domains", "list"),
        ("local-domains", "any"),
        ("local-domains", "verify"),
        ("relay-domains", "list"),
        ("relay-domains", "any"),
        ("relay-domains", "verify"),
    ],
)
def test_mail_from_outside_to_an_unknown_address_is_refused_or_gives_a_warning(
    suite: Suite, postfix: Postfix, kind: str, recipients: str
) -> None:
    """The server of the domains speaks SMTP. The tests above check the mode `verify` with a server that speaks LMTP."""
    domain = f"{kind[:5]}-{recipients}.test"
    member = "name" if kind == "local-domains" else "domain"
    server = {"kind": "smtp", "host": postfix.host, "port": postfix.port}
    place = "mailbox" if kind == "local-domains" else "next_hop"
    body = {member: domain, "recipients": recipients, place: server}
    made = world.create(suite, f"/v1/{kind}", body)
    world.until_in_force(suite)
    is_warned = "any_recipient" in {warning["code"] for warning in made["warnings"]}
    assert is_warned is (recipients == "any")
    assert world.reply_to_rcpt(suite, f"nobody@{domain}") == ((250, "2.1.5") if is_warned else (550, "5.1.1"))


def test_mail_with_tags_or_a_catch_all_always_has_a_mailbox(suite: Suite, dovecot: Dovecot) -> None:
    """Mail of a stranger is refused at RCPT, or it arrives in a mailbox."""
    mailbox = {"kind": "lmtp", "host": dovecot.host, "port": dovecot.port}
    world.create(suite, "/v1/local-domains", {"name": "tagged.test", "mailbox": mailbox, "recipient_delimiter": "+"})
    world.create(suite, "/v1/local-domains", {"name": "caught.test", "mailbox": mailbox, "catch_all": ALL})
    for address in (SUE, ALL):
        world.account(suite, address, address)
    world.until_in_force(suite)
    marker = uuid.uuid4().hex
    assert _send(suite, "sue+news@tagged.test", marker)[0] == 250
    assert marker.encode() in dovecot.wait_for_messages(SUE, 1)[-1]
    assert world.reply_to_rcpt(suite, "nobody+news@tagged.test") == (550, "5.1.1")
    assert _send(suite, "nobody@caught.test", marker)[0] == 250
    assert marker.encode() in dovecot.wait_for_messages(ALL, 1)[-1]
    world.until_queue_is_empty(suite)
