"""The processes that `posthouse up` starts, their addresses, and their variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.suite.topology import GRPC_SERVICES, SERVICES, Process, TopologyError, lay_out, parse_replicas

SOCKETS = Path("/run/posthouse")


def laid_out(environment: dict[str, str], replicas: dict[str, int] | None = None, **more: Any) -> tuple[Process, ...]:
    return lay_out(environment, replicas, sockets=SOCKETS, **more)


def test_there_is_one_process_of_each_service_on_the_documented_ports() -> None:
    processes = {process.name: process for process in laid_out({})}
    assert tuple(processes) == SERVICES
    ports = {name: port for process in processes.values() for name, port in process.ports.items()}
    assert ports == {
        "CONFIG_API_PORT": 8080,
        "CONFIG_API_METRICS_PORT": 0,
        "POLICY_METRICS_PORT": 0,
        "RELAY_METRICS_PORT": 0,
        "INGRESS_SMTP_PORT": 8025,
        "INGRESS_SUBMISSION_PORT": 8587,
        "INGRESS_SMTPS_PORT": 8465,
        "INGRESS_METRICS_PORT": 0,
        "CONSOLE_PORT": 8081,
    }
    assert {name: process.grpc for name, process in processes.items()} == {
        name: f"unix:/run/posthouse/{name}.sock" if name in GRPC_SERVICES else "" for name in SERVICES
    }
    assert processes["policy"].environment["POLICY_LISTEN"] == "unix:/run/posthouse/policy.sock"
    assert processes["ingress"].environment["INGRESS_POLICY_TARGET"] == "unix:/run/posthouse/policy.sock"


def by_name(processes: tuple[Process, ...]) -> dict[str, Process]:
    return {process.name: process for process in processes}


def test_targets_are_derived_from_addresses_unless_the_user_sets_them() -> None:
    chosen = {"POLICY_LISTEN": "[::]:1234", "RELAY_CONFIG_TARGET": "elsewhere:1"}
    processes = by_name(laid_out(chosen, {"policy": 2}, redis_url="redis://r"))
    assert processes["ingress"].environment["INGRESS_POLICY_TARGET"] == "[::1]:1234,[::1]:1244"
    assert processes["policy-2"].environment["POLICY_LISTEN"] == "[::]:1244"
    assert processes["relay"].environment["RELAY_CONFIG_TARGET"] == "elsewhere:1"
    assert processes["policy"].environment["POLICY_CONFIG_TARGET"] == "unix:/run/posthouse/config_api.sock"
    processes = by_name(laid_out({"POLICY_LISTEN": "unix:/srv/p.sock"}, {"policy": 2}, redis_url="redis://r"))
    assert processes["ingress"].environment["INGRESS_POLICY_TARGET"] == "unix:/srv/p.sock,unix:/srv/p-2.sock"


def test_each_child_gets_only_its_own_variables() -> None:
    secrets = {
        "CONFIG_API_ADMIN_KEY": "config_api",
        "CONFIG_API_SECRET_KEY": "config_api",
        "CONFIG_API_DATABASE_URL": "config_api",
        "POLICY_STATE_URL": "policy",
        "RELAY_DATABASE_URL": "relay",
        "INGRESS_TLS_KEY": "ingress",
        "CONSOLE_SECRET_KEY": "console",
    }
    ports = {"INGRESS_SMTP_PORT": "25"}
    common = {"PATH": "/bin", "POSTHOUSE_LOG_FORMAT": "json"}
    for process in laid_out({**dict.fromkeys(secrets, "secret"), **common, **ports}):
        environment = process.environment
        assert {name for name in secrets if name in environment} == {
            name for name, service in secrets.items() if service == process.service
        }
        prefixes = {name.partition("_")[0] for name in environment if name not in common}
        # config_api gets the ports of ingress, so that it recognizes a relay host that is this gateway itself.
        more = {"INGRESS"} if process.service == "config_api" else set()
        assert prefixes - {"POSTHOUSE"} == {process.service.upper().partition("_")[0]} | more


def test_console_and_api_get_each_others_addresses_unless_the_console_is_off() -> None:
    processes = by_name(laid_out({"CONFIG_API_PORT": "9080", "CONSOLE_PORT": "9081"}))
    assert processes["console"].environment["CONSOLE_API_URL"] == "http://127.0.0.1:9080"
    assert processes["config_api"].environment["CONFIG_API_CONSOLE_URL"] == "http://127.0.0.1:9081"
    assert processes["config_api"].environment["CONFIG_API_PROXY_NETWORKS"] == "127.0.0.1/32,::1/128"
    chosen = {"CONSOLE_API_URL": "https://api.example", "CONFIG_API_PROXY_NETWORKS": "192.0.2.0/24"}
    processes = by_name(laid_out(chosen))
    assert processes["console"].environment["CONSOLE_API_URL"] == "https://api.example"
    assert processes["config_api"].environment["CONFIG_API_PROXY_NETWORKS"] == "192.0.2.0/24"
    for own_certificate in ({"CONSOLE_TLS_CERT": "/chain.pem"}, {"CONSOLE_TLS_SELF_SIGNED": "true"}):
        processes = by_name(laid_out({**own_certificate, "CONSOLE_HOST": "0.0.0.0"}))
        assert processes["config_api"].environment["CONFIG_API_CONSOLE_URL"] == "https://127.0.0.1:8081"
    processes = by_name(laid_out({"CONSOLE_TLS_SELF_SIGNED": "false"}))
    assert processes["config_api"].environment["CONFIG_API_CONSOLE_URL"] == "http://127.0.0.1:8081"
    without = by_name(laid_out({"CONSOLE_PORT": "0"}))
    assert "console" not in without
    assert "CONFIG_API_PROXY_NETWORKS" not in without["config_api"].environment


def test_relay_gets_the_addresses_at_which_the_suite_listens() -> None:
    environment = by_name(laid_out({"INGRESS_SUBMISSION_PORT": "0"}, {"ingress": 2}))["relay"].environment
    assert environment["RELAY_OWN_ADDRESSES"] == "127.0.0.1:8025,127.0.0.1:8465,127.0.0.1:8035,127.0.0.1:8475"


def test_replicas_have_their_own_ports_and_all_are_targets() -> None:
    processes = laid_out(
        {"INGRESS_METRICS_PORT": "0"},
        {"ingress": 2, "policy": 2, "relay": 3},
        postgres_url="postgresql+asyncpg://db",
        redis_url="redis://r",
    )
    names = [process.name for process in processes]
    assert names == [
        "config_api",
        "policy",
        "policy-2",
        "relay",
        "relay-2",
        "relay-3",
        "ingress",
        "ingress-2",
        "console",
    ]
    second = processes[-2]
    assert second.ports["INGRESS_SMTP_PORT"] == 8035
    assert second.ports["INGRESS_METRICS_PORT"] == 0, "a setting that is off stays off"
    assert second.environment["INGRESS_RELAY_TARGET"] == (
        "unix:/run/posthouse/relay.sock,unix:/run/posthouse/relay-2.sock,unix:/run/posthouse/relay-3.sock"
    )
    assert by_name(processes)["policy-2"].environment["POLICY_STATE_URL"] == "redis://r"
    folders = {process.name: process.environment.get("POSTHOUSE_DATA_DIR", "var") for process in processes}
    assert folders["config_api"] == folders["relay"] == "var"
    assert len({folders[name] for name in ("relay", "relay-2", "relay-3")}) == 3, "the services have different files"


@pytest.mark.parametrize(
    ("replicas", "environment", "needed"),
    [
        ({"policy": 2}, {}, "Redis"),
        ({"policy": 2}, {"POLICY_STATE_URL": "memory://"}, "Redis"),
        ({"relay": 2}, {}, "PostgreSQL"),
        ({"config_api": 2}, {"CONFIG_API_DATABASE_URL": "sqlite+aiosqlite:///x"}, "PostgreSQL"),
    ],
)
def test_replicas_without_a_shared_database_or_redis_are_refused(
    replicas: dict[str, int], environment: dict[str, str], needed: str
) -> None:
    with pytest.raises(TopologyError, match=needed):
        laid_out(environment, replicas)


@pytest.mark.parametrize("text", ["ingress", "ingress=0", "ingress=x", "mail=2", "ingress=33"])
def test_an_invalid_number_of_replicas_is_refused(text: str) -> None:
    with pytest.raises(TopologyError, match="--replicas"):
        parse_replicas(text)


def test_an_invalid_port_is_refused() -> None:
    with pytest.raises(TopologyError, match="POLICY_METRICS_PORT"):
        laid_out({"POLICY_METRICS_PORT": "70000"})


def _kept(environment: dict[str, str], replicas: dict[str, int], cpus: tuple[int, ...]) -> dict[str, str]:
    """Returns the processors that each process may use."""
    postgres = "postgresql+asyncpg://db"
    processes = laid_out(environment, replicas, postgres_url=postgres, cpus=cpus)
    return {
        process.name: process.environment[f"{process.service.upper()}_CPUS"]
        for process in processes
        if f"{process.service.upper()}_CPUS" in process.environment
    }


@pytest.mark.parametrize(
    ("environment", "replicas", "cpus", "kept"),
    [
        ({}, {}, (), {}),
        ({}, {}, (7,), {}),
        ({}, {}, (0, 1), {"ingress": "0", "relay": "1"}),
        ({}, {}, (2, 5, 6), {"ingress": "2", "relay": "5"}),
        ({"INGRESS_WORKERS": "2"}, {}, (0, 1), {}),
        ({"INGRESS_WORKERS": "2"}, {"relay": 2}, (0, 1, 2, 3), {"ingress": "0,1", "relay": "2", "relay-2": "3"}),
        ({}, {"ingress": 2}, (0, 1, 2), {"ingress": "0", "ingress-2": "1", "relay": "2"}),
    ],
)
def test_ingress_and_relay_have_a_processor_each_if_there_are_enough(
    environment: dict[str, str], replicas: dict[str, int], cpus: tuple[int, ...], kept: dict[str, str]
) -> None:
    assert _kept(environment, replicas, cpus) == kept


@pytest.mark.parametrize("chosen", [{"INGRESS_CPUS": ""}, {"RELAY_CPUS": "1"}])
def test_chosen_processors_are_not_changed(chosen: dict[str, str]) -> None:
    processes = laid_out(chosen, cpus=(0, 1, 2, 3))
    for process in processes:
        given = {name: value for name, value in process.environment.items() if name.endswith("_CPUS")}
        assert given == {name: value for name, value in chosen.items() if name.startswith(process.service.upper())}
