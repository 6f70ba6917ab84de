"""The hosts that one attempt tries: their order, the reaction to failures, and the memory of dead hosts."""

from __future__ import annotations

import asyncio
import socket

import pytest

from services.relay.configuration.model import Mailbox, MailboxKind, RelayDomain, Resolvers
from services.relay.delivery import DeliveryOptions, own_addresses
from services.relay.model.attempt import Outcome, Result, RouteKind
from tests.peers.dns import DnsServer
from tests.peers.dns_misbehaviour import Behaviour
from tests.peers.ports import free_address
from tests.peers.smtp_sink import Close, Gate, Offer, SmtpSink, Stage, Wait, reply
from tests.relay.delivery.conftest import CONTENT, GATEWAY, Gateway, MxHosts


async def test_the_best_host_gets_the_message(gateway: Gateway, mx_hosts: MxHosts) -> None:
    second, first = mx_hosts.add("example.net", 10, "b.test"), mx_hosts.add("example.net", 1, "a.test")
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.host, outcome.address) == (Result.DELIVERED, "a.test", first.host)
    assert (len(first.messages), len(second.messages)) == (1, 0)


@pytest.mark.parametrize(
    ("stage", "answer"),
    [
        (Stage.CONNECT, "421 4.3.2 Busy"),
        (Stage.CONNECT, "554 5.7.1 No service here"),
        (Stage.EHLO, "421 4.3.2 Busy"),
        (Stage.MAIL, "421 4.3.2 Busy"),
        (Stage.MAIL, "451 4.3.0 Later"),
    ],
)
async def test_a_host_that_refuses_service_or_refuses_temporarily_is_skipped(
    gateway: Gateway, mx_hosts: MxHosts, stage: Stage, answer: str
) -> None:
    """Case C115 of docs/cases.md describes this behaviour."""
    first, second = mx_hosts.add("example.net", 1, "a.test"), mx_hosts.add("example.net", 10, "b.test")
    first.on(stage, reply(answer))
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.host) == (Result.DELIVERED, "b.test")
    assert len(second.messages) == 1


@pytest.mark.parametrize("stage", [Stage.CONNECT, Stage.EHLO, Stage.MAIL, Stage.RCPT, Stage.DATA])
async def test_a_host_that_disconnects_before_the_dot_is_skipped(
    gateway: Gateway, mx_hosts: MxHosts, stage: Stage
) -> None:
    first, _ = mx_hosts.add("example.net", 1, "a.test"), mx_hosts.add("example.net", 10, "b.test")
    first.on(stage, Close())
    assert (await gateway.deliver_one()).host == "b.test"


async def test_a_dead_host_is_skipped_and_then_tried_last(gateway: Gateway, mx_hosts: MxHosts) -> None:
    """Case C115 of docs/cases.md describes this behaviour."""
    mx_hosts.dead("example.net", 1, "dead.test")
    alive = mx_hosts.add("example.net", 10, "b.test")
    for _ in range(3):
        assert (await gateway.deliver_one()).host == "b.test"
    assert len(alive.messages) == 3


async def test_a_host_that_drops_connections_delays_mail_only_for_a_moment(
    gateway: Gateway, mx_hosts: MxHosts, dns_server: DnsServer
) -> None:
    """A server with a full backlog answers no SYN, like a dead host. The next host is tried before the time-out."""
    address = free_address()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, mx_hosts.port))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex((address, mx_hosts.port))
        dns_server.add("example.net", "MX", "1 hole.test.")
        dns_server.add("hole.test", "A", address)
        mx_hosts.add("example.net", 10, "b.test")
        gateway.times_out(connect=60)
        # This limit is not longer than the time-out of a connection, so the test fails if relay tries the next host
        # only after that time-out.
        async with asyncio.timeout(60):
            assert (await gateway.deliver_one()).host == "b.test"
            gateway.configuration_is(hostname="again.posthouse.test")
            assert (await gateway.deliver_one()).host == "b.test"
        for filler in fillers:
            filler.close()


async def test_a_host_that_uses_all_the_time_does_not_prevent_a_try_at_the_next(
    gateway: Gateway, mx_hosts: MxHosts
) -> None:
    """C115: at least two hosts are tried, but no third host is tried after the time is over (RFC 5321 section 5.1)."""
    best = mx_hosts.add("example.net", 1, "a.test")
    alive = mx_hosts.add("example.net", 10, "b.test")
    last = mx_hosts.add("example.net", 20, "c.test")
    best.on(Stage.CONNECT, Close())
    # This clock moves so that each session uses up all the time that an attempt has for reaching a host.
    gateway.clock = lambda: 1000.0 * (len(best.sessions) + len(alive.sessions))
    assert (await gateway.deliver_one()).host == "b.test"
    alive.on(Stage.CONNECT, Close())
    gateway.configuration_is(hostname="again.posthouse.test")
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.host) == (Result.DEFERRED, "b.test")
    assert last.sessions == []


