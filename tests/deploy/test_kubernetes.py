"""deploy/kubernetes can be rendered, is valid for three versions of Kubernetes, and agrees with its pages."""

from __future__ import annotations

import functools
import smtplib
import ssl
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from libs.runtime.settings import ProcessSettings
from services.config_api.settings import Settings as ConfigApiSettings
from services.config_api.snapshot.publisher import CALLERS as CONFIG_API_CALLERS
from services.console.settings import Settings as ConsoleSettings
from services.ingress.servicer import CALLERS as INGRESS_CALLERS
from services.ingress.settings import Settings as IngressSettings
from services.policy.servicer import CALLERS as POLICY_CALLERS
from services.policy.settings import Settings as PolicySettings
from services.relay.api.servicer import CALLERS as RELAY_CALLERS
from services.relay.settings import Settings as RelaySettings
from tests.deploy.pods import Pods
from tests.deploy.test_containers import configure_mailbox, page_of_messages
from tests.peers.ports import LOOPBACK
from tests.peers.postgres import Postgres
from tests.peers.process import program, until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/kubernetes"
VERSIONS = ("1.25", "1.30", "1.34")
GRPC_SERVICES = ("config-api", "policy", "relay", "ingress")
SERVICES = (*GRPC_SERVICES, "console")
SETTINGS: dict[str, type[ProcessSettings]] = {
    "config_api": ConfigApiSettings,
    "console": ConsoleSettings,
    "policy": PolicySettings,
    "relay": RelaySettings,
    "ingress": IngressSettings,
}
Object = dict[str, Any]


@functools.cache
def render(overlay: str) -> list[Object]:
    """Returns every object of an overlay, as kubectl renders it."""
    completed = subprocess.run(
        [program("kubectl"), "kustomize", FOLDER / overlay], capture_output=True, text=True, check=True
    )
    return list(yaml.safe_load_all(completed.stdout))


def base(kind: str) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in render("base") if each["kind"] == kind}


def pods() -> Iterator[tuple[str, Object]]:
    for kind in ("Deployment", "Job"):
        for name, workload in base(kind).items():
            yield name, workload["spec"]["template"]["spec"]


def selects(selector: Object, labels: Object) -> bool:
    return selector.items() <= labels.items()


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid(version: str) -> None:
    for each in render("base"):
        kubernetes_validate.validate(each, version, strict=True)


def test_the_overlays_render_the_secrets_that_the_deployments_mount() -> None:
    issued = {
        each["spec"]["secretName"]
        for each in render("cert-manager")
        if each["kind"] == "Certificate" and not each["spec"].get("isCA")
    }
    assert issued == {f"posthouse-{service}-grpc" for service in GRPC_SERVICES}
    mounted = {volume["secret"]["secretName"] for _, pod in pods() for volume in pod["volumes"] if "secret" in volume}
    by_hand = {f"posthouse-{service}" for service in ("config-api", "policy", "relay", "console")}
    by_hand |= {"posthouse-mail-tls", "posthouse-console-tls"}
    assert mounted == issued | by_hand


def test_a_certificate_of_cert_manager_names_its_service() -> None:
    for each in render("cert-manager"):
        if each["kind"] == "Certificate" and not each["spec"].get("isCA"):
            service = each["spec"]["secretName"].removeprefix("posthouse-").removesuffix("-grpc")
            assert each["spec"]["uris"] == [f"posthouse://{service.replace('-', '_')}"]
            assert each["spec"]["dnsNames"] == [f"{service}.posthouse.internal"]


