"""The examples of docs/events-and-submission.md run unchanged, in Python and in TypeScript."""

from __future__ import annotations

import email
import email.policy
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.e2e import world
from tests.peers.dns import DnsServer
from tests.peers.ports import free_port
from tests.peers.process import until
from tests.peers.smtp_sink import SmtpSink
from tests.peers.suite import ROOT, Suite

pytestmark = pytest.mark.e2e

_BLOCK = re.compile(r"^```(python|typescript) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENT = (ROOT / "docs" / "events-and-submission.md").read_text("utf-8")
EXAMPLES = {name: text for _, name, text in _BLOCK.findall(DOCUMENT)}
FAR = "bob@far.test"


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    with DnsServer() as outside, SmtpSink() as far:
        outside.add("far.test", "MX", "10 mx.far.test.")
        outside.add("mx.far.test", "A", far.host)
        environment = {"RELAY_MX_PORT": str(far.port), "CONFIG_API_WEBHOOK_NETWORKS": "127.0.0.0/8"}
        with Suite(environment, nameservers=outside.address) as running:
            running.far = far  # type: ignore[attr-defined]
            world.local_domain(running)
            world.account(running)
            world.until_in_force(running)
            yield running
            print(running.logs[-10_000:])


@pytest.fixture(scope="module")
def sender_key(suite: Suite) -> str:
    body = {"name": "shop", "role": "sender", "account": world.LOGIN}
    made: str = world.create(suite, "/v1/api-keys", body)["key"]
    return made


def settings(suite: Suite, key: str, **more: str) -> dict[str, str]:
    url = str(suite.api.base_url).rstrip("/")
    return {
        **os.environ,
        "POSTHOUSE_URL": url,
        "POSTHOUSE_KEY": key,
        "SENDER": world.ALICE,
        "RECIPIENT": FAR,
        **more,
    }


def admin_key(suite: Suite) -> str:
    return str(suite.api.headers["Authorization"]).removeprefix("Bearer ")


@contextmanager
def running(name: str, folder: Path, environment: Mapping[str, str]) -> Iterator[IO[str]]:
    """Runs the example as a process and yields its output."""
    if name.endswith(".ts"):
        node = shutil.which("node")
        if node is None:
            pytest.skip("Node.js, which runs the TypeScript example, is not installed")
        # These examples contain no types, so they are valid JavaScript.
        command = [node, str(folder / name.replace(".ts", ".mjs"))]
    else:
        command = [sys.executable, str(folder / name)]
    Path(command[-1]).write_text(EXAMPLES[name], "utf-8")
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def send(suite: Suite, key: str, recipient: str = FAR) -> str:
    answer = suite.api.post(
        "/v1/messages",
        json={"from": {"address": world.ALICE}, "to": [{"address": recipient}], "text": "x"},
        headers={"Authorization": f"Bearer {key}"},
    )
    assert answer.status_code == 202, answer.text
    queue_id: str = answer.json()["queue_id"]
    return queue_id


@pytest.mark.parametrize("name", ["receiver.py", "receiver.ts"])
def test_receivers_verify_signatures(suite: Suite, tmp_path: Path, name: str) -> None:
    port = free_port()
    hook = world.create(suite, "/v1/webhooks", {"url": f"http://127.0.0.1:{port}/", "events": ["held"]})
    with running(name, tmp_path, {**os.environ, "WEBHOOK_SECRET": hook["secret"], "PORT": str(port)}) as output:

        def delivered() -> bool:
            return bool(suite.api.post(f"/v1/webhooks/{hook['id']}:test").json()["state"] == "delivered")

        until(delivered, "the receiver accepts a signed event")
        assert output.readline().startswith("test test-")
        suite.api.post(f"/v1/webhooks/{hook['id']}:rotate-secret", json={"overlap_minutes": 5})
        assert delivered(), "during the overlap the former secret is still valid"
        suite.api.post(f"/v1/webhooks/{hook['id']}:rotate-secret", json={"overlap_minutes": 0})
        assert suite.api.post(f"/v1/webhooks/{hook['id']}:test").json()["http_status"] == 400
    world.remove(suite, f"/v1/webhooks/{hook['id']}")


@pytest.mark.parametrize("name", ["stream.py", "stream.ts"])
def test_streams_are_resumed(suite: Suite, sender_key: str, tmp_path: Path, name: str) -> None:
    environment = settings(suite, admin_key(suite), LAST_ID_FILE=str(tmp_path / "last"))
    with running(name, tmp_path, environment) as output:
        assert output.readline() == "connected\n"
        send(suite, sender_key, "one@far.test")
        assert output.readline() == "delivered one@far.test\n"
        until(lambda: (tmp_path / "last").exists(), "the id of the last event is stored")
    send(suite, sender_key, "two@far.test")
    with running(name, tmp_path, environment) as output:
        assert output.readline() == "connected\n"
        assert output.readline() == "delivered two@far.test\n"


@pytest.mark.parametrize("name", ["send.py", "send.ts"])
def test_a_message_with_an_attachment_is_sent(suite: Suite, sender_key: str, tmp_path: Path, name: str) -> None:
    far: SmtpSink = suite.far  # type: ignore[attr-defined]
    far.clear()
    with running(name, tmp_path, settings(suite, sender_key)) as output:
        queue_id = output.readline().strip()
        (taken,) = far.wait_for_messages(1)
    shown = suite.api.get(f"/v1/queue/messages/{queue_id}").json()
    assert shown["origin"]["account_login"] == world.LOGIN
    message = email.message_from_bytes(taken.header + b"\r\n" + taken.body, policy=email.policy.default)
    assert str(message["From"]) == f"Jürgen Müller <{world.ALICE}>"
    assert message["Subject"] == "Schöne Grüße"
    (attachment,) = message.iter_attachments()
    assert attachment.get_filename() == "Übersicht.csv"
    assert attachment.get_payload(decode=True) == "Größe;1\n".encode()


def test_each_example_exists_in_both_languages() -> None:
    assert (
        {name.partition(".")[0] for name in EXAMPLES if name.endswith(".py")}
        == {name.partition(".")[0] for name in EXAMPLES if name.endswith(".ts")}
        == {"receiver", "stream", "send"}
    )
