"""The running suite is configured through the Python client that openapi-python-client generates."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e import world
from tests.peers.process import until
from tests.peers.suite import ROOT, Suite

pytestmark = pytest.mark.e2e


def test_a_domain_made_by_the_generated_client_takes_mail(
    start_suite: Callable[[Suite], Suite], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(
        [
            Path(sys.executable).with_name("openapi-python-client"),
            *("generate", "--path", ROOT / "openapi.json", "--output-path", tmp_path / "posthouse_client"),
            *("--meta", "none", "--fail-on-warning", "--config", ROOT / "clients/python/generator.yaml"),
        ],
        check=True,
        capture_output=True,
    )
    (tmp_path / "use.py").write_bytes((ROOT / "clients/python/use.py").read_bytes())
    monkeypatch.syspath_prepend(tmp_path)
    client_module, use = importlib.import_module("posthouse_client"), importlib.import_module("use")
    suite = start_suite(Suite())
    client = client_module.AuthenticatedClient(base_url=suite.api_url, token=suite.admin_key)
    use.rename(client, "gateway.ours.test")
    identifier = use.add_domain(client, "ours.test", str(suite.folder / "mail"))
    assert suite.api.get(f"/v1/local-domains/{identifier}").json()["name"] == "ours.test"
    until(lambda: world.reply_to_rcpt(suite, "postmaster@ours.test") == (250, "2.1.5"), "the domain takes mail")