def test_pods_are_restricted_and_get_no_variables_of_other_services() -> None:
    for name, pod in pods():
        assert pod["enableServiceLinks"] is False, name
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_has_spreading_scaling_probes_and_a_disruption_budget(service: str) -> None:
    deployment = base("Deployment")[service]
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert selects(deployment["spec"]["selector"]["matchLabels"], labels)
    assert selects(base("PodDisruptionBudget")[service]["spec"]["selector"]["matchLabels"], labels)
    assert selects(base("NetworkPolicy")[service]["spec"]["podSelector"]["matchLabels"], labels)
    scaler = base("HorizontalPodAutoscaler")[service]["spec"]
    assert scaler["scaleTargetRef"]["name"] == service
    assert scaler["minReplicas"] == deployment["spec"]["replicas"]
    (spread,) = template["spec"]["topologySpreadConstraints"]
    assert selects(spread["labelSelector"]["matchLabels"], labels)
    (container,) = template["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] in ports


def test_every_port_of_a_service_is_a_port_of_its_pods() -> None:
    for name, service in base("Service").items():
        spec = service["spec"]
        deployment = next(
            each["spec"]["template"]
            for each in base("Deployment").values()
            if selects(spec["selector"], each["spec"]["template"]["metadata"]["labels"])
        )
        (container,) = deployment["spec"]["containers"]
        ports = {key for port in container["ports"] for key in (port["name"], port["containerPort"])}
        for port in spec["ports"]:
            assert port.get("targetPort", port["port"]) in ports, name


def test_a_target_names_a_headless_service_and_its_port() -> None:
    headless = {
        f"{name}:{service['spec']['ports'][0]['port']}"
        for name, service in base("Service").items()
        if service["spec"].get("clusterIP") == "None"
    }
    targets = {
        variable["value"]
        for _, pod in pods()
        for container in pod["containers"]
        for variable in container["env"]
        if variable["name"].endswith("_TARGET")
    }
    assert targets == headless


@pytest.mark.parametrize(("name", "pod"), list(pods()), ids=[name for name, _ in pods()])
def test_every_variable_is_one_that_the_service_knows(name: str, pod: Object) -> None:
    (container,) = pod["containers"]
    known_variables = SETTINGS[container["args"][0]].variables()
    assert {variable["name"] for variable in container["env"]} <= known_variables, name


def callers_by_policy(service: str) -> set[str]:
    """Returns the components that may reach the gRPC port of a service, according to its NetworkPolicy."""
    (container,) = base("Deployment")[service]["spec"]["template"]["spec"]["containers"]
    grpc_port = next(port["containerPort"] for port in container["ports"] if port["name"] == "grpc")
    return {
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"].replace("-", "_")
        for rule in base("NetworkPolicy")[service]["spec"]["ingress"]
        if {"port": grpc_port} in rule["ports"]
        for peer in rule["from"]
    }


def test_network_policies_allow_only_services_that_may_call_a_method() -> None:
    may_call: dict[str, Mapping[str, Collection[str]]] = {
        "policy": POLICY_CALLERS,
        "relay": RELAY_CALLERS,
        "config-api": CONFIG_API_CALLERS,
        "ingress": INGRESS_CALLERS,
    }
    for service, methods in may_call.items():
        assert callers_by_policy(service) == {caller for callers in methods.values() for caller in callers}


def test_the_console_may_call_only_the_http_api_and_name_servers() -> None:
    egress = base("NetworkPolicy")["console"]["spec"]["egress"]
    to_pods = [(rule["to"], rule["ports"]) for rule in egress if "podSelector" in rule["to"][0]]
    labels = {"app.kubernetes.io/name": "posthouse", "app.kubernetes.io/component": "config-api"}
    assert to_pods == [([{"podSelector": {"matchLabels": labels}}], [{"port": 8080}])]
    others = [port for rule in egress if "podSelector" not in rule["to"][0] for port in rule["ports"]]
    assert others == [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    assert "Egress" in base("NetworkPolicy")["console"]["spec"]["policyTypes"]


@pytest.fixture
def running_pods(postgres: Postgres, redis_url: str) -> Iterator[Pods]:
    databases = (postgres.create_database(), postgres.create_database())
    # The path of a Unix socket has at most 107 octets, and the names of pytest's folders are long.
    with tempfile.TemporaryDirectory(prefix="pods-") as folder:
        running = Pods(Path(folder), *databases, redis_url)
        yield running
        running.stop()
        for path in sorted(Path(folder).glob("*.log")):
            print(f"{path.name}:\n{path.read_text('utf-8', 'backslashreplace')[-3_000:]}")
    for database in databases:
        postgres.drop_database(database)


@pytest.mark.e2e
def test_the_rendered_pods_accept_mail_with_the_variables_that_kubernetes_sets_for_services(
    running_pods: Pods, tmp_path: Path
) -> None:
    for job in [running_pods.start("Job", name) for name in ("migrate-config", "migrate-queue")]:
        assert job.wait() == 0, job.log_tail()
    for service in SERVICES:
        running_pods.start("Deployment", service)
    for service in SERVICES:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            until(functools.partial(running_pods.passes, service, probe), f"{probe} of {service} passes", pause=0.1)
    api = f"http://{LOOPBACK}:{running_pods.port('config-api', 8080)}/v1"
    configure_mailbox(api, running_pods.admin_key, tmp_path / "mail")
    context = ssl.create_default_context()
    running_pods.authority.configure_trust(context)
    context.check_hostname = False
    with smtplib.SMTP(LOOPBACK, running_pods.port("ingress", 8025), timeout=60) as client:
        client.starttls(context=context)
        assert client.sendmail("bob@far.test", ["alice@ours.test"], b"Subject: x\r\n\r\nHello.\r\n") == {}
    new = tmp_path / "mail" / "alice" / "new"
    until(lambda: new.is_dir() and len(list(new.iterdir())) == 1, "the message is in alice's maildir")
    console = f"https://localhost:{running_pods.port('console', 8443)}"
    trusted = ssl.create_default_context()
    running_pods.authority.configure_trust(trusted)
    assert "alice@ours.test" in page_of_messages(console, trusted, running_pods.admin_key)
    assert not Path("/nonexistent").exists(), "the console stores no files"
