"""`/trusted-networks`, `/relay-domains` and `/settings/resolvers`: permission to relay, and the routes of mail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import world
from tests.e2e.settings.gateway import FAR, HOSTNAME, Gateway, message
from tests.e2e.settings.session import Client
from tests.peers.dns import Behaviour, DnsServer
from tests.peers.ports import free_address
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink

pytestmark = pytest.mark.e2e


# Trusted networks


def test_trusted_networks_send_anywhere_without_a_login_on_every_port(gateway: Gateway) -> None:
    networks = ["93.20.0.0/24", "93.21.0.0/255.255.0.0", "2a02:1::/32", "93.22.0.1"]
    gateway.create("trusted-networks", name="office", networks=networks)
    inside = ["93.20.0.9", "::ffff:93.20.0.8", "93.21.200.1", "2a02:1:5::1", "93.22.0.1"]
    outside = ["93.20.1.1", "93.19.255.255", "93.22.0.2", "2a02:2::1"]
    replies = {address: gateway.attempt(FAR, address=address) for address in (*inside, *outside)}
    assert replies == {**dict.fromkeys(inside, "accepted"), **dict.fromkeys(outside, "RCPT 554 5.7.1")}
    with Client("93.20.0.9", gateway.suite.submission_port) as client:
        assert client.transaction(FAR, FAR) == "accepted"
    with Client("93.20.1.1", gateway.suite.submission_port) as client:
        assert client.mail(FAR) == "530 5.7.0"


def test_a_disabled_trusted_network_is_not_trusted(gateway: Gateway) -> None:
    network = gateway.create("trusted-networks", name="office", networks=["93.20.0.0/24"])
    assert gateway.attempt(FAR, address="93.20.0.9") == "accepted"
    gateway.change("trusted-networks", network["id"], {"enabled": False})
    assert gateway.attempt(FAR, address="93.20.0.9") == "RCPT 554 5.7.1"


@pytest.mark.parametrize(
    ("network", "named"),
    [
        ("93.20.0.1/24", "93.20.0.0/24"),
        ("93.20.0.1/255.255.255.0", "93.20.0.0/24"),
        ("2a02::1/32", "2a02::/32"),
        ("93.20.0.0/255.0.255.0", ""),
        ("93.20.0.0/33", ""),
        ("2a02::/129", ""),
        ("93.20.0.300", ""),
        ("office.test", ""),
        ("", ""),
    ],
)
def test_the_api_refuses_networks_with_host_bits_and_names_the_right_network(
    gateway: Gateway, network: str, named: str
) -> None:
    answer = gateway.suite.api.post("/v1/trusted-networks", json={"name": "x", "networks": [network]})
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "/networks/0"
    assert named in error["detail"]


@pytest.mark.parametrize(
    ("network", "doubted"),
    [
        ("0.0.0.0/0", True),
        ("::/0", True),
        ("92.0.0.0/7", True),
        ("93.0.0.0/8", False),
        ("2a02::/31", True),
        ("2a02::/32", False),
        ("93.20.0.0/24", False),
    ],
)
def test_the_api_warns_of_networks_that_are_too_wide(gateway: Gateway, network: str, doubted: bool) -> None:
    created = gateway.create("trusted-networks", name="x", networks=[network])
    assert bool(created["warnings"]) is doubted, created["warnings"]


# Recipients of relay domains


def test_mail_for_a_relay_domain_is_accepted_from_anyone(gateway: Gateway) -> None:
    assert gateway.attempt("eve@partner.test") == "RCPT 554 5.7.1"
    domain = gateway.create("relay-domains", name="partner", domain="Partner.Test")
    for recipient in ("eve@partner.test", "anyone@PARTNER.test"):
        assert gateway.attempt(recipient) == "accepted"
    assert gateway.attempt("eve@sub.partner.test") == "RCPT 554 5.7.1"
    assert gateway.attempt("eve@notpartner.test") == "RCPT 554 5.7.1"
    gateway.change("relay-domains", domain["id"], {"enabled": False})
    assert gateway.attempt("eve@partner.test") == "RCPT 554 5.7.1"


@pytest.mark.parametrize(
    ("recipient", "expected"),
    [
        ("eve@partner.test", "accepted"),
        ("eve@PARTNER.test", "accepted"),
        ("adam@partner.test", "RCPT 550 5.1.1"),
        ("postmaster@partner.test", "accepted"),
        ("PostMaster@partner.test", "accepted"),
        ("mailer-daemon@partner.test", "RCPT 550 5.1.1"),
        ("eve%partner.test@elsewhere.test", "RCPT 554 5.7.1"),
        ("@ours.test:eve@elsewhere.test", "RCPT 554 5.7.1"),
        ("@elsewhere.test:eve@partner.test", "accepted"),
    ],
)
def test_a_relay_domain_with_a_list_accepts_mail_only_for_listed_recipients_and_postmaster(
    gateway: Gateway, recipient: str, expected: str
) -> None:
    gateway.list_recipient("eve@partner.test")
    gateway.create("relay-domains", name="partner", domain="partner.test", recipients="list")
    assert gateway.attempt(recipient) == expected


# The route to relay domains


@pytest.fixture
def best(gateway: Gateway) -> Iterator[SmtpSink]:
    """Another MX host. It uses the same port as all MX hosts."""
    with SmtpSink(host=free_address(), port=gateway.mx_port) as sink:
        yield sink


@pytest.fixture
def domain(gateway: Gateway) -> str:
    """A relay domain that only this test uses."""
    return gateway.new_domain()


@pytest.fixture
def alternate(gateway: Gateway) -> Iterator[DnsServer]:
    """A second group of name servers, which may have other records of a domain.

    The first group is the preferred one.
    """
    with DnsServer() as server:
        preferred, other = [gateway.dns.address], [server.address]
        gateway.patch("resolvers", {"preferred": preferred, "alternate": other})
        yield server


def _send(gateway: Gateway, domain: str) -> None:
    gateway.create("relay-domains", name="partner", domain=domain)
    assert gateway.attempt(f"eve@{domain}", sender=f"x@{domain}", content=message(domain)) == "accepted"


def _last_attempt(gateway: Gateway, domain: str) -> dict[str, Any]:
    """Waits for an attempt of the mail that `_send` sent to one recipient, and returns the last attempt."""

    def attempts() -> list[dict[str, Any]]:
        listed = [*world.queued(gateway.suite), *world.history(gateway.suite)]
        mine = [one for one in listed if one["sender"] == f"x@{domain}"]
        return [delivery["last_attempt"] for one in mine for delivery in one["deliveries"] if delivery["last_attempt"]]

    until(lambda: bool(attempts()), f"there is an attempt for mail to {domain}")
    return attempts()[0]


def test_mail_for_a_relay_domain_goes_to_its_best_mx_host(gateway: Gateway, best: SmtpSink, domain: str) -> None:
    gateway.dns.replace(f"best.{domain}", "A", best.host)
    gateway.dns.replace(domain, "MX", "20 mx.far.test.", f"10 best.{domain}.")
    _send(gateway, domain)
    assert gateway.delivered(domain, best).accepted_recipients == [f"eve@{domain}".encode()]


def test_the_hosts_of_both_sets_of_name_servers_are_merged_and_the_best_is_tried_first(
    gateway: Gateway, alternate: DnsServer, best: SmtpSink, domain: str
) -> None:
    gateway.dns.replace(domain, "MX", "20 mx.far.test.")
    alternate.add(domain, "MX", f"10 inner.{domain}.")
    # Only the name servers that named this host have its address.
    alternate.add(f"inner.{domain}", "A", best.host)
    gateway.create("relay-domains", name="partner", domain=domain)
    # The API looks up the domain when it is created. These queries do not belong to the test.
    gateway.dns.forget_queries()
    assert gateway.attempt(f"eve@{domain}", content=message(domain)) == "accepted"
    gateway.delivered(domain, best)
    assert not gateway.dns.asked(f"inner.{domain}", "A")


def test_the_addresses_of_a_host_are_looked_up_at_the_name_servers_that_named_it(
    gateway: Gateway, alternate: DnsServer, domain: str
) -> None:
    alternate.add(domain, "MX", f"10 inner.{domain}.")
    # This host is the gateway itself, under a name that only the alternate name servers have.
    alternate.add(f"inner.{domain}", "A", gateway.own_address)
    warnings = gateway.create("relay-domains", name="partner", domain=domain)["warnings"]
    assert not gateway.dns.asked(f"inner.{domain}", "A")
    assert warnings, "the API warns when no MX host is better than this gateway"
    (route,) = gateway.post("explain/route", {"recipient": f"eve@{domain}"})["routes"]
    assert route["enhanced_code"] == "4.4.6"


def test_hosts_with_no_better_preference_than_this_gateway_are_left_out(
    gateway: Gateway, alternate: DnsServer, best: SmtpSink, domain: str
) -> None:
    gateway.dns.replace(domain, "MX", f"10 {HOSTNAME}.", "20 mx.far.test.")
    alternate.add(domain, "MX", f"5 inner.{domain}.")
    alternate.add(f"inner.{domain}", "A", best.host)
    _send(gateway, domain)
    gateway.delivered(domain, best)
    (route,) = gateway.post("explain/route", {"recipient": f"eve@{domain}"})["routes"]
    assert {host["host"].rstrip("."): bool(host["left_out"]) for host in route["hosts"]} == {
        f"inner.{domain}": False,
        HOSTNAME: True,
        "mx.far.test": True,
    }


def test_without_a_better_host_than_this_gateway_mail_is_deferred_and_explain_says_why(
    gateway: Gateway, domain: str
) -> None:
    gateway.dns.replace(domain, "MX", f"10 {HOSTNAME}.", "20 mx.far.test.")
    created = gateway.create("relay-domains", name="partner", domain=domain)
    assert created["warnings"], "the API warns when no MX host is better than this gateway"
    assert gateway.attempt(f"eve@{domain}", sender=f"x@{domain}", content=message(domain)) == "accepted"
    last = _last_attempt(gateway, domain)
    assert last["enhanced_code"] == "4.4.6"
    assert gateway.states(f"x@{domain}") == {f"eve@{domain}": "deferred"}
    (route,) = gateway.post("explain/route", {"recipient": f"eve@{domain}"})["routes"]
    assert route["enhanced_code"] == "4.4.6"
    assert route["reason"]


def test_mail_is_deferred_when_one_set_of_name_servers_is_silent_and_no_host_is_usable(
    gateway: Gateway, alternate: DnsServer, domain: str
) -> None:
    gateway.dns.replace(domain, "MX", f"10 {HOSTNAME}.")
    alternate.behave(domain, Behaviour.SERVFAIL)
    _send(gateway, domain)
    last = _last_attempt(gateway, domain)
    assert last["enhanced_code"] == "4.4.3"
    assert gateway.states(f"x@{domain}") == {f"eve@{domain}": "deferred"}


def test_one_silent_set_of_name_servers_does_no_harm_when_the_other_names_a_host(
    gateway: Gateway, alternate: DnsServer, best: SmtpSink, domain: str
) -> None:
    gateway.dns.replace(f"best.{domain}", "A", best.host)
    gateway.dns.replace(domain, "MX", f"10 best.{domain}.")
    alternate.behave(domain, Behaviour.SERVFAIL)
    _send(gateway, domain)
    gateway.delivered(domain, best)


def test_without_alternate_name_servers_only_the_preferred_ones_are_asked(
    gateway: Gateway, best: SmtpSink, domain: str
) -> None:
    with DnsServer() as preferred:
        preferred.add(domain, "MX", f"10 inner.{domain}.")
        preferred.add(f"inner.{domain}", "A", best.host)
        gateway.patch("resolvers", {"preferred": [preferred.address], "alternate": []})
        _send(gateway, domain)
        gateway.delivered(domain, best)


def test_mail_for_other_domains_never_uses_the_name_servers_of_relay_domains(
    gateway: Gateway, alternate: DnsServer
) -> None:
    alternate.add("far.test", "MX", "1 wrong.far.test.")
    with gateway.submission() as client:
        content = message("ordinary", sender=world.ALICE)
        assert client.transaction(world.ALICE, FAR, content=content) == "accepted"
    gateway.delivered("ordinary", gateway.far)
    assert not alternate.asked("far.test")
