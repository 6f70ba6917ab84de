"""compose.yaml in real containers, with stand-ins for the images that are not ours (images/Dockerfile).

The files are used unchanged, except for what podman 4.3 and its podman-compose 1.0 do not support; `_adapted` names
these things. podman and podman-compose do not support the conditions of `depends_on`, so this test starts the
containers in the order that `depends_on` requires, and runs their own health checks. A wait that exceeds its time is a
failure, whose report shows the logs of all containers (conftest.py).
"""

from __future__ import annotations

import os
import signal
import smtplib
import ssl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.containers.podman import IMAGE, ROOT, Compose, build_with_stand_ins, inspect, log, podman, until_healthy
from tests.deploy.test_containers import page_of_messages
from tests.peers.ports import free_port
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
# The order of `depends_on`. Services in one group may start together.
ORDER = (
    ("postgres", "redis", "clamd", "unbound"),
    ("certificates", "migrate-config", "migrate-queue"),
    ("config-api-1", "config-api-2"),
    ("policy-1", "policy-2", "relay-1", "relay-2", "relay-3"),
    ("ingress-1", "ingress-2"),
    ("balancer", "console"),
)
JOBS = ("certificates", "migrate-config", "migrate-queue")
REPLICAS = [name for name in SERVICES if name.startswith(("config-api-", "policy-", "relay-", "ingress-"))]
RECIPIENT = "alice@ours.example"
_PAUSE_SECONDS = 0.2


def _adapted(folder: Path) -> Path:
    """Writes compose.yaml without what podman does not support here, and returns the file."""
    # podman-compose does not support variables whose default is empty.
    text = (ROOT / "compose.yaml").read_text().replace("${POSTHOUSE_PUBLIC_ADDRESSES:-}", "203.0.113.5")
    text = text.replace("${POSTHOUSE_CONSOLE_NAMES:-}", "console.ours.example")
    document: dict[str, Any] = yaml.safe_load(text)
    # podman resolves no names in an internal network, so this network is not internal. podman-compose sets no
    # addresses, so `Large.up` sets them.
    document["networks"] = {"inner": {}}
    for service in document["services"].values():
        service["networks"] = ["inner"]
        # podman-compose cannot replace a container on which others depend.
        service.pop("depends_on", None)
        service.pop("build", None)
        service["volumes"] = [_absolute(volume, folder) for volume in service.get("volumes", [])]
        # A container within a container has no control groups for limits.
        service.pop("deploy")
    # containers.conf contains the lower limits that are allowed here.
    document["services"]["balancer"].pop("ulimits")
    document["secrets"] = {name: {"file": str(folder / secret["file"])} for name, secret in document["secrets"].items()}
    haproxy = folder / "haproxy"
    haproxy.mkdir()
    configuration = (ROOT / "deploy/haproxy/haproxy.cfg").read_text()
    (haproxy / "haproxy.cfg").write_text(configuration.replace("maxconn 20000", "maxconn 1000"))
    file = folder / "compose.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def _absolute(volume: str, folder: Path) -> str:
    if volume.startswith("./deploy/haproxy"):
        return volume.replace("./deploy/haproxy", str(folder / "haproxy"))
    if volume.startswith("./secrets"):
        return volume.replace("./secrets", str(folder / "secrets"))
    return volume.replace("./", f"{ROOT}/") if volume.startswith("./") else volume


