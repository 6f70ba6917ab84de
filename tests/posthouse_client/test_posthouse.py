"""The hand-written part of the client, with a real config_api."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from posthouse_client import Posthouse, ProblemError
from posthouse_client.api.accounts import create_account, delete_account, get_account, list_accounts, update_account
from posthouse_client.api.general import get_general_settings, update_general_settings
from posthouse_client.models import Account, AccountPatch, GeneralSettings, GeneralSettingsPatch, ProfilePatch

from tests.config_api.service import ADMIN_KEY, Service, running
from tests.posthouse_client.lossy_proxy import lossy_proxy

ROOT = Path(__file__).parents[2]
T = TypeVar("T")


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with running(f"sqlite:///{tmp_path / 'config.sqlite3'}", tmp_path) as started:
        yield started


async def with_client(port: int, work: Callable[[Posthouse], T]) -> T:
    """Runs a function that uses the client. It runs in a thread, because the service runs in this event loop."""

    def program() -> T:
        with Posthouse(f"http://127.0.0.1:{port}", ADMIN_KEY) as posthouse:
            return work(posthouse)

    return await asyncio.to_thread(program)


async def test_a_change_that_conflicts_is_made_again_on_the_newest_version(service: Service) -> None:
    loop, edits = asyncio.get_running_loop(), []

    def edit(settings: GeneralSettings) -> GeneralSettingsPatch:
        edits.append(settings.profile.banner)
        if len(edits) == 1:
            other = service.change("/v1/settings/general", {"profile": {"banner": "ESMTP somebody else"}})
            asyncio.run_coroutine_threadsafe(other, loop).result(60)
        return GeneralSettingsPatch(profile=ProfilePatch(hostname="mine.example.com"))

    changed = await with_client(
        service.http_port,
        lambda posthouse: posthouse.change(
            get_general_settings.sync_detailed, update_general_settings.sync_detailed, edit
        ),
    )
    assert edits[1:] == ["ESMTP somebody else"], "the second edit saw the change of another client"
    assert changed.value.profile.hostname == "mine.example.com"
    assert changed.etag
    profile = (await service.get("/v1/settings/general"))["profile"]
    assert (profile["hostname"], profile["banner"]) == ("mine.example.com", "ESMTP somebody else")


async def test_a_refused_change_is_raised_with_the_fields_at_fault(service: Service) -> None:
    patch = GeneralSettingsPatch(profile=ProfilePatch(hostname="not a hostname"))

    def change(posthouse: Posthouse) -> None:
        posthouse.change(get_general_settings.sync_detailed, update_general_settings.sync_detailed, lambda _: patch)

    with pytest.raises(ProblemError, match="/profile/hostname") as caught:
        await with_client(service.http_port, change)
    assert (caught.value.status, caught.value.code) == (422, "invalid")
    assert [(error.location, error.pointer) for error in caught.value.errors] == [("body", "/profile/hostname")]
    assert caught.value.request_id


async def test_a_list_is_read_page_after_page(service: Service) -> None:
    logins = [f"user{number}" for number in range(5)]
    for login in logins:
        await service.make("accounts", {"login": login})
    listed = await with_client(
        service.http_port,
        lambda posthouse: [account.login for account in posthouse.items(list_accounts.sync, limit=2)],
    )
    assert listed == logins
    filtered = await with_client(
        service.http_port, lambda posthouse: list(posthouse.items(list_accounts.sync, login="user3"))
    )
    assert [account.login for account in filtered] == ["user3"]


async def test_a_request_whose_answer_was_lost_is_repeated_and_done_once(service: Service) -> None:
    async with lossy_proxy(service.http_port, losses=2) as proxy:
        written = await with_client(
            proxy.port,
            lambda posthouse: posthouse.send(create_account.sync_detailed, body=Account(login="alice")),
        )
    assert (proxy.losses, proxy.answered, written.replayed) == (0, 3, True)
    accounts = (await service.get("/v1/accounts"))["items"]
    assert [account["id"] for account in accounts] == [str(written.value.id)]


async def test_a_refused_request_is_not_sent_again(service: Service) -> None:
    await service.make("accounts", {"login": "alice"})
    async with lossy_proxy(service.http_port, losses=0) as proxy:
        with pytest.raises(ProblemError) as caught:
            await with_client(
                proxy.port,
                lambda posthouse: posthouse.send(create_account.sync_detailed, body=Account(login="alice")),
            )
    assert (caught.value.status, caught.value.code, proxy.answered) == (409, "conflict", 1)


async def test_an_object_is_changed_and_deleted_by_its_id(service: Service) -> None:
    made = await service.make("accounts", {"login": "alice"})

    def change_and_delete(posthouse: Posthouse) -> None:
        changed = posthouse.change(
            get_account.sync_detailed, update_account.sync_detailed, lambda _: AccountPatch(enabled=False), made["id"]
        )
        assert changed.value.enabled is False
        assert posthouse.delete(get_account.sync_detailed, delete_account.sync_detailed, made["id"]).value is None
        with pytest.raises(ProblemError) as caught:
            get_account.sync(made["id"], client=posthouse.client)
        assert caught.value.status == 404

    await with_client(service.http_port, change_and_delete)
    assert (await service.get("/v1/accounts"))["items"] == []


def test_importing_the_client_loads_neither_http_nor_models() -> None:
    """The command line imports the client even when it only shows its help."""
    program = "import posthouse_client, sys; print(sorted({'httpx', 'attrs', 'attr'} & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT / "clients" / "python", capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


def test_one_model_can_be_loaded_without_the_others() -> None:
    program = (
        "import sys; from posthouse_client.models import Account;"
        "print(len([name for name in sys.modules if name.startswith('posthouse_client.models.')]))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT / "clients" / "python", capture_output=True, text=True, check=True
    )
    assert int(loaded.stdout) == 1


def test_the_client_is_in_the_distribution_of_posthouse(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"posthouse_client/posthouse.py", "posthouse_client/py.typed"} <= names
    assert any(name.startswith("posthouse_client/api/") for name in names)
