"""Posthouse's own processes are started, asked, killed and brought back one by one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers.process import PeerError
from tests.peers.suite import Suite


@pytest.fixture
def suite() -> Iterator[Suite]:
    """Laid out, with nothing started."""
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
    suite.restart("config_api")
    assert suite.log("config_api").count('"event": "ready"') == 3


def test_a_service_that_cannot_start_shows_why() -> None:
    broken = Suite({"CONFIG_API_GRPC_PORT": "0", "CONFIG_API_LOG_LEVEL": "nonsense"})
    with pytest.raises(PeerError, match="config_api ended with status"), broken:
        pass
    assert not broken.folder.exists()


def test_replicas_have_names_and_ports_of_their_own() -> None:
    made = Suite(
        replicas={"relay": 3, "policy": 2, "ingress": 2, "config_api": 2},
        postgres_url="postgresql+asyncpg://nobody@127.0.0.1/none",
        redis_url="redis://127.0.0.1:1/0",
    )
    assert sorted(made.layout) == sorted(
        ["config_api", "config_api-2", "policy", "policy-2", "relay", "relay-2", "relay-3", "ingress", "ingress-2"]
    )
    ports = [port for process in made.layout.values() for port in process.ports.values()]
    assert len(ports) == len(set(ports)) == 2 * 3 + 2 * 2 + 3 * 2 + 2 * 4
    assert made.port("RELAY_PORT", "relay-3") == made.port("RELAY_PORT") + 20
    made.stop()