async def test_a_silent_host_is_tried_last_for_the_next_message(gateway: Gateway, mx_hosts: MxHosts) -> None:
    """The silent host accepts connections, so it does not count as unreachable."""
    silent, alive = mx_hosts.add("example.net", 1, "a.test"), mx_hosts.add("example.net", 10, "b.test")
    silent.on(Stage.CONNECT, Wait(Gate()))
    gateway.times_out(greeting=3)
    for name in ("one.posthouse.test", "two.posthouse.test"):
        # With another hostname relay opens a new session.
        gateway.configuration_is(hostname=name)
        assert (await gateway.deliver_one()).host == "b.test"
    assert (len(silent.sessions), len(alive.messages)) == (1, 2)


async def test_mail_is_deferred_when_all_hosts_are_dead(gateway: Gateway, mx_hosts: MxHosts) -> None:
    mx_hosts.dead("example.net", 1, "a.test")
    mx_hosts.dead("example.net", 2, "b.test")
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.enhanced_code, outcome.code) == (Result.DEFERRED, "4.4.1", 0)
    assert outcome.host in ("a.test", "b.test")


async def test_mail_is_deferred_with_their_reply_when_all_hosts_refuse_service(
    gateway: Gateway, mx_hosts: MxHosts
) -> None:
    mx_hosts.add("example.net", 1, "a.test").on(Stage.CONNECT, reply("554 5.7.1 Go away"))
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.code, outcome.text) == (Result.DEFERRED, 554, "5.7.1 Go away")


async def test_results_of_a_host_are_final_and_other_recipients_go_to_the_next(
    gateway: Gateway, mx_hosts: MxHosts
) -> None:
    first, second = mx_hosts.add("example.net", 1, "a.test"), mx_hosts.add("example.net", 10, "b.test")
    first.on(Stage.RCPT, reply("550 5.1.1 No"), address="eve@example.net")
    first.on(Stage.DATA, Close())
    outcomes = await gateway.deliver(b"bob@example.net", b"eve@example.net")
    assert [(outcome.result, outcome.host) for outcome in outcomes] == [
        (Result.DELIVERED, "b.test"),
        (Result.FAILED, "a.test"),
    ]
    assert second.messages[0].accepted_recipients == [b"bob@example.net"]


@pytest.mark.parametrize(
    ("stage", "answer"), [(Stage.RCPT, "450 4.2.0 Greylisted"), (Stage.END_OF_DATA, "451 4.3.0 Later")]
)
async def test_the_decision_of_a_host_about_a_message_is_final(
    gateway: Gateway, mx_hosts: MxHosts, stage: Stage, answer: str
) -> None:
    first, second = mx_hosts.add("example.net", 1, "a.test"), mx_hosts.add("example.net", 10, "b.test")
    first.on(stage, reply(answer))
    assert (await gateway.deliver_one()).result is Result.DEFERRED
    assert second.sessions == []


async def test_mail_lost_after_the_dot_does_not_go_to_the_next_host(gateway: Gateway, mx_hosts: MxHosts) -> None:
    """Case C120 of docs/cases.md describes this behaviour."""
    first, second = mx_hosts.add("example.net", 1, "a.test"), mx_hosts.add("example.net", 10, "b.test")
    first.on(Stage.END_OF_DATA, Close())
    assert (await gateway.deliver_one()).possible_duplicate
    assert second.sessions == []


async def test_no_more_hosts_than_the_limit_are_tried(gateway: Gateway, mx_hosts: MxHosts) -> None:
    gateway.options_are(max_hosts=2)
    sinks = [mx_hosts.add("example.net", number, f"h{number}.test") for number in range(4)]
    for sink in sinks:
        sink.on(Stage.CONNECT, reply("421 4.3.2 Busy"))
    assert (await gateway.deliver_one()).result is Result.DEFERRED
    assert [len(sink.sessions) for sink in sinks] == [1, 1, 0, 0]