class Large:
    """All containers, on free ports of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.smtp, self.api_port, self.console_port = free_port(), free_port(), free_port()
        self._addresses = {
            name: address["ipv4_address"]
            for name, service in SERVICES.items()
            if isinstance(service["networks"], dict) and (address := service["networks"]["inner"])
        }
        self._compose = Compose(
            _adapted(folder),
            "large",
            {
                "POSTHOUSE_IMAGE": IMAGE,
                "POSTHOUSE_API": str(self.api_port),
                "POSTHOUSE_CONSOLE": str(self.console_port),
                "POSTHOUSE_SMTP": str(self.smtp),
                "POSTHOUSE_SUBMISSION": str(free_port()),
                "POSTHOUSE_SMTPS": str(free_port()),
            },
        )

    def name(self, service: str) -> str:
        return self._compose.container(service)

    def up(self, *services: str, image: str = IMAGE) -> None:
        with_address = [service for service in services if service in self._addresses]
        for service in with_address:
            self._up(image, f"--podman-run-args=--ip={self._addresses[service]}", services=[service])
        if without_address := [service for service in services if service not in with_address]:
            self._up(image, services=without_address)

    def _up(self, image: str, *options: str, services: Sequence[str]) -> None:
        self._compose(
            *options, "up", "-d", "--no-build", "--no-deps", *services, environment={"POSTHOUSE_IMAGE": image}
        )

    def start(self) -> None:
        (addresses,) = COMPOSE["networks"]["inner"]["ipam"]["config"]
        # The network has no `ip_range`, because podman gives out no address outside of it, even on request.
        self._compose.make_network("inner", "--subnet", addresses["subnet"])
        self.up("setup")
        self.wait_for_job("setup")
        for together in ORDER:
            self.up(*together)
            for service in together:
                if service in JOBS:
                    self.wait_for_job(service)
                else:
                    until_healthy(self.name(service))

    def wait_for_job(self, service: str) -> None:
        assert podman("wait", self.name(service)) == "0", f"{service} failed: {log(self.name(service))}"

    def kill(self, service: str) -> None:
        podman("kill", self.name(service))

    def process(self, service: str) -> int:
        """Returns the process id of the container's first process; 0 while none runs."""
        return int(inspect(self.name(service))["State"]["Pid"])

    def again(self, service: str) -> None:
        podman("start", self.name(service))
        until_healthy(self.name(service))

    def replace(self, service: str, image: str) -> None:
        """Replaces the container as `docker compose up -d` does when the image has changed."""
        podman("stop", "--time", "60", self.name(service))
        podman("rm", "--volumes", self.name(service))
        self.up(service, image=image)
        until_healthy(self.name(service))

    def remove(self) -> None:
        self._compose.remove()

    @property
    def host_address(self) -> str:
        (network,) = inspect(self.name("relay-1"))["NetworkSettings"]["Networks"].values()
        return str(network["Gateway"])

    def client(self) -> httpx.Client:
        key = (self.folder / "secrets/admin_key").read_text()
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.api_port}", headers={"Authorization": f"Bearer {key}"}, timeout=60
        )


class Mail(threading.Thread):
    """Sends messages through the balancer, one after the other, until the sender is stopped.

    Repeats the messages that were not accepted.
    """

    def __init__(self, large: Large, name: str) -> None:
        super().__init__(name=name)
        self._large = large
        self._stopping = threading.Event()
        self.taken: list[str] = []
        self.refused_for_good: list[str] = []
        self.deferrals = 0

    def run(self) -> None:
        number = 0
        while not self._stopping.is_set():
            subject = f"{self.name}-{number}-end"
            if self._sent(subject):
                self.taken.append(subject)
                number += 1
            else:
                self.deferrals += 1
            self._stopping.wait(_PAUSE_SECONDS)

    def _sent(self, subject: str) -> bool:
        try:
            with smtplib.SMTP("127.0.0.1", self._large.smtp, timeout=60) as session:
                session.sendmail("x@elsewhere.example", [RECIPIENT], f"Subject: {subject}\r\n\r\nHello\r\n".encode())
        except smtplib.SMTPResponseException as error:
            self._note(error.smtp_code)
        except smtplib.SMTPRecipientsRefused as error:
            for code, _ in error.recipients.values():
                self._note(code)
        except (OSError, smtplib.SMTPException):
            # The connection ended. A mail server would try again.
            pass
        else:
            return True
        return False

    def _note(self, code: int) -> None:
        if 500 <= code < 600:
            self.refused_for_good.append(str(code))

    def stop_after(self, messages: int) -> None:
        """Waits until this number of further messages is accepted, and then stops."""
        wanted = len(self.taken) + messages
        until(lambda: len(self.taken) >= wanted, f"{messages} more messages are accepted", 120)
        self._stopping.set()
        self.join()


@pytest.fixture(scope="module")
def not_started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Large]:
    """Removes the suite after the tests. Another fixture starts it, so that a failed start is reported with logs."""
    build_with_stand_ins()
    suite = Large(tmp_path_factory.mktemp("large"))
    yield suite
    suite.remove()


@pytest.fixture(scope="module")
def large(not_started: Large) -> Large:
    not_started.start()
    return not_started


@pytest.fixture(scope="module")
def sink(large: Large) -> Iterator[SmtpSink]:
    """The mailbox server of ours.example, to which its mail is delivered."""
    with SmtpSink(host=large.host_address) as next_hop, large.client() as api:
        mailbox = {"kind": "smtp", "host": next_hop.host, "port": next_hop.port}
        for path, body in (
            ("/v1/local-domains", {"name": "ours.example", "mailbox": mailbox}),
            ("/v1/accounts", {"login": "alice", "password": "correct horse battery", "addresses": [RECIPIENT]}),
        ):
            created = api.post(path, json=body)
            assert created.status_code == httpx.codes.CREATED, created.text
        until(lambda: _is_taken(large), "both replicas of policy have the account", 120, 0.5)
        yield next_hop


def _is_taken(large: Large) -> bool:
    """Sends more messages than there are pairs of ingress and policy, and returns whether all were accepted."""
    return all(Mail(large, "probe")._sent("probe") for _ in range(8))


