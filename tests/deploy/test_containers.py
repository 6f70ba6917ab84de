"""compose.yaml and the files of deploy/ work, with one replica of each service, from making secrets to a message."""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.deploy.containers import HOSTNAME, ROOT, Containers
from tests.peers.ports import LOOPBACK
from tests.peers.postgres import Postgres
from tests.peers.process import program, run, until

pytestmark = pytest.mark.e2e

CLIENT = "127.0.2.7"
# The order that `depends_on` requires: all services wait for the certificates, and some wait for the migrations too.
CERTIFICATES, MIGRATIONS = "certificates", ("migrate-config", "migrate-queue")
AFTER_CERTIFICATES, AFTER_MIGRATIONS = ("ingress-1", "policy-1"), ("config-api-1", "relay-1", "console")
PASSWORD = "correct horse battery"


def test_the_balancer_accepts_its_configuration_file() -> None:
    run([program("haproxy"), "-c", "-f", ROOT / "deploy/haproxy/haproxy.cfg"])


def test_the_resolver_accepts_its_configuration_file() -> None:
    run([program("unbound-checkconf"), ROOT / "deploy/unbound/unbound.conf"])


@pytest.fixture
def containers(tmp_path: Path, postgres: Postgres) -> Iterator[Containers]:
    made = Containers(tmp_path, postgres)
    yield made
    made.stop()
    for path in sorted(tmp_path.glob("*.log")):
        print(f"{path.name}:\n{path.read_text('utf-8', 'backslashreplace')[-5_000:]}")


def test_the_services_of_compose_accept_mail_with_their_files(containers: Containers, tmp_path: Path) -> None:
    containers.start_redis()
    containers.start_resolver()
    containers.start_balancer()
    for starting, jobs in (((), (CERTIFICATES,)), (AFTER_CERTIFICATES, MIGRATIONS)):
        for name in starting:
            containers.start(name)
        for job in [containers.start(name) for name in jobs]:
            assert job.wait() == 0, job.log_tail()
    for name in AFTER_MIGRATIONS:
        containers.start(name)
    for name in (*AFTER_CERTIFICATES, *AFTER_MIGRATIONS, "postgres", "redis", "unbound", "balancer"):
        until(lambda name=name: containers.healthy(name), f"{name} is healthy", pause=0.1)  # type: ignore[misc]

    api = f"http://{LOOPBACK}:{containers.port('config-api-1', 8080)}/v1"
    configure_mailbox(api, containers.secret("admin_key"), tmp_path / "mail")
    context = ssl.create_default_context()
    containers.authority.configure_trust(context)
    with smtplib.SMTP(timeout=60, source_address=(CLIENT, 0)) as client:
        # smtplib must expect a certificate for this name.
        client._host = HOSTNAME  # type: ignore[attr-defined]
        assert client.connect(LOOPBACK, containers.port("balancer", 2525))[1].startswith(HOSTNAME.encode())
        client.starttls(context=context)
        assert client.sendmail("bob@far.test", ["alice@ours.test"], b"Subject: x\r\n\r\nHello.\r\n") == {}
    new = tmp_path / "mail" / "alice" / "new"
    until(lambda: new.is_dir() and len(list(new.iterdir())) == 1, "the message is in alice's maildir")
    (message,) = new.iterdir()
    assert f"[{CLIENT}]" in message.read_text(), "the balancer has told ingress the client's address"

    # The submission port accepts mail too.
    with smtplib.SMTP(timeout=60, source_address=(CLIENT, 0)) as client:
        client._host = HOSTNAME  # type: ignore[attr-defined]
        client.connect(LOOPBACK, containers.port("balancer", 2587))
        client.starttls(context=context)
        assert client.login("alice", PASSWORD)[0] == 235
    unnamed = ssl.create_default_context()
    containers.authority.configure_trust(unnamed)
    unnamed.check_hostname = False
    with smtplib.SMTP_SSL(LOOPBACK, containers.port("balancer", 2465), timeout=60, context=unnamed) as client:
        assert client.login("alice", PASSWORD)[0] == 235

    console = f"https://localhost:{containers.port('console', 8443)}"
    assert "alice@ours.test" in page_of_messages(console, context, containers.secret("admin_key"))


def page_of_messages(console: str, trusted: ssl.SSLContext, key: str) -> str:
    """Returns the console's page of messages, as a browser shows it after a sign-in with this key."""
    with httpx.Client(base_url=console, verify=trusted, follow_redirects=True, timeout=60) as browser:
        token = re.search(r'name="token" value="([^"]+)"', browser.get("/sign-in").text)
        assert token is not None
        signed_in = browser.post("/sign-in", data={"token": token[1], "key": key})
        assert signed_in.is_success, signed_in.text
        return browser.get("/messages").text


def configure_mailbox(base_url: str, admin_key: str, mail: Path) -> None:
    """Creates a local domain with an account, and waits until policy and relay have them."""
    with httpx.Client(base_url=base_url, headers={"Authorization": f"Bearer {admin_key}"}, timeout=60) as api:
        etag = api.get("/settings/general").headers["ETag"]
        headers = {"If-Match": etag, "Content-Type": "application/merge-patch+json"}
        bodies = (
            ("/local-domains", {"name": "ours.test", "mailbox": {"kind": "maildir", "path": str(mail)}}),
            ("/accounts", {"login": "alice", "password": PASSWORD, "addresses": ["alice@ours.test"]}),
        )
        assert api.patch("/settings/general", json={"profile": {"hostname": HOSTNAME}}, headers=headers).is_success
        for path, body in bodies:
            answer = api.post(path, json=body)
            assert answer.status_code == 201, answer.text

        def known() -> bool:
            facts = {"client_address": CLIENT, "sender": "bob@far.test", "recipient": "alice@ours.test"}
            answer = api.post("/explain/session", json={"kind": "hypothetical", "facts": facts})
            assert answer.is_success, answer.text
            return bool(answer.json()["action"] == "accept")

        until(known, "policy has the account")

        def routed() -> bool:
            answer = api.post("/explain/route", json={"recipient": "alice@ours.test"})
            assert answer.is_success, answer.text
            return bool(answer.json()["routes"][0]["kind"] == "mailbox")

        until(routed, "relay has the domain")