async def test_both_address_families_are_tried_and_the_working_one_is_remembered(
    gateway: Gateway, mx_hosts: MxHosts, dns_server: DnsServer
) -> None:
    sink = mx_hosts.add("example.net", 1, "a.test")
    # Nothing listens at this address.
    dns_server.add("a.test", "AAAA", "::1")
    assert (await gateway.deliver_one()).address == sink.host
    found = await gateway.transport.resolver.lookup("a.test", "AAAA")
    assert found.answers == ("::1",)
    gateway.configuration_is(hostname="again.posthouse.test")
    assert (await gateway.deliver_one()).address == sink.host


async def test_a_host_with_only_ipv6_works(gateway: Gateway, dns_server: DnsServer) -> None:
    with SmtpSink(host="::1") as sink:
        gateway.options_are(mx_port=sink.port)
        dns_server.add("example.net", "AAAA", "::1")
        outcome = await gateway.deliver_one()
        assert (outcome.result, outcome.address) == (Result.DELIVERED, "::1")


# Loops (C111)


async def test_our_own_listener_as_mx_is_never_connected_to(gateway: Gateway, mx_hosts: MxHosts) -> None:
    ourselves = mx_hosts.add("example.net", 1, "us.test")
    gateway.options_are(own_addresses=own_addresses(ourselves.address))
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.enhanced_code) == (Result.FAILED, "5.4.6")
    assert ourselves.sessions == []


@pytest.mark.parametrize(("domain", "result"), [("example.net", Result.FAILED), ("relayed.test", Result.DEFERRED)])
async def test_a_host_that_greets_with_our_name_is_a_loop(
    gateway: Gateway, mx_hosts: MxHosts, domain: str, result: Result
) -> None:
    gateway.configuration_is(relay_domains={"relayed.test": RelayDomain("d", "relayed.test")})
    sink = mx_hosts.add(domain, 1, "us.test", Offer(hostname=GATEWAY.upper()))
    worse = mx_hosts.add(domain, 2, "worse.test")
    by_us = b"Received: from x\r\n\tby %b with ESMTP id 1;\r\n\tSun, 29 Nov 2026 00:00:00 +0000\r\n" % GATEWAY.encode()
    for _ in range(2):
        # The second message would use an idle session with the same server, if there were one.
        outcome = await gateway.deliver_one(b"bob@" + domain.encode(), content=by_us * 2 + CONTENT)
        assert (outcome.result, outcome.enhanced_code[1:]) == (result, ".4.6")
    assert all("MAIL" not in session.verbs for session in sink.sessions)
    assert worse.sessions == []


async def test_f51_the_server_of_a_relay_domain_may_greet_with_our_name(gateway: Gateway, mx_hosts: MxHosts) -> None:
    """F51: the gateway has the public name of the server behind it, so the greeting alone does not prove a loop."""
    gateway.configuration_is(relay_domains={"relayed.test": RelayDomain("d", "relayed.test")})
    sink = mx_hosts.add("relayed.test", 1, "us.test", Offer(hostname=GATEWAY))
    received = b"Received: from x by %b with ESMTP id 1;\r\n\tSun, 29 Nov 2026 00:00:00 +0000\r\n" % GATEWAY.encode()
    for content in (received + CONTENT, received + CONTENT + received):
        assert (await gateway.deliver_one(b"bob@relayed.test", content=content)).result is Result.DELIVERED
    outcome = await gateway.deliver_one(b"bob@relayed.test", content=received * 2 + CONTENT)
    assert (outcome.result, outcome.enhanced_code) == (Result.DEFERRED, "4.4.6")
    assert len(sink.messages) == 2


# Servers that refuse this client's address (F03)


@pytest.mark.parametrize(
    ("stage", "answer"),
    [
        (Stage.RCPT, "550 5.7.25 Client host rejected: cannot find your reverse hostname"),
        (Stage.RCPT, "450 4.7.25 Client host rejected: cannot find your hostname"),
        (Stage.RCPT, "550 5.7.23 SPF fail"),
        (Stage.RCPT, "554 5.7.1 Client host [::1] blocked using bl.test"),
        (Stage.MAIL, "550 5.7.25 No reverse name"),
        (Stage.MAIL, "554 5.7.1 ::1 is listed"),
        (Stage.MAIL, "450 4.7.25 No reverse name"),
        (Stage.END_OF_DATA, "550 5.7.25 No reverse name"),
    ],
)
async def test_f03_after_a_refusal_of_our_address_the_other_family_is_tried(
    gateway: Gateway, mx_hosts: MxHosts, dns_server: DnsServer, stage: Stage, answer: str
) -> None:
    """F03: the other address family is tried in the same attempt, and the message is delivered once."""
    by_ipv4 = mx_hosts.add("example.net", 1, "a.test")
    dns_server.add("a.test", "AAAA", "::1")
    with SmtpSink(host="::1", port=mx_hosts.port) as by_ipv6:
        by_ipv6.on(stage, reply(answer))
        outcomes = await gateway.deliver(b"bob@example.net", b"eve@example.net")
        assert [(outcome.result, outcome.address) for outcome in outcomes] == [(Result.DELIVERED, by_ipv4.host)] * 2
        assert len(by_ipv6.sessions) == 1
        # The address family that works is remembered, and the refused session is not used again.
        assert (await gateway.deliver_one()).address == by_ipv4.host
        assert len(by_ipv6.sessions) == 1
    assert len(by_ipv4.messages) == 2


