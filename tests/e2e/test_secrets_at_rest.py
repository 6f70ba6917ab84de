"""Secrets are protected in files, environments and arguments of the processes of `posthouse up`."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.peers.process import until
from tests.peers.suite import Suite

pytestmark = pytest.mark.e2e

ADMIN_KEY, SECRET_KEY, PASSWORD = (secrets.token_urlsafe(24) for _ in range(3))


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    variables = {
        "CONFIG_API_ADMIN_KEY": ADMIN_KEY,
        "CONFIG_API_SECRET_KEY": SECRET_KEY,
        # These settings are not secret. The tests use them to see which service's variables a child process has.
        "POLICY_KEPT_SESSIONS": "9876",
        "RELAY_BACKLOG": "9876",
        "INGRESS_MAX_ERRORS": "98",
    }
    with Suite(variables, by_command=True) as running:
        yield running
        print(running.logs[-20_000:])


def read(suite: Suite, name: str, what: str) -> str:
    return Path(f"/proc/{suite.pid(name)}/{what}").read_bytes().decode()


def test_each_child_has_only_its_own_variables(suite: Suite) -> None:
    for name in suite.layout:
        environment = read(suite, name, "environ").split("\0")
        assert any(ADMIN_KEY in variable for variable in environment) == (name == "config_api")
        assert any(SECRET_KEY in variable for variable in environment) == (name == "config_api")
        others = {other.upper() + "_" for other in suite.layout if other != name}
        ports = ("INGRESS_SMTP_PORT=", "INGRESS_SUBMISSION_PORT=", "INGRESS_SMTPS_PORT=")
        for variable in environment:
            if name != "config_api" or not variable.startswith(ports):
                assert not variable.startswith(tuple(others)), (name, variable.partition("=")[0])


def test_no_argument_of_a_process_contains_a_secret(suite: Suite) -> None:
    for name in suite.layout:
        arguments = read(suite, name, "cmdline")
        assert ADMIN_KEY not in arguments
        assert SECRET_KEY not in arguments


def test_snapshot_files_contain_no_password_and_no_hash_in_plain_text(suite: Suite) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    with httpx.Client(base_url=suite.api_url, headers=headers, timeout=60) as api:
        account = {"login": "alice", "password": PASSWORD, "addresses": ["alice@ours.test"]}
        rule = {
            "name": "r",
            "type": "recipient",
            "target_type": "domain",
            "targets": ["far.test"],
            "relay_host": {
                "host": "relay.test",
                "port": 587,
                "always_tls": True,
                "auth": {"username": "snapshot-user", "password": PASSWORD},
            },
        }
        for path, body in (
            ("/v1/local-domains", {"name": "ours.test", "mailbox": {"kind": "maildir", "path": "/nowhere/x"}}),
            ("/v1/accounts", account),
            ("/v1/relay-rules", rule),
        ):
            answer = api.post(path, json=body)
            assert answer.status_code == 201, answer.text
    kept = {name: suite.folder / name / "snapshot" for name in ("policy", "relay")}
    # Encrypted content is not shorter than the plain text, so a file of this length contains what was configured.
    until(
        lambda: all(path.exists() and path.stat().st_size > 300 for path in kept.values()), "the snapshots are stored"
    )
    for name, file in kept.items():
        content = file.read_bytes()
        for secret in (PASSWORD, "argon2", "alice", "snapshot-user", "far.test"):
            assert secret.encode() not in content, name
