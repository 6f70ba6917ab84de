"""Relay logs in at a relay host (C131)."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog.testing
import trustme

from services.relay.configuration.model import RelayHostAuth
from services.relay.delivery.smtp.auth import mechanism
from services.relay.model.attempt import Result
from tests.peers.smtp_sink import Close, Offer, SmtpSink, Stage, reply
from tests.relay.delivery.conftest import Gateway

AUTH = RelayHostAuth("relay user", "s3cr\u00e9t \u2713")
OFFER = Offer(logins={"relay user": "s3cr\u00e9t \u2713"}, auth_required=True)


@pytest.fixture
def hub(certificates: trustme.CA) -> Iterator[SmtpSink]:
    with SmtpSink(OFFER, certificate=certificates.issue_cert("127.0.0.1")) as sink:
        yield sink


@pytest.mark.parametrize("name", ["PLAIN", "LOGIN", "CRAM-MD5"])
async def test_each_mechanism_logs_in_over_tls(gateway: Gateway, certificates: trustme.CA, name: str) -> None:
    offer = Offer(logins=OFFER.logins, mechanisms=("XOAUTH2", name), auth_required=True)
    with SmtpSink(offer, certificate=certificates.issue_cert("127.0.0.1")) as sink:
        gateway.by_relay_host(sink, auth=AUTH)
        assert (await gateway.deliver_one()).result is Result.DELIVERED
        (login,) = sink.sessions[0].logins
        assert (login.mechanism, login.accepted, login.tls) == (name, True, True)


async def test_no_ehlo_follows_the_login(gateway: Gateway, hub: SmtpSink) -> None:
    """Some servers drop the login when they get EHLO again."""
    gateway.by_relay_host(hub, auth=AUTH)
    await gateway.deliver_one()
    verbs = hub.sessions[0].verbs
    assert "EHLO" not in verbs[verbs.index("AUTH") :]


async def test_one_login_is_enough_for_a_session(gateway: Gateway, hub: SmtpSink) -> None:
    gateway.by_relay_host(hub, auth=AUTH)
    for _ in range(3):
        assert (await gateway.deliver_one()).result is Result.DELIVERED
    assert hub.sessions[0].verbs.count("AUTH") == 1


@pytest.mark.parametrize("auth_without_tls", [True, False])
async def test_without_tls_no_login_is_sent(gateway: Gateway, auth_without_tls: bool) -> None:
    with SmtpSink(Offer(logins=OFFER.logins, auth_without_tls=auth_without_tls)) as sink:
        gateway.by_relay_host(sink, auth=AUTH)
        outcome = await gateway.deliver_one()
        assert (outcome.result, outcome.enhanced_code) == (Result.DEFERRED, "4.7.0")
        assert "no login was sent" in outcome.text
        assert "AUTH" not in sink.sessions[0].verbs
        assert sink.transactions == []


async def test_after_a_failed_handshake_no_login_is_sent(gateway: Gateway, hub: SmtpSink) -> None:
    hub.on(Stage.STARTTLS, reply("220 Ready"), Close())
    gateway.by_relay_host(hub, auth=AUTH)
    assert (await gateway.deliver_one()).enhanced_code == "4.7.0"
    assert not any("AUTH" in session.verbs for session in hub.sessions)


async def test_a_login_without_tls_may_be_allowed_and_hides_the_password_where_it_can(gateway: Gateway) -> None:
    with SmtpSink(Offer(logins=OFFER.logins, auth_without_tls=True)) as sink:
        gateway.by_relay_host(sink, auth=RelayHostAuth(AUTH.username, AUTH.password, allow_without_tls=True))
        assert (await gateway.deliver_one()).result is Result.DELIVERED
        assert sink.sessions[0].logins[0].mechanism == "CRAM-MD5"


async def test_a_wrong_password_suspends_the_relay_host_and_bounces_nothing(gateway: Gateway, hub: SmtpSink) -> None:
    gateway.by_relay_host(hub, auth=RelayHostAuth(AUTH.username, "wrong"))
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.code) == (Result.DEFERRED, 535)
    assert outcome.suspend_destination == f"relay:{hub.host}:{hub.port}"


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA])
async def test_a_relay_host_that_demands_a_missing_login_bounces_nothing(
    gateway: Gateway, smtp_sink: SmtpSink, stage: Stage
) -> None:
    """A missing login or missing TLS is a fault that the operators correct (RFC 4954 section 6, RFC 3207 section 4)."""
    smtp_sink.on(stage, reply("530 5.7.0 Authentication required"))
    gateway.by_relay_host(smtp_sink)
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.code, outcome.enhanced_code) == (Result.DEFERRED, 530, "4.7.0")
    assert outcome.suspend_destination == ""


async def test_a_login_that_cannot_be_checked_now_defers_the_mail(gateway: Gateway, hub: SmtpSink) -> None:
    hub.on(Stage.AUTH_RESULT, reply("454 4.7.0 Directory away"))
    gateway.by_relay_host(hub, auth=AUTH)
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.code, outcome.suspend_destination) == (Result.DEFERRED, 454, "")


@pytest.mark.parametrize("answer", ["250 Ok", "220 2.7.0 Welcome", "334 ", "354 Go ahead", "235"])
async def test_an_unexpected_answer_to_the_login_is_not_a_delivery(
    gateway: Gateway, hub: SmtpSink, answer: str
) -> None:
    """In an earlier version, relay mistook the answer to the login for the answer to the message."""
    hub.on(Stage.AUTH_RESULT, reply(answer))
    gateway.by_relay_host(hub, auth=AUTH)
    outcome = await gateway.deliver_one()
    assert (outcome.result is Result.DELIVERED) is bool(hub.messages)


@pytest.mark.parametrize("offer", [Offer(), Offer(logins=OFFER.logins, mechanisms=("GSSAPI", "XOAUTH2"))])
async def test_mail_is_deferred_when_no_login_mechanism_is_usable(
    gateway: Gateway, certificates: trustme.CA, offer: Offer
) -> None:
    with SmtpSink(offer, certificate=certificates.issue_cert("127.0.0.1")) as sink:
        gateway.by_relay_host(sink, auth=AUTH)
        outcome = await gateway.deliver_one()
        assert (outcome.result, outcome.enhanced_code, outcome.suspend_destination) == (Result.DEFERRED, "4.7.0", "")
        assert sink.transactions == []


async def test_mail_is_deferred_when_the_connection_is_lost_during_the_login(gateway: Gateway, hub: SmtpSink) -> None:
    hub.on(Stage.AUTH, Close())
    gateway.by_relay_host(hub, auth=AUTH)
    assert (await gateway.deliver_one()).result is Result.DEFERRED


async def test_an_invalid_challenge_defers_the_mail(gateway: Gateway, certificates: trustme.CA) -> None:
    offer = Offer(logins=OFFER.logins, mechanisms=("CRAM-MD5",))
    with SmtpSink(offer, certificate=certificates.issue_cert("127.0.0.1")) as sink:
        sink.on(Stage.AUTH, reply("334 not base64"))
        gateway.by_relay_host(sink, auth=AUTH)
        assert (await gateway.deliver_one()).result is Result.DEFERRED


async def test_two_logins_share_no_session(gateway: Gateway, hub: SmtpSink) -> None:
    gateway.by_relay_host(hub, auth=AUTH)
    await gateway.deliver_one()
    gateway.by_relay_host(hub, auth=RelayHostAuth(AUTH.username, "changed"))
    assert (await gateway.deliver_one()).code == 535


async def test_no_password_is_in_logs_or_outcomes(
    gateway: Gateway, hub: SmtpSink, caplog: pytest.LogCaptureFixture
) -> None:
    """Case C70 of docs/cases.md describes this behaviour."""
    caplog.set_level(logging.DEBUG)
    hub.on(Stage.AUTH_RESULT, reply("535 5.7.8 No"))
    gateway.by_relay_host(hub, auth=RelayHostAuth("someone", "hunter2hunter2"))
    with structlog.testing.capture_logs() as logs:
        outcome = await gateway.deliver_one()
    everything = f"{logs}{caplog.text}{outcome}{gateway.configuration}"
    assert "hunter2" not in everything
    assert "aHVudGVyMmh1bnRlcjI" not in everything


def test_the_mechanism_depends_on_tls() -> None:
    assert mechanism(("cram-md5", "login", "plain"), tls=True) == "plain"
    assert mechanism(("cram-md5", "login", "plain"), tls=False) == "cram-md5"
    assert mechanism(("login",), tls=False) == "login"
    assert mechanism(("gssapi",), tls=True) == ""
