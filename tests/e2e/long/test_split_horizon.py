"""A relay domain has two sets of name servers: outside they name the gateway, inside the main server (F51).

This is the usual set-up of a gateway in front of an existing mail server. The tests run on loopback, and again with
`posthouse up` listening on 0.0.0.0 in a network namespace of its own, so that its addresses are those of a machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e import world
from tests.peers.dns import DnsServer
from tests.peers.ports import free_address, free_port
from tests.peers.process import until
from tests.peers.smtp_sink import Offer, SmtpSink
from tests.peers.suite import Suite

pytestmark = pytest.mark.e2e

OUR_NAME = "mail.a4.test"


@dataclass(frozen=True)
class Network:
    """The address of the gateway, and the address of all other servers."""

    gateway: str
    others: str
    command_prefix: tuple[str, ...] = ()


@contextlib.contextmanager
def namespace() -> Iterator[Network]:
    """A network namespace that a pair of virtual interfaces connects to the namespace of the tests."""
    number = os.getpid() % 60_000
    name, outer, inner = f"posthouse-{number}", f"pho{number}", f"phi{number}"
    network = f"10.{200 + number // 16_384}.{number // 64 % 256}"
    first = number % 64 * 4
    others, gateway = f"{network}.{first + 1}", f"{network}.{first + 2}"

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", outer, "type", "veth", "peer", "name", inner)
        ip("link", "set", inner, "netns", name)
        ip("address", "add", f"{others}/30", "dev", outer)
        ip("link", "set", outer, "up")
        for arguments in (
            ("link", "set", "lo", "up"),
            ("address", "add", f"{gateway}/30", "dev", inner),
            ("link", "set", inner, "up"),
        ):
            ip("-netns", name, *arguments)
        yield Network(gateway, others, ("ip", "netns", "exec", name))
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False)
        subprocess.run(["ip", "link", "delete", outer], check=False, capture_output=True)


def _namespaces_can_be_made() -> bool:
    if shutil.which("ip") is None or os.geteuid() != 0:
        return False
    name = f"posthouse-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "delete", name], check=True)
    return made


@dataclass(frozen=True)
class Site:
    suite: Suite
    outside: DnsServer
    inside: DnsServer
    main_server: SmtpSink
    gateway: str

    def domain(self, name: str, outer: tuple[int, str, str], inner: tuple[int, str, str]) -> None:
        """Adds a relay domain. `outer` and `inner` are its MX records in both views, as (preference, host, address)."""
        for server, (preference, host, address) in ((self.outside, outer), (self.inside, inner)):
            server.replace(name, "MX", f"{preference} {host}.")
            server.replace(host, "A", address)
        world.create(self.suite, "/v1/relay-domains", {"name": name, "domain": name})

    def resolvers(self, preferred: DnsServer, alternate: DnsServer) -> None:
        patch = {"preferred": [preferred.address], "alternate": [alternate.address]}
        world.change(self.suite, "/v1/settings/resolvers", patch)

    def send(self, recipient: str) -> None:
        with smtplib.SMTP(self.suite.host, self.suite.smtp_port, timeout=60) as client:
            client.sendmail("eve@far.test", [recipient], world.message("eve@far.test", [recipient]))

    def route(self, recipient: str) -> dict[str, Any]:
        answer = self.suite.api.post("/v1/explain/route", json={"recipient": recipient})
        assert answer.status_code == 200, answer.text
        (route,) = answer.json()["routes"]
        found: dict[str, Any] = route
        return found


@pytest.fixture(params=["loopback", "namespace"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with ExitStack() as stack:
        if request.param == "namespace":
            if not _namespaces_can_be_made():
                pytest.skip("only root can create network namespaces")
            network = stack.enter_context(namespace())
            listening = {"INGRESS_HOST": "0.0.0.0", "CONFIG_API_HOST": "0.0.0.0"}
            host = network.others
        else:
            network = Network("127.0.0.1", free_address())
            listening, host = {}, "127.0.0.1"
        port = free_port(*{"127.0.0.1", network.others})
        environment = {**listening, "INGRESS_SMTP_PORT": str(port), "RELAY_MX_PORT": str(port)}
        outside = stack.enter_context(DnsServer(host=host))
        inside = stack.enter_context(DnsServer(host=host))
        # The main server still greets with the name that the gateway has now.
        main_server = stack.enter_context(SmtpSink(Offer(hostname=OUR_NAME), host=network.others, port=port))
        suite = stack.enter_context(
            Suite(
                environment,
                nameservers=outside.address,
                by_command=True,
                host=network.gateway,
                command_prefix=network.command_prefix,
            )
        )
        world.change(suite, "/v1/settings/general", {"profile": {"hostname": OUR_NAME}})
        yield Site(suite, outside, inside, main_server, network.gateway)


def test_f51_mail_reaches_the_main_server_in_every_arrangement(site: Site) -> None:
    ours, main = site.gateway, site.main_server.host
    site.domain("a3.test", (20, "a3.test", ours), (10, "a3.test", main))
    site.domain("a4.test", (20, OUR_NAME, ours), (10, OUR_NAME, main))
    site.domain("a5.test", (20, "mx.a5.test", ours), (10, "inner.a5.test", main))
    expected = 0
    for preferred, alternate in ((site.outside, site.inside), (site.inside, site.outside)):
        site.resolvers(preferred, alternate)
        world.until_in_force(site.suite)
        for domain in ("a3.test", "a4.test", "a5.test"):
            site.send(f"bob@{domain}")
            expected += 1
            messages = site.main_server.wait_for_messages(expected)
            assert messages[-1].accepted_recipients == [f"bob@{domain}".encode()]
            assert site.route(f"bob@{domain}")["code"] is None
    assert len(site.main_server.messages) == expected
    _nothing_is_better_than_the_gateway(site)


def _nothing_is_better_than_the_gateway(site: Site) -> None:
    """Checks that mail waits when no host is better than the gateway, and that the route shows the reason."""
    ours, main = site.gateway, site.main_server.host
    sessions = len(site.main_server.sessions)
    site.domain("a6.test", (10, "a6.test", ours), (10, "a6.test", main))
    world.until_in_force(site.suite)
    route = site.route("bob@a6.test")
    assert (route["code"], route["enhanced_code"]) == (451, "4.4.6")
    assert [host["left_out"] != "" for host in route["hosts"]] == [True, True]
    site.send("bob@a6.test")

    def waits() -> bool:
        return any("better than this gateway" in str(message) for message in world.queued(site.suite))

    until(waits, "the message waits in the queue")
    assert len(site.main_server.sessions) == sessions
