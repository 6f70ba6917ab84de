"""deploy/compose/single.yaml in a real container: mail in and out, a restart, an upgrade, and limited privileges."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import httpx
import pytest

from tests.containers.podman import IMAGE, ROOT, Compose, build, inspect, podman, succeeds, until_healthy
from tests.deploy.test_containers import page_of_messages
from tests.peers.ports import free_port
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink

PASSWORD = "correct horse battery"
SENDER = "alice@ours.example"


class Single:
    """The container of single.yaml, on free ports of this machine."""

    def __init__(self) -> None:
        self.api, self.console, self.smtp, self.submission = (free_port() for _ in range(4))
        self.compose = Compose(
            ROOT / "deploy/compose/single.yaml",
            "single",
            {
                "POSTHOUSE_IMAGE": IMAGE,
                "POSTHOUSE_API": str(self.api),
                "POSTHOUSE_CONSOLE": str(self.console),
                "POSTHOUSE_SMTP": str(self.smtp),
                "POSTHOUSE_SUBMISSION": str(self.submission),
                "POSTHOUSE_SMTPS": str(free_port()),
            },
        )
        self.container = self.compose.container("posthouse")

    def start(self, image: str = IMAGE) -> None:
        self.compose("up", "-d", "--no-build", environment={"POSTHOUSE_IMAGE": image})
        until_healthy(self.container)

    @property
    def host_address(self) -> str:
        """The address at which the container reaches this machine."""
        (network,) = inspect(self.container)["NetworkSettings"]["Networks"].values()
        return str(network["Gateway"])

    def client(self) -> httpx.Client:
        key = podman("exec", self.container, "cat", "/var/lib/posthouse/admin-key")
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.api}", headers={"Authorization": f"Bearer {key}"}, timeout=60
        )

    def send(self, subject: str, recipient: str) -> None:
        """Submits a message on the submission port, logged in over STARTTLS with the self-signed certificate."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = SENDER, recipient, subject
        message.set_content("A message that goes through a container.")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with smtplib.SMTP("127.0.0.1", self.submission, timeout=60) as session:
            session.starttls(context=context)
            session.login("alice", PASSWORD)
            session.send_message(message)


@pytest.fixture(scope="module")
def image() -> str:
    build()
    return IMAGE


@pytest.fixture
def not_started(image: str) -> Iterator[Single]:
    """Removes the suite after the tests. Another fixture starts it, so that a failed start is reported with the log."""
    suite = Single()
    yield suite
    suite.compose.remove()


@pytest.fixture
def single(not_started: Single) -> Single:
    not_started.start()
    return not_started


def configure(single: Single, sink: SmtpSink) -> None:
    """Configures a local domain and a relay host, both of which lead to the sink."""
    next_hop = {"host": single.host_address, "port": sink.port}
    with single.client() as api:
        for path, body in (
            ("/v1/local-domains", {"name": "ours.example", "mailbox": {"kind": "smtp", **next_hop}}),
            ("/v1/accounts", {"login": "alice", "password": PASSWORD, "addresses": [SENDER]}),
        ):
            created = api.post(path, json=body)
            assert created.status_code == httpx.codes.CREATED, created.text
        settings = api.get("/v1/settings/delivery")
        changed = api.patch(
            "/v1/settings/delivery",
            json={"mode": "relay_host", "relay_host": next_hop},
            headers={"If-Match": settings.headers["ETag"], "Content-Type": "application/merge-patch+json"},
        )
        assert changed.status_code == httpx.codes.OK, changed.text
        until(lambda: _is_taken(api, SENDER), "policy has the account", pause=0.1)


def _is_taken(api: httpx.Client, recipient: str) -> bool:
    """Returns whether policy would accept a stranger's message to the recipient, according to Explain."""
    facts = {"stage": "rcpt", "client_address": "192.0.2.1", "sender": "x@elsewhere.example", "recipient": recipient}
    explanation = api.post("/v1/explain/session", json={"kind": "hypothetical", "facts": facts})
    assert explanation.status_code == httpx.codes.OK, explanation.text
    return explanation.json()["reply"] is None


def test_mail_goes_in_and_out_and_is_kept_through_a_restart_and_an_upgrade(single: Single) -> None:
    with SmtpSink(host=single.host_address) as sink:
        configure(single, sink)
        with smtplib.SMTP("127.0.0.1", single.smtp, timeout=60) as session:
            session.sendmail("stranger@elsewhere.example", [SENDER], b"Subject: in\r\n\r\nHello\r\n")
        single.send("out", "bob@far.example")
        sink.wait_for_messages(2)
        port = sink.port
    # The next hop does not run. The message stays in the queue on the volume, through a restart and a new container.
    single.send("kept", "bob@far.example")
    podman("restart", single.container)
    until_healthy(single.container)
    upgraded = f"{IMAGE}-upgraded"
    podman("tag", IMAGE, upgraded)
    # podman-compose 1.0 does not replace a container whose image has changed; `docker compose up` does.
    single.compose("down")
    single.start(upgraded)
    assert inspect(single.container)["ImageName"] == upgraded
    with SmtpSink(host=single.host_address, port=port) as sink, single.client() as api:
        (queued,) = api.get("/v1/queue/messages").json()["items"]
        retried = api.post(f"/v1/queue/messages/{queued['queue_id']}:retry")
        assert retried.status_code == httpx.codes.OK, retried.text
        sink.wait_for_messages(1)


def test_only_this_machine_can_reach_the_console(single: Single, tmp_path: Path) -> None:
    certificate = tmp_path / "console.pem"
    pem = podman("exec", single.container, "cat", "/var/lib/posthouse/console-self-signed.pem")
    certificate.write_text(pem[: pem.index("-----BEGIN PRIVATE KEY")])
    trusted = ssl.create_default_context(cafile=certificate)
    address = f"https://localhost:{single.console}"
    key = podman("exec", single.container, "cat", "/var/lib/posthouse/admin-key")
    assert "Messages" in page_of_messages(address, trusted, key)
    published = inspect(single.container)["NetworkSettings"]["Ports"]
    assert [each["HostIp"] for each in published["8081/tcp"]] == ["127.0.0.1"]


def test_the_container_has_only_the_privileges_that_mail_needs(single: Single) -> None:
    status = podman("exec", single.container, "cat", "/proc/1/status")
    capabilities = {line.split()[0]: line.split()[1] for line in status.splitlines() if line.startswith("Cap")}
    assert {int(mask, 16) for mask in capabilities.values()} == {0}
    assert "NoNewPrivs:\t1" in status
    assert "Uid:\t10001\t10001\t10001\t10001" in status
    assert not succeeds("exec", single.container, "touch", "/opt/posthouse/touched")
    assert not succeeds("exec", "--user", "0", single.container, "touch", "/opt/posthouse/touched"), (
        "the root file system is read-only"
    )


def test_the_image_has_labels_and_the_licences(image: str) -> None:
    labels = inspect(image)["Config"]["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert len(labels["org.opencontainers.image.revision"]) == 40
    names = podman(
        "run", "--rm", "--no-healthcheck", "--entrypoint", "cat", image, "/opt/posthouse/licences/THIRD-PARTY.txt"
    )
    assert "grpcio " in names


def test_the_image_adds_less_than_200_mb_to_its_base(image: str) -> None:
    base = inspect("docker.io/library/python:3.11-slim-bookworm")["Size"]
    assert inspect(image)["Size"] - base < 200_000_000
