"""Posthouse's own processes are started, called, killed and started again one by one."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.peers.dns import DnsServer
from tests.peers.ports import free_address
from tests.peers.process import PeerError, runs, until
from tests.peers.smtp_sink import SmtpSink
from tests.peers.suite import Suite


@pytest.fixture
def suite() -> Iterator[Suite]:
    """A suite with its own ports and folder. No service is started yet."""
    made = Suite({"CONFIG_API_LOG_LEVEL": "info"})
    yield made
    made.stop()


async def test_a_service_is_killed_and_comes_back_with_its_data(suite: Suite) -> None:
    suite.start_service("config_api")
    first = suite.pid("config_api")
    domain = {"name": "far", "domain": "far.example.test"}
    assert suite.api.post("/v1/relay-domains", json=domain).status_code == 201
    suite.kill("config_api")
    assert not suite.running("config_api")
    assert not suite.is_ready("config_api")
    suite.start_service("config_api")
    assert suite.pid("config_api") != first
    assert suite.api.get("/v1/relay-domains").json()["items"][0]["domain"] == "far.example.test"
    async with suite.async_api() as api:
        assert (await api.get("/v1/settings/general")).status_code == 200
        del api.headers["Authorization"]
        assert (await api.get("/v1/settings/general")).status_code == 401
    suite.freeze("config_api")
    with pytest.raises(httpx.ReadTimeout):
        suite.api.get("/v1/settings/general", timeout=0.2)
    suite.thaw("config_api")
    suite.terminate("config_api")
    assert suite.log("config_api").count('"event": "ready"') == 2


def test_a_service_that_cannot_start_shows_why() -> None:
    broken = Suite({"CONFIG_API_LOG_LEVEL": "nonsense"})
    with pytest.raises(PeerError, match="config_api ended with status"), broken:
        pass
    assert not broken.folder.exists()


def test_replicas_have_their_own_names_and_ports() -> None:
    made = Suite(
        replicas={"relay": 3, "policy": 2, "ingress": 2, "config_api": 2},
        postgres_url="postgresql+asyncpg://nobody@127.0.0.1/none",
        redis_url="redis://127.0.0.1:1/0",
    )
    assert sorted(made.layout) == sorted(
        ["config_api", "config_api-2", "policy", "policy-2", "relay", "relay-2", "relay-3", "ingress", "ingress-2"]
    )
    ports = [port for process in made.layout.values() for port in process.ports.values()]
    assert len(ports) == len(set(ports)) == 2 * 2 + 2 * 1 + 3 * 1 + 2 * 4
    assert len({process.grpc for process in made.layout.values()}) == len(made.layout)
    assert made.port("RELAY_METRICS_PORT", "relay-3") == made.port("RELAY_METRICS_PORT") + 20
    made.stop()


def send(suite: Suite, recipient: str) -> bool:
    """Returns whether the suite accepted a message for `recipient`."""
    try:
        with smtplib.SMTP(suite.host, suite.smtp_port, "client.test", timeout=60) as client:
            client.sendmail("joe@source.test", [recipient], b"Subject: hello\r\n\r\nthere\r\n")
    except (smtplib.SMTPException, OSError):
        return False
    return True


@pytest.mark.e2e
def test_the_suite_started_by_command_accepts_and_delivers_mail(
    start_suite: Callable[[Suite], Suite], dns_server: DnsServer
) -> None:
    address = free_address()
    dns_server.add("far.test", "MX", "10 mx.far.test.")
    dns_server.add("mx.far.test", "A", address)
    with SmtpSink(host=address) as sink:
        settings = {"RELAY_MX_PORT": str(sink.port)}
        suite = start_suite(Suite(settings, nameservers=dns_server.address, by_command=True))
        trusted = {"name": "loopback", "networks": ["127.0.0.0/8"]}
        assert suite.api.post("/v1/trusted-networks", json=trusted).status_code == 201
        until(lambda: send(suite, "one@far.test"), "policy trusts the network")
        assert sink.wait_for_messages(1, seconds=60)[0].accepted_recipients == [b"one@far.test"]
        assert {name: suite.running(name) for name in suite.layout} == dict.fromkeys(suite.layout, True)
        pids = [suite.pid(name) for name in suite.layout]
        suite.stop()
        assert [pid for pid in pids if runs(pid)] == []