async def test_f03_without_another_family_the_refusal_is_final(gateway: Gateway, mx_hosts: MxHosts) -> None:
    sink = mx_hosts.add("example.net", 1, "a.test")
    worse = mx_hosts.add("example.net", 2, "b.test")
    sink.on(Stage.RCPT, reply("550 5.7.25 No reverse name"), address="bob@example.net")
    outcomes = await gateway.deliver(b"bob@example.net", b"eve@example.net")
    assert [(outcome.result, outcome.enhanced_code) for outcome in outcomes] == [
        (Result.FAILED, "5.7.25"),
        (Result.DELIVERED, "2.0.0"),
    ]
    assert worse.sessions == []


async def test_f03_while_the_other_family_cannot_be_reached_nothing_bounces(
    gateway: Gateway, mx_hosts: MxHosts, dns_server: DnsServer
) -> None:
    mx_hosts.dead("example.net", 1, "a.test")
    dns_server.add("a.test", "AAAA", "::1")
    with SmtpSink(host="::1", port=mx_hosts.port) as by_ipv6:
        by_ipv6.on(Stage.RCPT, reply("550 5.7.25 No reverse name"))
        outcome = await gateway.deliver_one()
        assert (outcome.result, outcome.enhanced_code) == (Result.DEFERRED, "4.4.1")


async def test_f03_a_refusal_of_the_content_that_names_our_address_is_final(
    gateway: Gateway, mx_hosts: MxHosts, dns_server: DnsServer
) -> None:
    by_ipv4 = mx_hosts.add("example.net", 1, "a.test")
    dns_server.add("a.test", "AAAA", "::1")
    with SmtpSink(host="::1", port=mx_hosts.port) as by_ipv6:
        by_ipv6.on(Stage.END_OF_DATA, reply("550 5.7.1 [::1] This message is likely unsolicited"))
        assert (await gateway.deliver_one()).result is Result.FAILED
    assert by_ipv4.sessions == []


async def test_a_mailbox_server_may_have_our_name(gateway: Gateway) -> None:
    with SmtpSink(Offer(hostname=GATEWAY)) as sink:
        gateway.into_mailbox("local.test", Mailbox(MailboxKind.SMTP, sink.host, sink.port))
        assert (await gateway.deliver_one(b"bob@local.test")).result is Result.DELIVERED


async def test_loopback_is_prohibited_unless_the_operator_says_otherwise(gateway: Gateway, mx_hosts: MxHosts) -> None:
    gateway.options_are(prohibited=DeliveryOptions().prohibited)
    sink = mx_hosts.add("example.net", 1, "a.test")
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.enhanced_code) == (Result.FAILED, "5.4.6")
    # The operator names a mailbox server, so the server may be on loopback.
    gateway.into_mailbox("local.test", Mailbox(MailboxKind.SMTP, sink.host, sink.port))
    assert (await gateway.deliver_one(b"bob@local.test")).result is Result.DELIVERED


# DNS look-ups


async def test_null_mx_bounces_at_once(gateway: Gateway, dns_server: DnsServer) -> None:
    """Case C108 of docs/cases.md describes this behaviour."""
    dns_server.load({"example.net": {"MX": "0 .", "A": "127.0.0.1"}})
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.code, outcome.enhanced_code) == (Result.FAILED, 556, "5.1.10")


async def test_mail_is_deferred_without_a_dns_answer(gateway: Gateway, dns_server: DnsServer) -> None:
    """Case C109 of docs/cases.md describes this behaviour."""
    dns_server.add("example.net", "A", "127.0.0.1")
    gateway.times_out(lookup=0.5)
    dns_server.behave("example.net", Behaviour.SILENT, "MX")
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.enhanced_code) == (Result.DEFERRED, "4.4.3")


