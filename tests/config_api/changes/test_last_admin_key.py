"""An API key that is removed is refused at once, and the last key of an admin cannot be removed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.config_api.changes.first_run import ADMIN_KEY_FILE
from tests.config_api.service import Service, running
from tests.peers.postgres import Postgres

GENERAL = "/v1/settings/general"


async def _status(service: Service, key: str) -> int:
    return (await service.api.get(GENERAL, headers={"Authorization": f"Bearer {key}"})).status_code


async def test_a_key_is_refused_as_soon_as_its_removal_is_answered(service: Service) -> None:
    for number in range(5):
        key = await service.make("api-keys", {"name": f"a {number}", "role": "admin"})
        assert await _status(service, key["key"]) == 200
        path = f"/v1/api-keys/{key['id']}"
        # The replica checks keys against a copy in memory, which it updates a moment after the answer. Even before
        # that update it must not accept the removed key.
        changed = await service.api.patch(path, json={"role": "reader"}, headers={"If-Match": "*"})
        assert changed.status_code == 200
        headers = {"Authorization": f"Bearer {key['key']}", "If-Match": "*"}
        assert (await service.api.patch(GENERAL, json={}, headers=headers)).status_code == 403
        assert await _status(service, key["key"]) == 200
        if number % 2:
            assert (await service.api.delete(path, headers={"If-Match": "*"})).status_code == 204
        else:
            ended = await service.api.patch(
                path, json={"expires_at": "2020-01-01T00:00:00Z"}, headers={"If-Match": "*"}
            )
            assert ended.status_code == 200
        assert await _status(service, key["key"]) == 401


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'c.sqlite3'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.create_database()


async def test_the_last_key_of_an_admin_cannot_be_removed_or_weakened(
    fresh_url: str, tmp_path: Path, resolver: str
) -> None:
    async with running(fresh_url, tmp_path, nameservers=resolver, admin_key="") as service:
        service.api.headers["Authorization"] = f"Bearer {(tmp_path / ADMIN_KEY_FILE).read_text().strip()}"
        service.api.headers["If-Match"] = "*"
        [first] = (await service.get("/v1/api-keys"))["items"]
        await service.make("api-keys", {"name": "reads", "role": "reader"})
        await service.make("api-keys", {"name": "ended", "role": "admin", "expires_at": "2020-01-01T00:00:00Z"})
        path = f"/v1/api-keys/{first['id']}"
        before = (await service.api.get(path)).headers["etag"]
        whole = {"name": "admin", "role": "operator"}
        for answer in (
            await service.api.delete(path),
            await service.api.patch(path, json={"role": "reader"}),
            await service.api.patch(path, json={"expires_at": "2020-01-01T00:00:00Z"}),
            await service.api.put(path, json=whole),
        ):
            assert (answer.status_code, answer.json()["type"]) == (409, "urn:posthouse:problem:last-admin-key")
        assert (await service.api.get(path)).headers["etag"] == before
        assert (await service.api.patch(path, json={"name": "the admin"})).status_code == 200
        # Two keys are removed at the same moment, and one of them stays.
        second = await service.make("api-keys", {"name": "second", "role": "admin"})
        answers = await asyncio.gather(
            *(service.api.delete(f"/v1/api-keys/{key}") for key in (first["id"], second["id"]))
        )
        assert sorted(answer.status_code for answer in answers) in ([204, 401], [204, 409])


async def test_a_restart_gives_access_when_all_admin_keys_have_expired(
    fresh_url: str, tmp_path: Path, resolver: str
) -> None:
    async with running(fresh_url, tmp_path, nameservers=resolver) as service:
        # A key in the environment still gives access, whatever happens to the other keys.
        for name in ("admin", "Admin 2"):
            made = await service.make("api-keys", {"name": name, "role": "admin"})
            await service.change(f"/v1/api-keys/{made['id']}", {"expires_at": "2020-01-01T00:00:00Z"})
    async with running(fresh_url, tmp_path, nameservers=resolver, admin_key="") as service:
        service.api.headers["Authorization"] = f"Bearer {(tmp_path / ADMIN_KEY_FILE).read_text().strip()}"
        assert [key["name"] for key in (await service.get("/v1/api-keys"))["items"]] == ["admin", "Admin 2", "admin 3"]


async def test_a_key_cannot_have_the_name_of_the_service_or_of_the_environment_key(on_sqlite: Service) -> None:
    for name in ("CONFIG_API_ADMIN_KEY", "config_api_admin_key", "Posthouse"):
        answer = await on_sqlite.api.post("/v1/api-keys", json={"name": name, "role": "reader"})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/name"), name