def _arrived(sink: SmtpSink, mail: Mail) -> None:
    def missing() -> set[str]:
        contents = b"".join(message.content for message in sink.messages).decode()
        return {subject for subject in mail.taken if f"Subject: {subject}\r\n" not in contents}

    until(lambda: not missing(), "every accepted message has arrived", 300, 1.0)
    assert mail.refused_for_good == []


def test_every_service_is_healthy_and_mail_goes_in_and_out(large: Large, sink: SmtpSink) -> None:
    mail = Mail(large, "first")
    mail.start()
    mail.stop_after(5)
    _arrived(sink, mail)
    with large.client() as api:
        until(lambda: _ready(api) == len(REPLICAS), "config_api sees that every replica is ready", 120, 1.0)


def test_the_console_shows_mail_after_sign_in(large: Large, sink: SmtpSink) -> None:
    mail = Mail(large, "shown")
    mail.start()
    mail.stop_after(1)
    trusted = ssl.create_default_context(cafile=str(large.folder / "secrets/console_tls_chain"))
    key = (large.folder / "secrets/admin_key").read_text()
    page = page_of_messages(f"https://localhost:{large.console_port}", trusted, key)
    assert RECIPIENT in page
    # Only the container's health check shows that it is back: after a restart, the port that podman published does not
    # lead to the container any more.
    large.kill("console")
    large.again("console")


def _ready(api: httpx.Client) -> int:
    services = api.get("/v1/status").json()["services"]
    return sum((service["state"], service["transport"]) == ("ready", "mutual_tls") for service in services)


@pytest.mark.parametrize("service", [name for name in SERVICES if name not in (*JOBS, "setup")])
def test_only_the_service_that_needs_a_secret_can_read_it(large: Large, service: str) -> None:
    container = large.name(service)
    declared = set(SERVICES[service].get("secrets", []))
    listed = podman("exec", "--user", "0", container, "sh", "-c", "ls /run/secrets 2>/dev/null || true").split()
    assert set(listed) == declared
    user = SERVICES[service].get("user", "0:0").partition(":")[0]
    for secret in declared:
        shown = podman("exec", "--user", "0", container, "stat", "-c", "%u %a", f"/run/secrets/{secret}")
        assert shown == f"{user} 400", secret
    if service in REPLICAS:
        of_service = SERVICES[service]["command"][0]
        folders = podman("exec", container, "sh", "-c", "find /etc/posthouse -name key.pem")
        assert folders.split() == [f"/etc/posthouse/certificates/{of_service}/key.pem"]


def test_redis_keeps_its_data_after_a_restart(large: Large) -> None:
    command = "REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli"
    redis = large.name("redis")
    podman("exec", redis, "sh", "-c", f"{command} set kept here")
    large.kill("redis")
    large.again("redis")
    assert podman("exec", redis, "sh", "-c", f"{command} get kept") == "here"


@pytest.mark.parametrize("service", REPLICAS)
def test_a_replica_is_killed_and_comes_back_while_mail_flows(large: Large, sink: SmtpSink, service: str) -> None:
    mail = Mail(large, f"killed-{service}")
    mail.start()
    until(lambda: len(mail.taken) >= 1, "mail flows", 60)
    large.kill(service)
    before = len(mail.taken)
    until(lambda: len(mail.taken) >= before + 3, f"mail flows without {service}", 120)
    large.again(service)
    mail.stop_after(3)
    _arrived(sink, mail)


@pytest.mark.parametrize("service", ["config-api-2", "policy-2", "relay-2", "ingress-2"])
def test_a_replica_that_crashes_is_started_by_the_engine_while_mail_flows(
    large: Large, sink: SmtpSink, service: str
) -> None:
    mail = Mail(large, f"crashed-{service}")
    mail.start()
    until(lambda: len(mail.taken) >= 1, "mail flows", 60)
    crashed = large.process(service)
    assert crashed > 0, f"{service} runs before the test kills it"
    # The process is killed without podman, so podman takes this for a crash. After `podman kill`, it would not start
    # the container again.
    os.kill(crashed, signal.SIGKILL)
    until(lambda: large.process(service) not in (0, crashed), f"{service} runs again", 60, 0.2)
    until_healthy(large.name(service))
    mail.stop_after(3)
    _arrived(sink, mail)


def test_the_image_is_changed_replica_by_replica_while_mail_flows(large: Large, sink: SmtpSink) -> None:
    changed = f"{IMAGE}-changed"
    podman("tag", IMAGE, changed)
    mail = Mail(large, "rolling")
    mail.start()
    # This is the order of docs/scaling.md: config_api, relay and policy first, and then ingress, which calls them.
    for service in sorted(REPLICAS, key=lambda name: name.startswith("ingress")):
        large.replace(service, changed)
        assert inspect(large.name(service))["ImageName"] == changed
    mail.stop_after(3)
    _arrived(sink, mail)
