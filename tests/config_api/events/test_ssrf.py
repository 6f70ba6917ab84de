"""Webhooks connect only to public addresses, whatever the URL, the DNS or the receiver says."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import trustme

from libs.smtp.network import IPNetwork
from services.config_api.events.sending import Outcome, Sender
from services.config_api.resources.webhook_addresses import is_allowed, parse_url
from tests.config_api.service import Service, running
from tests.peers.web import WebServer

LOOPBACK = (ip_network("127.0.0.0/8"),)
SECRET = "whsec_" + "QUJD" * 10
BODY = {"type": "test"}

PRIVATE = [
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "192.0.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "fec0::1", "2001:db8::1"),
    # These are IPv4-mapped and IPv4-compatible addresses.
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1"),
    # These are addresses of NAT64 with the well-known prefix and with local prefixes, of 6to4, and of Teredo.
    *("64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::10.0.0.1", "64:ff9b:1:fffe::a00:1"),
    *("2002:7f00:1::1", "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
]
PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"]

# Some parsers of URLs read each of these as loopback or as another private address.
NOTATIONS = [
    *("http://2130706433/", "http://0x7f000001/", "http://017700000001/", "http://0x7f.1/", "http://127.1/"),
    *("http://0177.0.0.1/", "http://127.0.0.1.0x10/", "http://1.0x7f/", "http://localhost/", "http://localhost./"),
    *("http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[64:ff9b::7f00:1]/"),
    *("http://[fe80::1%25eth0]/", "http://[::]/", "http://0/", "http://127.0.0.1:22/", "https://10.0.0.1/"),
    *("http://\uff11\uff12\uff17.0.0.1/", "http://127\u30020\u30020\u30021/", "http://example.com@127.0.0.1/"),
    *("http://user:pw@hooks.example.com/", "https://hooks.example.com:0/", "https://hooks.example.com/#a"),
    *("https://hooks.example.com\\@127.0.0.1/", "file:///etc/passwd", "gopher://127.0.0.1/", "https:///x", "x"),
    *("https://hooks.example.com/a b", "https://hooks.example.com/\r\nX: y", "https://hooks.example.com:99999/"),
    "https://intranet/",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_not_allowed(address: str) -> None:
    assert not is_allowed(ip_address(address), ())


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_allowed(ip_address(address), ())


@pytest.mark.parametrize(
    ("address", "allowed"),
    [("127.0.0.1", True), ("::ffff:127.0.0.1", True), ("10.0.0.1", False), ("64:ff9b::127.0.0.1", False)],
)
def test_private_addresses_in_networks_that_the_operator_lists_are_allowed(address: str, allowed: bool) -> None:
    assert is_allowed(ip_address(address), LOOPBACK) is allowed


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def sender(
    addresses: Sequence[str] | None, networks: Sequence[IPNetwork] = (), authority: trustme.CA | None = None
) -> Sender:
    """Makes a sender that resolves every name to these addresses."""

    async def look_up(_: str) -> Sequence[str] | None:
        return addresses

    context = ssl.create_default_context()
    if authority is not None:
        authority.configure_trust(context)
    return Sender(look_up, networks, context)


async def sent(by: Sender, url: str) -> Outcome:
    try:
        return await by.send(url, [SECRET], "1-1-1", BODY)
    finally:
        await by.close()


@pytest.mark.parametrize("url", NOTATIONS)
async def test_other_notations_of_addresses_are_neither_stored_nor_used(url: str, on_sqlite: Service) -> None:
    answer = await on_sqlite.api.post("/v1/webhooks", json={"url": url, "events": ["held"]})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/url"), answer.text
    outcome = await sent(sender(["127.0.0.1"]), url)
    assert outcome.http_status is None
    assert outcome.error


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_leads_to_a_private_address_is_refused(address: str) -> None:
    outcome = await sent(sender([address]), "https://hooks.example.com/")
    assert outcome.error == "the host has an address to which webhooks must not be sent"


async def test_one_private_address_among_public_ones_is_refused() -> None:
    outcome = await sent(sender(["93.184.216.34", "127.0.0.1"]), "https://hooks.example.com/")
    assert outcome.error == "the host has an address to which webhooks must not be sent"


async def test_a_name_that_changes_between_look_ups_is_looked_up_once(authority: trustme.CA) -> None:
    """The request goes to the address that was checked. A second look-up could return another address."""
    answers = [["127.0.0.1"], ["10.0.0.1"]]

    async def look_up(_: str) -> Sequence[str]:
        return answers.pop(0)

    context = ssl.create_default_context()
    authority.configure_trust(context)
    with WebServer(authority.issue_cert("hooks.example.com")) as web:
        web.answer("/x")
        outcome = await sent(Sender(look_up, LOOPBACK, context), f"https://hooks.example.com:{web.port}/x")
        (request,) = web.requests
    assert (outcome.http_status, outcome.error) == (200, "")
    assert request.host == f"hooks.example.com:{web.port}"
    assert answers == [["10.0.0.1"]]


async def test_the_certificate_must_be_valid_for_the_name(authority: trustme.CA) -> None:
    with WebServer(authority.issue_cert("other.example.com")) as web:
        web.answer("/x")
        outcome = await sent(sender(["127.0.0.1"], LOOPBACK, authority), f"https://hooks.example.com:{web.port}/x")
        assert web.requests == []
    assert outcome.error == "TLS failed, or the certificate is not valid for the name"


async def test_redirects_are_not_followed() -> None:
    with WebServer() as web:
        web.answer("/x", status=307, headers={"Location": f"{web.url}/secret"})
        web.answer("/secret")
        outcome = await sent(sender(None, LOOPBACK), f"{web.url}/x")
        assert [request.target for request in web.requests] == ["/x"]
    assert (outcome.http_status, outcome.delivered) == (307, False)


async def test_proxy_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with WebServer() as proxy, WebServer() as web:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        web.answer("/x")
        outcome = await sent(sender(None, LOOPBACK), f"{web.url}/x")
        assert proxy.requests == []
    assert outcome.delivered


async def test_an_endless_answer_is_cut_off() -> None:
    with WebServer() as web:
        web.endless("/x")
        outcome = await sent(sender(None, LOOPBACK), f"{web.url}/x")
    assert outcome.error == "the answer is longer than 64 KB"


async def test_a_missing_answer_ends_at_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.config_api.events.sending.SECONDS", 0.2)
    with WebServer() as web:
        gate = web.hold("/x")
        outcome = await sent(sender(None, LOOPBACK), f"{web.url}/x")
        gate.open()
    assert (outcome.http_status, outcome.delivered) == (None, False)


@pytest.mark.parametrize("addresses", [None, []])
async def test_a_name_without_an_address_is_a_failed_delivery_and_no_exception(addresses: Sequence[str] | None) -> None:
    assert not (await sent(sender(addresses), "https://hooks.example.com/")).delivered


async def test_http_without_tls_is_allowed_only_to_listed_addresses() -> None:
    outcome = await sent(sender(["93.184.216.34"], LOOPBACK), "http://hooks.example.com/")
    assert outcome.error == "without https the address must be listed in CONFIG_API_WEBHOOK_NETWORKS"


@pytest.fixture
async def lenient(begun: Path, resolver: str) -> AsyncIterator[Service]:
    url = f"sqlite:///{begun / 'config.sqlite3'}"
    async with running(url, begun, nameservers=resolver, webhook_networks="10.1.0.0/16,127.0.0.0/8") as found:
        yield found


async def test_a_url_in_a_listed_network_may_be_stored(lenient: Service) -> None:
    for url, code in (
        ("http://10.1.2.3/x", 201),
        ("http://127.0.0.1:8080/x", 201),
        ("http://hooks.inside.example/x", 201),
        ("https://hooks.example.com/x", 201),
        ("http://10.2.2.3/x", 422),
        ("https://[::1]/x", 422),
        ("http://93.184.216.34/", 422),
    ):
        answer = await lenient.api.post("/v1/webhooks", json={"url": url, "events": ["held"]})
        assert answer.status_code == code, (url, answer.text)


def test_a_url_is_stored_unchanged() -> None:
    for url in ("https://hooks.example.com/a?b=c&d=%20", "https://hooks.example.com:8443/", "https://93.184.216.34/x"):
        assert parse_url(url).geturl() == url
