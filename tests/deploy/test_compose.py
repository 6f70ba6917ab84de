"""compose.yaml and the Dockerfile use only commands and settings of the services, and grant only the rights needed."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import services.config_api.settings
import services.console.settings
import services.ingress.settings
import services.policy.settings
import services.relay.settings
from libs.runtime.settings import SHARED_VARIABLES, ProcessSettings
from services.suite.topology import LISTEN_VARIABLES
from tests.deploy.compose_schema import CONDITIONS, FILE, faults

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SETTINGS: dict[str, type[ProcessSettings]] = {
    "config_api": services.config_api.settings.Settings,
    "console": services.console.settings.Settings,
    "ingress": services.ingress.settings.Settings,
    "policy": services.policy.settings.Settings,
    "relay": services.relay.settings.Settings,
}
OURS = {name: service for name, service in COMPOSE["services"].items() if "posthouse:" in service["image"]}
# These services end when their work is done.
JOBS = {"certificates", "migrate-config", "migrate-queue", "setup"}


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_one_that_the_service_reads(name: str) -> None:
    service = OURS[name]
    settings = SETTINGS.get(service["command"][0])
    assert service.get("environment", {}).keys() <= (settings.variables() if settings else frozenset())


def test_services_accept_the_variables_of_the_compose_files() -> None:
    files = [ROOT / "compose.yaml", *(ROOT / "deploy/compose").glob("*.yaml")]
    names = {name for file in files for name in re.findall(r"\$\{(POSTHOUSE_[A-Z_]+)", file.read_text())}
    assert len(names) > 3
    assert names <= set(SHARED_VARIABLES)


def test_each_service_has_the_expected_number_of_replicas() -> None:
    serving = [service["command"][0] for service in OURS.values() if len(service["command"]) == 1]
    assert {name: serving.count(name) for name in SETTINGS} == {
        "config_api": 2,
        "console": 1,
        "ingress": 2,
        "policy": 2,
        "relay": 3,
    }


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_containers_are_hardened(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    # PostgreSQL and clamd start as root, and give up root when they do not need it any more. One job changes the
    # owner of files.
    assert set(service.get("cap_add", [])) <= {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}
    assert (service.get("user", "0:0") == "0:0") == bool(service.get("cap_add"))
    if name in OURS:
        assert service["user"] == ("0:0" if name == "setup" else "10001:10001")


def test_every_container_has_a_health_check_and_limits() -> None:
    for name, service in COMPOSE["services"].items():
        assert {"cpus", "memory"} <= service["deploy"]["resources"]["limits"].keys(), name
        if name not in JOBS:
            assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
            assert service["restart"] == "unless-stopped", name


def test_f32_redis_forgets_no_blocked_client() -> None:
    """F32: Redis forgets no blocked client, neither after a restart nor when its memory is full."""
    redis = COMPOSE["services"]["redis"]
    options = dict(re.findall(r"--([a-z-]+) (\S+)", redis["command"][-1]))
    assert (options["appendonly"], options["maxmemory-policy"]) == ("yes", "noeviction")
    assert "redis:/data" in redis["volumes"]
    assert "redis" in COMPOSE["volumes"]


def test_the_services_use_the_images_of_the_topology() -> None:
    images = {
        service["image"].removeprefix("${POSTHOUSE_IMAGE:-").partition(":")[0].rpartition("/")[2]
        for service in COMPOSE["services"].values()
    }
    assert images == {"posthouse", "haproxy", "postgres", "redis", "clamav-debian", "unbound"}
    assert all(":" in service["image"] for service in COMPOSE["services"].values()), "the image has a version"


@pytest.mark.parametrize("name", OURS)
def test_each_target_names_every_replica_of_a_service(name: str) -> None:
    """Each target contains the port on which the replica listens, because one stream goes to each replica."""
    for variable, value in OURS[name].get("environment", {}).items():
        if variable.endswith("_TARGET"):
            of_service = {"POLICY": "policy", "RELAY": "relay", "CONFIG": "config_api", "INGRESS": "ingress"}[
                variable.split("_")[-2]
            ]
            listen = LISTEN_VARIABLES[of_service]
            replicas = {
                f"{other}:{service['environment'][listen].removeprefix('0.0.0.0:')}"
                for other, service in OURS.items()
                if service["command"] == [of_service]
            }
            assert set(value.split(",")) == replicas, variable


def test_the_compose_files_follow_the_specification() -> None:
    assert faults(COMPOSE, FILE, "compose.yaml") == []


def test_the_check_against_the_specification_finds_faults() -> None:
    wrong = {
        "services": {
            "a": {
                "image": 1,
                "volume": [],
                "healthcheck": {"test": ["CMD"], "retries": "3"},
                "cap_drop": ["ALL", "ALL"],
                "networks": {"n": {"ipv4": "192.0.2.1"}},
                "depends_on": {"b": {}, "c": {"condition": "service_well"}},
            },
            "b c": {},
        }
    }
    assert faults(wrong, FILE, "x") == [
        "x.services.a.image: int is no str",
        "x.services.a.volume: unknown",
        "x.services.a.healthcheck.retries: str is no int",
        "x.services.a.cap_drop: ALL is there twice",
        "x.services.a.networks.n.ipv4: unknown",
        "x.services.a.depends_on.b: condition is missing",
        f"x.services.a.depends_on.c.condition: 'service_well' is none of {', '.join(CONDITIONS)}",
        "x.services.b c: no name",
    ]


def test_no_attribute_occurs_twice() -> None:
    """Compose refuses duplicate keys, which PyYAML accepts."""

    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _ in node.value]
            assert len(keys) == len(set(keys)), node.start_mark
            return super().construct_mapping(node, deep)

    # At this point, `<<` is not yet replaced by the mapping to which it refers.
    assert yaml.load((ROOT / "compose.yaml").read_text(), Strict)


def test_every_reference_names_an_object_that_exists() -> None:
    for name, service in COMPOSE["services"].items():
        assert set(service["networks"]) <= COMPOSE["networks"].keys(), name
        assert service.get("depends_on", {}).keys() <= COMPOSE["services"].keys(), name
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            # The job `setup` makes the folder of the secrets.
            there = source == "./secrets" or (ROOT / source).exists()
            assert there if source.startswith(".") else source in COMPOSE["volumes"], volume


def test_only_our_own_variables_are_replaced_and_they_are_optional() -> None:
    """A single `$` is replaced by Compose."""
    texts = [text for text in _texts(COMPOSE["services"]) if "$" in text.replace("$$", "")]
    variables = {variable for text in texts for variable in re.findall(r"\$\{(\w+):-[^}]*\}", text)}
    assert variables == {
        "POSTHOUSE_API",
        "POSTHOUSE_CONSOLE",
        "POSTHOUSE_CONSOLE_NAMES",
        "POSTHOUSE_IMAGE",
        "POSTHOUSE_PUBLIC_ADDRESSES",
        "POSTHOUSE_SMTP",
        "POSTHOUSE_SMTPS",
        "POSTHOUSE_SUBMISSION",
    }
    assert not [text for text in texts if "$" in re.sub(r"\$\{\w+:-[^}]*\}", "", text)]


def test_the_inner_network_does_not_overlap_networks_of_clouds_and_of_docker() -> None:
    subnet = ipaddress.ip_network(COMPOSE["networks"]["inner"]["ipam"]["config"][0]["subnet"])
    assert subnet.is_private
    # Docker uses the first two ranges for its networks. The last one is the default VPC of AWS, and lies in the first.
    for taken in ("172.16.0.0/12", "192.168.0.0/16", "172.31.0.0/16"):
        assert not subnet.overlaps(ipaddress.ip_network(taken))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
    else:
        yield str(value)


def test_only_mail_ports_are_published_beyond_loopback() -> None:
    published = {name: service["ports"] for name, service in COMPOSE["services"].items() if service.get("ports")}
    assert {
        name: [re.sub(r"\$\{\w+:-(\d+)\}", r"\1", port) for port in ports] for name, ports in published.items()
    } == {
        "balancer": ["25:2525", "587:2587", "465:2465"],
        "config-api-1": ["127.0.0.1:8080:8080"],
        "console": ["127.0.0.1:8081:8443"],
    }


def test_migrations_run_before_the_replicas() -> None:
    for name, service in OURS.items():
        if service["command"] in (["config_api"], ["relay"]):
            (job,) = service["depends_on"].keys() - {"certificates"}
            assert COMPOSE["services"][job]["command"] == [service["command"][0], "migrate"], name
            assert service["depends_on"][job] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize(
    "name", [name for name, service in OURS.items() if service["command"] in [[each] for each in LISTEN_VARIABLES]]
)
def test_each_service_has_its_own_certificate_and_no_other(name: str) -> None:
    service = OURS[name]
    (of_service,) = service["command"]
    assert service["depends_on"]["certificates"] == {"condition": "service_completed_successfully"}
    folder = f"/etc/posthouse/certificates/{of_service}"
    volume = f"certificates-{of_service.replace('_', '-')}"
    assert [each for each in service["volumes"] if not each.endswith(":/var/lib/posthouse")] == [
        f"{volume}:{folder}:ro"
    ]
    assert f"{volume}:{folder}" in OURS["certificates"]["volumes"]
    for variable, file in (("CERT", "chain.pem"), ("KEY", "key.pem"), ("CA", "authority.pem")):
        assert service["environment"][f"{of_service.upper()}_GRPC_{variable}"] == f"{folder}/{file}"
    holders = [
        other for other, each in OURS.items() if any("authority:" in volume for volume in each.get("volumes", []))
    ]
    assert holders == ["certificates"], "no service can read the authority's key"


def test_secrets_are_files_and_each_is_declared() -> None:
    used = {secret for service in COMPOSE["services"].values() for secret in service.get("secrets", [])}
    assert used == set(COMPOSE["secrets"])
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    for service in COMPOSE["services"].values():
        for variable, value in service.get("environment", {}).items():
            # The address of config_api contains no password.
            assert (
                not re.search("PASSWORD|SECRET|KEY|URL", variable)
                or str(value).startswith(("/run/secrets/", "/etc/posthouse/certificates/"))
                or variable == "CONSOLE_API_URL"
            ), variable


def test_the_console_calls_config_api_which_alone_trusts_its_address() -> None:
    console = COMPOSE["services"]["console"]
    assert console["environment"]["CONSOLE_API_URL"] == "http://config-api-1:8080"
    own_address = console["networks"]["inner"]["ipv4_address"]
    for name, service in OURS.items():
        networks = service.get("environment", {}).get("CONFIG_API_PROXY_NETWORKS")
        assert networks == (f"{own_address}/32" if service["command"] == ["config_api"] else None), name


def test_the_balancer_sends_to_every_ingress_with_proxy_protocol() -> None:
    text = (ROOT / "deploy/haproxy/haproxy.cfg").read_text()
    servers = re.findall(r"^\s+server \S+ (\S+):(\d+) .*send-proxy-v2", text, re.MULTILINE)
    wanted = {(name, port) for name in ("ingress-1", "ingress-2") for port in ("8025", "8587", "8465")}
    assert set(servers) == wanted
    network = COMPOSE["networks"]["inner"]["ipam"]["config"][0]["subnet"]
    assert OURS["ingress-1"]["environment"]["INGRESS_PROXY_NETWORKS"] == network
