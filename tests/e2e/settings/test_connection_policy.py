"""`/settings/connection-policy`: reverse names, and limits of connections and messages for each client."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.e2e import world
from tests.e2e.settings.gateway import FAR, Gateway, message, within_one_minute
from tests.e2e.settings.session import Client, repeated
from tests.peers.dns import Behaviour
from tests.peers.process import until

pytestmark = pytest.mark.e2e


# reject_unknown_client_hostname


@pytest.fixture
def reverse(gateway: Gateway) -> Gateway:
    """Clients with every kind of reverse name."""
    dns = gateway.dns
    for name in ("good", "second", "forged"):
        dns.remove(f"{name}.client.test")
    dns.host_with_ptr("good.client.test", "93.30.0.1", "2a03::1")
    dns.ptr("93.30.0.2", "forged.client.test")
    dns.replace("forged.client.test", "A", "93.30.0.99")
    dns.ptr("93.30.0.3", "no-such.client.test")
    dns.ptr("93.30.0.4", "no-such.client.test", "second.client.test")
    dns.replace("second.client.test", "A", "93.30.0.4")
    for last in (5, 6):
        dns.behave(f"{last}.0.30.93.in-addr.arpa", Behaviour.SERVFAIL if last == 5 else Behaviour.REFUSED)
    dns.ptr("93.30.0.7", "silent.client.test")
    dns.behave("silent.client.test", Behaviour.SERVFAIL)
    return gateway


REVERSE = [
    ("93.30.0.1", "accepted"),
    ("::ffff:93.30.0.1", "accepted"),
    ("2a03::1", "accepted"),
    ("93.30.0.2", "RCPT 450 4.7.25"),
    ("93.30.0.3", "RCPT 450 4.7.25"),
    ("93.30.0.4", "accepted"),
    ("93.30.0.5", "RCPT 450 4.7.25"),
    ("93.30.0.6", "RCPT 450 4.7.25"),
    ("93.30.0.7", "RCPT 450 4.7.25"),
    ("93.30.0.8", "RCPT 450 4.7.25"),
    ("2a03::2", "RCPT 450 4.7.25"),
]


@pytest.mark.parametrize("mode", ["off", "shadow", "enforce"])
def test_a_client_needs_a_reverse_name_that_maps_back(reverse: Gateway, mode: str) -> None:
    reverse.patch("connection-policy", {"reject_unknown_client_hostname": mode})
    replies = {address: reverse.attempt(address=address) for address, _ in REVERSE}
    assert replies == {address: expected if mode == "enforce" else "accepted" for address, expected in REVERSE}


def test_logged_in_trusted_and_local_clients_need_no_reverse_name(reverse: Gateway) -> None:
    reverse.patch("connection-policy", {"reject_unknown_client_hostname": "enforce"})
    assert reverse.attempt(address="10.9.9.9") == "RCPT 450 4.7.25"
    reverse.create("trusted-networks", name="x", networks=["93.30.0.8"])
    reverse.patch("general", {"smtp_auth": {"skip_for_local_networks": True}})
    assert reverse.attempt(address="93.30.0.8") == "accepted"
    assert reverse.attempt(address="10.9.9.9") == "accepted"
    with reverse.connect("93.30.0.9") as client:
        client.starttls()
        client.auth_plain()
        assert client.transaction(world.ALICE, "carol@ours.test") == "accepted"
    with reverse.submission("93.30.0.9") as client:
        assert client.transaction(world.ALICE, "carol@ours.test") == "accepted"


# max_concurrent_connections


def test_connections_above_the_concurrent_limit_are_refused(gateway: Gateway) -> None:
    gateway.patch("connection-policy", {"max_concurrent_connections": 2})
    address = gateway.public_address()
    with gateway.connect(address) as first, gateway.connect(address) as second:
        with gateway.connect(address) as third:
            assert third.greeting == "421 4.7.0"
            assert third.ended()
        # The refused connection does not count, and connections of another client are counted separately.
        assert first.transaction(FAR, world.ALICE) == "accepted"
        assert second.transaction(FAR, world.ALICE) == "accepted"
        assert gateway.attempt() == "accepted"
        second.say("QUIT")
        until(
            lambda: gateway.attempt(address=address) == "accepted", "a connection is accepted again after one has ended"
        )


def test_connections_to_all_ports_and_from_all_forms_of_an_address_count_together(gateway: Gateway) -> None:
    gateway.patch("connection-policy", {"max_concurrent_connections": 3})
    address = gateway.public_address()
    with ExitStack() as stack:
        for port, tls, form in (
            (gateway.suite.smtp_port, False, f"::ffff:{address}"),
            (gateway.suite.submission_port, False, address),
            (gateway.suite.smtps_port, True, address),
        ):
            assert stack.enter_context(Client(form, port, tls=tls)).greeting == "220"
        assert gateway.attempt(address=address) == "CONNECT 421 4.7.0"
        assert gateway.attempt(address=f"::ffff:{address}") == "CONNECT 421 4.7.0"


def test_an_ipv6_64_network_counts_as_one_client(gateway: Gateway) -> None:
    gateway.patch("connection-policy", {"max_concurrent_connections": 2})
    with gateway.connect("2a03:1:1:1::1"), gateway.connect("2a03:1:1:1:ffff::2"):
        assert gateway.attempt(address="2a03:1:1:1:0:1::3") == "CONNECT 421 4.7.0"
        assert gateway.attempt(address="2a03:1:1:2::1") == "accepted"


def test_the_default_limit_is_fifty_connections_and_zero_means_no_limit(gateway: Gateway) -> None:
    address = gateway.public_address()
    with ExitStack() as stack:
        opened = [stack.enter_context(gateway.connect(address, helo=None)).greeting for _ in range(51)]
        assert opened == ["220"] * 50 + ["421 4.7.0"]
        gateway.patch("connection-policy", {"max_concurrent_connections": 0})
        assert stack.enter_context(gateway.connect(address, helo=None)).greeting == "220"


# max_messages_per_minute


def test_messages_above_the_limit_in_a_minute_are_deferred(gateway: Gateway) -> None:
    gateway.patch("connection-policy", {"max_messages_per_minute": 3})
    address = gateway.public_address()
    within_one_minute()
    with gateway.connect(address) as client, gateway.connect(address) as other:

        def one() -> str:
            answer = client.mail(FAR)
            client.say("RSET")
            return answer

        assert repeated(one, 3) == ["250", "250", "250"]
        assert repeated(one, 2) == ["450 4.7.1", "450 4.7.1"]
        # Both connections stay open, and other clients are not limited.
        assert client.say("NOOP") == "250"
        assert other.mail(FAR) == "450 4.7.1"
        assert gateway.attempt(address=f"::ffff:{address}") == "MAIL 450 4.7.1"
        assert gateway.attempt() == "accepted"


def test_refused_messages_count_towards_the_limit(gateway: Gateway) -> None:
    gateway.patch("connection-policy", {"max_messages_per_minute": 2})
    within_one_minute()
    with gateway.connect() as client:
        assert client.transaction(FAR, "nobody@ours.test") == "RCPT 550 5.1.1"
        client.say("RSET")
        assert client.transaction(FAR, world.ALICE, content=message("counts")) == "accepted"
        assert client.mail(FAR) == "450 4.7.1"


# max_connections_per_minute


def test_connections_above_the_limit_in_a_minute_are_refused(gateway: Gateway) -> None:
    gateway.patch("connection-policy", {"max_connections_per_minute": 2, "max_concurrent_connections": 0})
    address = gateway.public_address()
    within_one_minute()
    with gateway.connect(address) as client:
        assert repeated(lambda: gateway.attempt(address=address), 2) == ["accepted", "CONNECT 421 4.7.0"]
        assert gateway.attempt(address=f"::ffff:{address}") == "CONNECT 421 4.7.0"
        assert gateway.attempt() == "accepted"
        # The connection that was open before stays open.
        assert client.transaction(FAR, world.ALICE) == "accepted"


def test_connections_in_a_minute_are_counted_by_ipv6_64_network(gateway: Gateway) -> None:
    gateway.patch("connection-policy", {"max_connections_per_minute": 2})
    within_one_minute()
    replies = [gateway.attempt(address=f"2a03:2:2:2::{last}") for last in (1, 2, 3)]
    assert replies == ["accepted", "accepted", "CONNECT 421 4.7.0"]
    assert gateway.attempt(address="2a03:2:2:3::1") == "accepted"


# Exemptions


@pytest.mark.parametrize("kind", ["trusted", "local", "local_with_login"])
def test_trusted_clients_and_local_ones_that_need_no_login_are_exempt_from_all_limits(
    gateway: Gateway, kind: str
) -> None:
    address = {"trusted": gateway.public_address(), "local": "10.8.0.1", "local_with_login": "10.8.0.2"}[kind]
    if kind == "trusted":
        gateway.create("trusted-networks", name="x", networks=[address])
    if kind == "local":
        gateway.patch("general", {"smtp_auth": {"skip_for_local_networks": True}})
    gateway.patch(
        "connection-policy",
        {"max_concurrent_connections": 2, "max_messages_per_minute": 1, "max_connections_per_minute": 3},
    )
    within_one_minute()
    with ExitStack() as stack:
        clients = [stack.enter_context(gateway.connect(address)) for _ in range(5)]
        greetings = [client.greeting for client in clients]
        senders = [clients[0].mail(FAR), clients[1].mail(FAR)]
    if kind == "local_with_login":
        assert greetings[:3] == ["220", "220", "421 4.7.0"]
        assert senders == ["250", "450 4.7.1"]
    else:
        assert greetings == ["220"] * 5
        assert senders == ["250", "250"]
