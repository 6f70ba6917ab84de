"""A Python client that was generated from the committed document configures the running service."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.config_api.service import ADMIN_KEY, Service

DOCUMENT = Path(__file__).parents[3] / "openapi.json"
GENERATOR = Path(__file__).parents[3] / "clients" / "python" / "generator.yaml"


async def _generate(folder: Path) -> None:
    configuration = folder / "generator.yaml"
    configuration.write_text(GENERATOR.read_text() + "package_name_override: posthouse_generated\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "openapi_python_client", "generate", "--path", str(DOCUMENT)),
        *("--output-path", str(folder / "posthouse_generated"), "--meta", "none", "--config", str(configuration)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert "WARNING" not in output.decode(), output.decode()


@pytest.mark.timeout(300)
async def test_a_generated_client_configures_the_service(
    on_sqlite: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _generate(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    await asyncio.to_thread(_configure, on_sqlite.http_port)
    policy, _ = await on_sqlite.policy(lambda found: found.accounts)
    assert policy.general.profile.max_hops == 7
    assert policy.local_domains[0].domain == "ours.example"
    assert list(policy.accounts[0].addresses) == ["alice@ours.example"]


def _configure(port: int) -> None:
    models: Any = importlib.import_module("posthouse_generated.models")
    client = importlib.import_module("posthouse_generated").AuthenticatedClient(
        base_url=f"http://127.0.0.1:{port}", token=ADMIN_KEY, raise_on_unexpected_status=True
    )

    def call(tag: str, operation: str, **given: Any) -> Any:
        found = importlib.import_module(f"posthouse_generated.api.{tag}.{operation}")
        return found.sync_detailed(client=client, **given)

    general = call("general", "get_general_settings")
    patch = models.GeneralSettingsPatch(profile=models.ProfilePatch(max_hops=7))
    changed = call("general", "update_general_settings", body=patch, if_match=general.headers["etag"])
    assert changed.parsed.profile.max_hops == 7
    # PUT accepts what GET returned.
    general = call("general", "get_general_settings")
    again = call("general", "replace_general_settings", body=general.parsed, if_match=general.headers["etag"])
    assert again.status_code == 200
    mailbox = models.MaildirMailbox(kind="maildir", path="/srv/mail")
    call("local_domains", "create_local_domain", body=models.LocalDomain(name="ours.example", mailbox=mailbox))
    account = models.Account(login="alice", password="a password", addresses=["alice@ours.example"])
    made = call("accounts", "create_account", body=account)
    assert made.parsed.password_set
    assert call("accounts", "list_accounts", login="ALICE").parsed.items[0].id == made.parsed.id
    document = call("configuration", "export_configuration").parsed
    assert call("configuration", "import_configuration", body=document, if_match="*").parsed.changes == []
    stale = call("general", "update_general_settings", body=patch, if_match='"0"')
    assert (stale.status_code, stale.parsed.status) == (412, 412)
