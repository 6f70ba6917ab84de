"""The step-by-step test of a relay host, and the explanation of a route."""

from __future__ import annotations

import trustme

from services.relay.configuration.model import Mailbox, MailboxKind, RelayHost, RelayHostAuth
from services.relay.delivery.relay_host_check import Step
from services.relay.delivery.targets.options import PROHIBITED_NETWORKS, networks
from tests.peers.dns import DnsServer
from tests.peers.dns_misbehaviour import Behaviour
from tests.peers.ports import free_port
from tests.peers.smtp_sink import Ending, Offer, SmtpSink, Stage, UpgradeBroken, reply
from tests.relay.delivery.conftest import GATEWAY, Gateway, MxHosts

LOGIN = {"user": "hunter2hunter2"}
AUTH = RelayHostAuth("user", "hunter2hunter2")


async def steps_of(gateway: Gateway, relay_host: RelayHost, *, configured: bool = False) -> list[Step]:
    tested = gateway.transport.test_relay_host(relay_host, GATEWAY, configured=configured)
    return [step async for step in tested]


def names(steps: list[Step]) -> list[str]:
    return [f"{step.name}{'' if step.ok else '!'}" for step in steps]


async def test_every_step_of_a_working_relay_host_is_shown(gateway: Gateway, certificates: trustme.CA) -> None:
    with SmtpSink(Offer(logins=LOGIN), certificate=certificates.issue_cert("127.0.0.1")) as sink:
        steps = await steps_of(gateway, RelayHost(sink.host, sink.port, always_tls=True, auth=AUTH))
        assert names(steps) == [
            "resolve", "connect", "greeting", "ehlo", "starttls", "ehlo_tls", "auth", "mail", "reset", "quit",
        ]  # fmt: skip
        assert [step.last for step in steps] == [False] * 9 + [True]
        assert "hunter2" not in str(steps)
        (session,) = await sink.sessions_ended(1)
        assert session.ending is Ending.QUIT
        assert sink.messages == []


async def test_implicit_tls_comes_before_the_greeting(gateway: Gateway, certificates: trustme.CA) -> None:
    leaf = certificates.issue_cert("127.0.0.1")
    with SmtpSink(Offer(implicit_tls=True), certificate=leaf) as sink:
        steps = await steps_of(gateway, RelayHost(sink.host, sink.port, implicit_tls=True))
        assert names(steps)[:5] == ["resolve", "connect", "tls", "greeting", "ehlo"]
        assert steps[2].detail.startswith("TLSv1")


async def test_the_failing_step_is_the_last(gateway: Gateway, certificates: trustme.CA) -> None:
    with SmtpSink(Offer(logins=LOGIN), certificate=certificates.issue_cert("127.0.0.1")) as sink:
        wrong = RelayHost(sink.host, sink.port, always_tls=True, auth=RelayHostAuth("user", "wrong"))
        steps = await steps_of(gateway, wrong)
        assert names(steps)[-2:] == ["ehlo_tls", "auth!"]
        assert steps[-1].last
        assert "535" in steps[-1].detail
        plain = await steps_of(gateway, RelayHost(sink.host, sink.port, always_tls=True, verify_certificate=True))
        assert names(plain)[-1] == "starttls!"
        assert "certificate" in plain[-1].detail


async def test_a_failed_handshake_shows_the_plaintext_retry(gateway: Gateway, certificates: trustme.CA) -> None:
    with SmtpSink(certificate=certificates.issue_cert("127.0.0.1")) as sink:
        sink.on(Stage.STARTTLS, UpgradeBroken())
        for _ in range(2):
            steps = await steps_of(gateway, RelayHost(sink.host, sink.port))
            assert names(steps) == [
                "resolve", "connect", "greeting", "ehlo", "starttls!",
                "connect", "greeting", "ehlo", "mail", "reset", "quit",
            ]  # fmt: skip


async def test_unreachable_hosts_are_reported(gateway: Gateway, dns_server: DnsServer) -> None:
    assert names(await steps_of(gateway, RelayHost("nowhere.test"))) == ["resolve!"]
    dns_server.behave("silent.test", Behaviour.SERVFAIL)
    (step,) = await steps_of(gateway, RelayHost("silent.test"))
    assert (step.ok, step.last) == (False, True)
    assert names(await steps_of(gateway, RelayHost("127.0.0.1", free_port()))) == ["resolve", "connect!"]


