"""Next hops that operators configure: the server of a relay domain, lists of servers, and required TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from services.relay.configuration.model import (
    FallbackHost,
    Mailbox,
    MailboxKind,
    RelayDomain,
    RelayHostAuth,
    TlsLevel,
)
from services.relay.model.attempt import Result
from tests.peers.dns import DnsServer
from tests.peers.ports import free_address, free_port
from tests.peers.smtp_sink import Offer, SmtpSink, Stage, reply
from tests.relay.delivery.conftest import Gateway, MxHosts

EVE = b"eve@partner.test"
SMTP, LMTP = MailboxKind.SMTP, MailboxKind.LMTP


def _next_hop(gateway: Gateway, mailbox: Mailbox) -> None:
    gateway.configuration_is(relay_domains={"partner.test": RelayDomain("d", "partner.test", mailbox)})


def _fallback(*sinks: SmtpSink) -> tuple[FallbackHost, ...]:
    return tuple(FallbackHost(sink.host, sink.port) for sink in sinks)


@pytest.fixture
def sinks() -> Iterator[list[SmtpSink]]:
    """Yields three SMTP servers."""
    with ExitStack() as stack:
        yield [stack.enter_context(SmtpSink()) for _ in range(3)]


@pytest.fixture
def secure(certificates: trustme.CA, dns_server: DnsServer) -> Iterator[SmtpSink]:
    """Yields the server hub.test, which has a certificate for its name."""
    with SmtpSink(certificate=certificates.issue_cert("hub.test")) as sink:
        dns_server.replace("hub.test", "A", sink.host)
        yield sink


async def test_a_relay_domain_may_have_its_own_server(gateway: Gateway, smtp_sink: SmtpSink) -> None:
    """Relay does not look up the MX records of the domain."""
    _next_hop(gateway, Mailbox(SMTP, smtp_sink.host, smtp_sink.port))
    outcome = await gateway.deliver_one(EVE)
    assert (outcome.result, outcome.port) == (Result.DELIVERED, smtp_sink.port)
    assert smtp_sink.sessions[0].verbs[0] == "EHLO"


async def test_a_relay_domain_may_be_handed_over_by_lmtp(gateway: Gateway) -> None:
    with SmtpSink(Offer(lmtp=True)) as sink:
        sink.on(Stage.RCPT, reply("550 5.1.1 Nobody"), address="nobody@partner.test")
        _next_hop(gateway, Mailbox(LMTP, sink.host, sink.port))
        first, second = await gateway.deliver(EVE, b"nobody@partner.test")
        assert (first.result, second.result, second.enhanced_code) == (Result.DELIVERED, Result.FAILED, "5.1.1")
        assert sink.sessions[0].verbs[0] == "LHLO"


async def test_a_configured_server_that_demands_a_login_bounces_nothing(gateway: Gateway, smtp_sink: SmtpSink) -> None:
    smtp_sink.on(Stage.MAIL, reply("530 5.7.0 Log in"))
    _next_hop(gateway, Mailbox(SMTP, smtp_sink.host, smtp_sink.port))
    assert (await gateway.deliver_one(EVE)).result is Result.DEFERRED


@pytest.mark.parametrize(
    ("level", "policy", "has_tls"),
    [
        (TlsLevel.NONE, "none", False),
        (TlsLevel.MAY, "opportunistic", True),
        (TlsLevel.ENCRYPT, "required", True),
        (TlsLevel.VERIFY, "required", True),
    ],
)
async def test_levels_of_tls_apply_to_a_next_hop(
    gateway: Gateway, secure: SmtpSink, authority_file: Path, level: TlsLevel, policy: str, has_tls: bool
) -> None:
    gateway.options_are(ca_file=authority_file)
    _next_hop(gateway, Mailbox(SMTP, "hub.test", secure.port, tls=level))
    outcome = await gateway.deliver_one(EVE)
    assert (outcome.result, outcome.tls_policy, bool(outcome.tls)) == (Result.DELIVERED, policy, has_tls)


@pytest.mark.parametrize(
    ("level", "result"), [(TlsLevel.ENCRYPT, Result.DELIVERED), (TlsLevel.VERIFY, Result.DEFERRED)]
)
async def test_an_unknown_authority_fails_verification(
    gateway: Gateway, secure: SmtpSink, level: TlsLevel, result: Result
) -> None:
    _next_hop(gateway, Mailbox(SMTP, "hub.test", secure.port, tls=level))
    outcome = await gateway.deliver_one(EVE)
    assert outcome.result is result
    assert outcome.enhanced_code == ("2.0.0" if result is Result.DELIVERED else "4.7.5")


async def test_without_starttls_mail_that_must_be_encrypted_waits(gateway: Gateway, smtp_sink: SmtpSink) -> None:
    _next_hop(gateway, Mailbox(SMTP, smtp_sink.host, smtp_sink.port, tls=TlsLevel.ENCRYPT))
    outcome = await gateway.deliver_one(EVE)
    assert (outcome.result, outcome.enhanced_code) == (Result.DEFERRED, "4.7.4")
    assert not smtp_sink.messages


# Lists of servers


async def test_the_next_host_is_tried_when_no_connection_is_made(gateway: Gateway, sinks: list[SmtpSink]) -> None:
    dead = tuple(FallbackHost(free_address(), free_port()) for _ in range(6))
    hosts = (*dead, *_fallback(sinks[0]))
    _next_hop(gateway, Mailbox(SMTP, "127.0.0.1", free_port(), fallback_hosts=hosts))
    outcome = await gateway.deliver_one(EVE)
    assert (outcome.result, outcome.port) == (Result.DELIVERED, sinks[0].port)


@pytest.mark.parametrize("greeting", ["421 4.3.2 Busy", "450 4.3.2 Later"])
async def test_the_next_host_is_tried_after_a_temporary_refusal(
    gateway: Gateway, sinks: list[SmtpSink], greeting: str
) -> None:
    first, second, third = sinks
    first.on(Stage.CONNECT, reply(greeting))
    second.on(Stage.CONNECT, reply(greeting))
    mailbox = Mailbox(SMTP, first.host, first.port, fallback_hosts=_fallback(second, third))
    _next_hop(gateway, mailbox)
    outcome = await gateway.deliver_one(EVE)
    assert (outcome.result, outcome.port) == (Result.DELIVERED, third.port)
    assert first.sessions
    assert second.sessions


async def test_a_permanent_refusal_of_the_first_host_is_final(gateway: Gateway, sinks: list[SmtpSink]) -> None:
    first, second, _ = sinks
    first.on(Stage.RCPT, reply("550 5.1.1 Nobody"), address="nobody@partner.test")
    _next_hop(gateway, Mailbox(SMTP, first.host, first.port, fallback_hosts=_fallback(second)))
    delivered, refused = await gateway.deliver(EVE, b"nobody@partner.test")
    assert (delivered.result, refused.result) == (Result.DELIVERED, Result.FAILED)
    assert not second.sessions


async def test_a_name_without_address_is_skipped(gateway: Gateway, smtp_sink: SmtpSink) -> None:
    mailbox = Mailbox(SMTP, "gone.test", 25, fallback_hosts=_fallback(smtp_sink))
    _next_hop(gateway, mailbox)
    assert (await gateway.deliver_one(EVE)).result is Result.DELIVERED


async def test_a_relay_host_may_have_fallback_hosts_with_one_login(gateway: Gateway) -> None:
    offer = Offer(logins={"gateway": "secret"}, auth_without_tls=True)
    auth = RelayHostAuth("gateway", "secret", allow_without_tls=True)
    with SmtpSink(offer) as first, SmtpSink(offer) as second:
        first.on(Stage.CONNECT, reply("421 4.3.2 Busy"))
        gateway.by_relay_host(first, auth=auth, fallback_hosts=_fallback(second))
        outcome = await gateway.deliver_one()
        assert (outcome.result, outcome.port) == (Result.DELIVERED, second.port)
        assert "AUTH" in second.sessions[0].verbs


# TLS policies of domains


@pytest.mark.parametrize("domain", ["partner.test", ".test"])
async def test_mail_to_a_domain_with_a_tls_policy_is_encrypted_or_waits(
    gateway: Gateway, mx_hosts: MxHosts, domain: str
) -> None:
    sink = mx_hosts.add("partner.test", 10, "mx.partner.test")
    gateway.configuration_is(tls_policies={domain: TlsLevel.ENCRYPT})
    outcome = await gateway.deliver_one(EVE)
    assert (outcome.result, outcome.enhanced_code) == (Result.DEFERRED, "4.7.4")
    assert not sink.messages
    # For other domains no TLS is required.
    mx_hosts.add("other.example", 10, "mx.other.example")
    assert (await gateway.deliver_one(b"bob@other.example")).result is Result.DELIVERED


@pytest.mark.parametrize(
    ("level", "name", "result", "policy"),
    [
        (TlsLevel.NONE, "mx.partner.test", Result.DELIVERED, "none"),
        (TlsLevel.ENCRYPT, "other.test", Result.DELIVERED, "required"),
        (TlsLevel.VERIFY, "mx.partner.test", Result.DELIVERED, "required"),
        (TlsLevel.VERIFY, "other.test", Result.DEFERRED, "required"),
    ],
)
async def test_a_tls_policy_may_require_a_valid_certificate(
    gateway: Gateway,
    mx_hosts: MxHosts,
    certificates: trustme.CA,
    authority_file: Path,
    level: TlsLevel,
    name: str,
    result: Result,
    policy: str,
) -> None:
    gateway.options_are(ca_file=authority_file)
    mx_hosts.add("partner.test", 10, "mx.partner.test", certificate=certificates.issue_cert(name))
    gateway.configuration_is(tls_policies={"partner.test": level})
    outcome = await gateway.deliver_one(EVE)
    assert (outcome.result, outcome.tls_policy) == (result, policy)
