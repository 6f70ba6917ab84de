"""A running suite for the jobs of the clients in several languages, and the check of a job's result."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e import world
from tests.peers.process import until
from tests.peers.suite import Suite

RunJob = Callable[[str, Sequence[str | Path], Path], None]


@pytest.fixture(scope="session")
def suite() -> Iterator[Suite]:
    with Suite() as running:
        yield running


def run(arguments: Sequence[str | Path], folder: Path, **environment: str) -> str:
    """Runs a program in a folder and returns its output. A failure shows this output."""
    process = subprocess.run(
        arguments, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, f"{arguments[0]}:\n{process.stdout}{process.stderr}"
    return process.stdout


def _is_taken(suite: Suite, address: str) -> bool:
    return world.reply_to_rcpt(suite, address)[0] == 250


@pytest.fixture
def run_job(suite: Suite) -> RunJob:
    """Runs a compiled job for a domain, and checks that the suite is in the state that the job must produce."""

    def run_and_check(domain: str, arguments: Sequence[str | Path], folder: Path) -> None:
        environment = {"POSTHOUSE_URL": suite.api_url, "POSTHOUSE_KEY": suite.admin_key}
        report = json.loads(run([*arguments, domain, str(suite.folder / "mail" / domain)], folder, **environment))
        assert report["hostname"] == f"gateway.{domain}"
        assert suite.api.get("/v1/settings/general").json()["profile"]["hostname"] == f"gateway.{domain}"
        assert suite.api.get(f"/v1/local-domains/{report['domain_id']}").json()["name"] == domain
        addresses = {f"{name}@{domain}" for name in ("alice", "bob", "carol")}
        assert addresses <= set(report["addresses"])
        assert report["refusal"] == "conflict"
        for address in addresses:
            until(functools.partial(_is_taken, suite, address), f"mail to {address} is accepted")

    return run_and_check