async def test_a_refused_null_sender_is_shown(gateway: Gateway, smtp_sink: SmtpSink) -> None:
    smtp_sink.on(Stage.MAIL, reply("550 5.7.1 No bounces"))
    steps = await steps_of(gateway, RelayHost(smtp_sink.host, smtp_sink.port))
    assert names(steps)[-3:] == ["mail!", "reset", "quit"]


# Explanations of routes


async def test_a_direct_route_is_explained_with_hosts_and_look_ups(gateway: Gateway, mx_hosts: MxHosts) -> None:
    first = mx_hosts.add("example.net", 1, "a.test")
    mx_hosts.add("example.net", 10, "b.test")
    explained = await gateway.transport.explain(gateway.configuration, b"ann@example.org", b"bob@example.net")
    assert (explained.kind, explained.destination, explained.tls_policy) == (
        "direct",
        "domain:example.net",
        "opportunistic",
    )
    assert [(host.preference, host.name) for host in explained.hosts] == [(1, "a.test"), (10, "b.test")]
    assert explained.hosts[0].addresses == (first.host,)
    found = {(lookup.name, lookup.kind): lookup for lookup in explained.lookups}
    assert found["example.net", "MX"].answers == ("1 a.test.", "10 b.test.")
    assert found["a.test", "AAAA"].outcome.value == "none"
    assert first.sessions == []


async def test_a_route_without_a_host_has_a_reason(gateway: Gateway, dns_server: DnsServer) -> None:
    dns_server.load({"loop.test": {"MX": f"10 {GATEWAY}."}, GATEWAY: {"A": "192.0.2.1"}})
    explained = await gateway.transport.explain(gateway.configuration, b"", b"bob@loop.test")
    assert (explained.code, explained.enhanced_code) == (550, "5.4.6")
    assert explained.hosts[0].left_out == "is this gateway"
    held = await gateway.transport.explain(gateway.configuration, b"", b"postmaster")
    assert (held.kind, held.hosts) == ("held", ())
    assert held.reason


async def test_a_relay_host_is_explained_without_its_password(gateway: Gateway, smtp_sink: SmtpSink) -> None:
    gateway.by_relay_host(smtp_sink, auth=AUTH, implicit_tls=True, verify_certificate=True)
    explained = await gateway.transport.explain(gateway.configuration, b"", b"bob@example.net")
    assert (explained.kind, explained.tls_policy, explained.verify_certificate, explained.auth_username) == (
        "relay_host",
        "implicit",
        True,
        "user",
    )
    assert "hunter2" not in str(explained)


async def test_a_maildir_is_explained_without_a_host(gateway: Gateway) -> None:
    gateway.into_mailbox("local.test", Mailbox(MailboxKind.MAILDIR, path="/srv/mail"))
    explained = await gateway.transport.explain(gateway.configuration, b"", b"bob@local.test")
    assert (explained.kind, explained.hosts, explained.tls_policy) == ("mailbox", (), "none")


async def test_prohibited_networks_are_not_connected_to(gateway: Gateway, dns_server: DnsServer) -> None:
    """An operator with an API key must not be able to reach networks to which no mail may go."""
    gateway.options_are(prohibited=networks(PROHIBITED_NETWORKS))
    dns_server.load({"inside.test": {"A": "127.0.0.1"}})
    with SmtpSink() as sink:
        for host in (sink.host, "inside.test", "::ffff:127.0.0.1"):
            steps = await steps_of(gateway, RelayHost(host, sink.port))
            assert names(steps) == ["resolve", "connect!"], host
            assert "RELAY_PROHIBITED_NETWORKS" in steps[-1].detail
        assert sink.sessions == []


async def test_a_configured_host_is_tested_wherever_it_is(gateway: Gateway) -> None:
    """Relay delivers mail to this host anyway, so the test shows an operator nothing that deliveries do not show."""
    gateway.options_are(prohibited=networks(PROHIBITED_NETWORKS))
    with SmtpSink() as sink:
        steps = await steps_of(gateway, RelayHost(sink.host, sink.port), configured=True)
        assert names(steps)[-3:] == ["mail", "reset", "quit"]