async def test_a_relay_domain_goes_to_the_server_that_the_inner_name_servers_name(
    gateway: Gateway, mx_hosts: MxHosts, dns_server: DnsServer
) -> None:
    with DnsServer() as inner:
        gateway.configuration_is(
            relay_domains={"customer.test": RelayDomain("d", "customer.test")},
            resolvers=Resolvers((dns_server.address,), (inner.address,)),
        )
        dns_server.load({"customer.test": {"MX": f"10 {GATEWAY}."}, GATEWAY: {"A": "192.0.2.1"}})
        own = mx_hosts.add("unused.test", 1, "own.test")
        inner.load({"customer.test": {"MX": "5 own.test."}, "own.test": {"A": own.host}})
        assert (await gateway.deliver_one(b"bob@customer.test")).result is Result.DELIVERED
        assert len(own.messages) == 1


async def test_a_route_that_holds_mail_makes_no_connection(gateway: Gateway) -> None:
    assert gateway.route(b"", b"postmaster").kind is RouteKind.HOLD
    assert (await gateway.deliver_one(b"postmaster")).result is Result.DEFERRED


async def test_mail_for_a_relay_host_never_goes_to_mx_hosts(gateway: Gateway, mx_hosts: MxHosts) -> None:
    """The relay host refuses, does not run or does not exist, and the domain's own MX host would accept the mail."""
    mx = mx_hosts.add("example.net", 1, "a.test")
    with SmtpSink() as hub:
        hub.on(Stage.CONNECT, reply("554 5.7.1 Not you"))
        gateway.by_relay_host(hub)
        assert (await gateway.deliver_one()).result is Result.DEFERRED
    assert (await gateway.deliver_one()).result is Result.DEFERRED
    gateway.by_relay_host(hub, host="nowhere.test")
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.enhanced_code) == (Result.DEFERRED, "4.4.4")
    assert mx.sessions == []


# Dead destinations


async def test_a_dead_destination_is_probed_and_opens_again(gateway: Gateway, mx_hosts: MxHosts) -> None:
    sink = mx_hosts.add("example.net", 1, "a.test")
    sink.stop()
    for _ in range(5):
        assert gateway.transport.capacity("domain:example.net", gateway.configuration) >= 1
        await gateway.deliver_one()
    assert gateway.transport.capacity("domain:example.net", gateway.configuration) == 0
    sink.start()
    await gateway.deliver_one()
    assert gateway.transport.capacity("domain:example.net", gateway.configuration) >= 5


# Servers that accept few connections at once (F47)


async def test_f47_a_message_without_a_connection_goes_back_at_once(gateway: Gateway, smtp_sink: SmtpSink) -> None:
    """F47: the relay host accepts two connections and greets each further connection with 421. It gets 60 messages."""
    limit = 2

    def too_many(_: bytes) -> bool:
        return sum(session.ending is None for session in smtp_sink.sessions) > limit

    smtp_sink.on(Stage.CONNECT, reply("421 4.7.0 Too many connections"), Close(), when=too_many)
    gateway.by_relay_host(smtp_sink)
    destination = gateway.route(b"", b"bob@example.net").destination
    waiting, turned_away = 60, 0
    running: set[asyncio.Task[Outcome]] = set()
    while waiting or running:
        while waiting and len(running) < gateway.transport.capacity(destination, gateway.configuration):
            running.add(asyncio.create_task(gateway.deliver_one()))
            waiting -= 1
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task.result().result is not Result.DELIVERED:
                assert not task.result().counts
                waiting += 1
                turned_away += 1
    assert len(smtp_sink.messages) == 60
    # Relay remembers the limit that it found with its first five connections.
    assert 0 < turned_away < 20


async def test_f47_a_message_without_any_open_connection_waits_for_its_retry(
    gateway: Gateway, smtp_sink: SmtpSink
) -> None:
    smtp_sink.on(Stage.CONNECT, reply("421 4.3.2 Closed today"), Close())
    gateway.by_relay_host(smtp_sink)
    outcome = await gateway.deliver_one()
    assert (outcome.result, outcome.counts) == (Result.DEFERRED, True)


async def test_f65_the_next_try_of_a_dead_destination_has_a_time(gateway: Gateway, mx_hosts: MxHosts) -> None:
    mx_hosts.dead("example.net", 1, "a.test")
    assert gateway.transport.probe_in("domain:example.net") == 0
    for _ in range(5):
        await gateway.deliver_one()
    assert 0 < gateway.transport.probe_in("domain:example.net") <= 30
