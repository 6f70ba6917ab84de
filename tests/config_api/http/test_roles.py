"""Each role may call its operations and no others. The role is checked before any part of the body is read."""

from __future__ import annotations

import asyncio
import json
import resource
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.config_api.app import describe_app
from services.config_api.http.middleware import _is_deeper
from services.config_api.http.roles import RoleTable
from services.config_api.resources.api_keys import ROLES
from tests.config_api.service import Service, running

TABLE = RoleTable(describe_app().state.routes).roles
# A reader may call every GET operation except `_ADMINS_GETS`, and these operations. Only an admin may call an operation
# that is in no set.
_READERS_POSTS = {"explainSession", "explainRoute"}
_OPERATORS = {
    *(f"{verb}{noun}" for verb in ("retry", "hold", "release", "bounce", "delete") for noun in ("Message", "Messages")),
    "resumeDestination",
    "suspendDestination",
    "runChecks",
    "testRelayHost",
    "deleteBlockedClient",
    "resendWebhookDelivery",
    "testWebhook",
}
_SENDERS = {"submitMessage"}
_ADMINS_GETS = {"getApiKey", "getQueuedMessageContent", "listApiKeys", "listAuditEntries"}


def _expected(operation: str, method: str) -> str:
    if operation in _SENDERS or operation == "getMessage":
        return "sender"
    if operation in _OPERATORS:
        return "operator"
    if (method == "GET" and operation not in _ADMINS_GETS) or operation in _READERS_POSTS:
        return "reader"
    return "admin"


async def test_each_role_may_call_exactly_its_operations(on_sqlite: Service) -> None:
    """The role of each route is compared with the sets above, and each route is tried with a key of each role."""
    await on_sqlite.make("accounts", {"login": "alice"})
    account = {"sender": {"account": "alice"}}
    keys = {
        role: (await on_sqlite.make("api-keys", {"name": f"{role}'s", "role": role, **account.get(role, {})}))["key"]
        for role in ROLES
    }
    seen: dict[str, dict[str, bool]] = {}
    for route, role in TABLE:
        [method] = route.methods or {"none"}
        operation = str(route.operation_id)
        assert role == _expected(operation, method), operation
        path = route.path_format
        for name in route.param_convertors:
            path = path.replace("{" + name + "}", "none")
        seen[operation] = {}
        for caller, key in keys.items():
            # No operation accepts this media type. A caller who is allowed gets 415 or an error about the path, but
            # never 403.
            answer = await on_sqlite.api.request(
                method, path, content=b"x", headers={"Authorization": f"Bearer {key}", "Content-Type": "text/plain"}
            )
            # Only a key that belongs to an account may submit mail.
            may = caller == role if operation in _SENDERS else ROLES.index(caller) >= ROLES.index(role)
            assert (answer.status_code != 403) is may, (operation, caller, answer.text)
            if not may and operation not in _SENDERS:
                assert answer.json()["required_role"] == role
            seen[operation][caller] = may
        for authorization in ({}, {"Authorization": "Bearer ph_0000000000_x"}):
            headers = {"Authorization": "", **authorization}
            answer = await on_sqlite.api.request(method, path, content=b"x", headers=headers)
            assert answer.status_code in (401, 429), (operation, answer.text)
    assert len(seen) == len(TABLE) > 100


async def test_the_large_body_of_a_request_without_the_needed_role_is_not_read(on_sqlite: Service) -> None:
    """Four imports of 58 MB are refused before their bodies have come, and the process grows by less than 20 MiB."""
    key = (await on_sqlite.make("api-keys", {"name": "r", "role": "reader"}))["key"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    length = 58 * 1_048_576
    head = (
        f"POST /v1/config:import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()
    for _ in range(4):
        reader, writer = await asyncio.open_connection("127.0.0.1", on_sqlite.http_port)
        writer.write(head + b"[" * 65_536)
        async with asyncio.timeout(60):
            assert (await reader.readline()).split()[1] == b"403"
        writer.close()
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 20 * 1024


async def test_metrics_need_a_key_of_the_role_reader(on_sqlite: Service) -> None:
    address = f"http://127.0.0.1:{on_sqlite.http_port}"
    async with httpx.AsyncClient(base_url=address, timeout=60, verify=False) as stranger:
        assert (await stranger.get("/metrics")).status_code == 401
        assert (await stranger.get("/healthz")).status_code == 200
    key = (await on_sqlite.make("api-keys", {"name": "r", "role": "reader"}))["key"]
    answer = await on_sqlite.api.get("/metrics", headers={"Authorization": f"Bearer {key}"})
    assert "posthouse_config_api_requests_total" in answer.text


async def test_a_request_with_two_lengths_ends_the_connection(on_sqlite: Service) -> None:
    """When a request has two lengths, no octets after it are read as a further request (RFC 9112 section 6.1)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", on_sqlite.http_port)
    key = on_sqlite.api.headers["Authorization"]
    head = f"POST /v1/explain/route HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\nContent-Type: application/json\r\n"
    body = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    second = f"GET /v1/settings/general HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n\r\n"
    writer.write((head + body + second).encode())
    async with asyncio.timeout(60):
        answered = await reader.read()
    assert answered.count(b"HTTP/1.1 ") == 1
    writer.close()


@pytest.mark.parametrize(
    ("body", "is_deeper"),
    [
        ([[]], False),
        ([[[]]], True),
        ({"a": [{}]}, True),
        ({"a": "[[[[", 'b"\\': "{{{"}, False),
        ([[], [], {}], False),
    ],
)
def test_nesting_is_measured_outside_strings(body: Any, is_deeper: bool) -> None:
    assert _is_deeper(json.dumps(body).encode(), 2) is is_deeper


def test_json_that_only_opens_brackets_is_too_deep() -> None:
    assert _is_deeper(b"[" * 100_000, 32)
    assert _is_deeper(b"[" * 33 + b"]" * 33, 32)
    assert not _is_deeper(b"[" * 32 + b"]" * 32, 32)
    assert not _is_deeper(b"[],[]," * 100_000, 32)


# API keys


async def _status(service: Service, key: str) -> int:
    answer = await service.api.get("/v1/settings/general", headers={"Authorization": f"Bearer {key}"})
    return answer.status_code


async def test_a_key_is_rotated_in_one_call_with_an_overlap(service: Service) -> None:
    made = await service.make("api-keys", {"name": "ci", "role": "reader"})
    path = f"/v1/api-keys/{made['id']}"
    answer = await service.api.post(f"{path}:rotate")
    assert answer.status_code == 200, answer.text
    rotated = answer.json()
    assert (rotated["id"], rotated["name"], rotated["role"]) == (made["id"], "ci", "reader")
    assert rotated["previous_key_ends_at"] is not None
    assert [await _status(service, key) for key in (made["key"], rotated["key"])] == [200, 200]
    # Both keys belong to one id, and a change of the object keeps both.
    await service.change(path, {"role": "operator"})
    assert [await _status(service, key) for key in (made["key"], rotated["key"])] == [200, 200]
    for prefix in (made["prefix"], rotated["prefix"]):
        assert [item["id"] for item in (await service.get(f"/v1/api-keys?prefix={prefix}"))["items"]] == [made["id"]]
    last = await service.api.post(f"{path}:rotate", json={"overlap_minutes": 0})
    assert last.json()["previous_key_ends_at"] is None
    keys = (made["key"], rotated["key"], last.json()["key"])
    assert [await _status(service, key) for key in keys] == [401, 401, 200]
    assert (await service.api.post(f"{path}:rotate", json={"overlap_minutes": -1})).status_code == 422
    assert (await service.api.post("/v1/api-keys/none:rotate")).status_code == 404
    text = (await service.api.get("/v1/revisions")).text + (await service.api.get(path)).text
    assert not [key for key in keys if key in text]


async def test_a_secret_is_never_replayed(service: Service) -> None:
    headers = {"Idempotency-Key": "once"}
    made = await service.api.post("/v1/api-keys", json={"name": "ci", "role": "reader"}, headers=headers)
    assert made.status_code == 201
    again = await service.api.post("/v1/api-keys", json={"name": "ci", "role": "reader"}, headers=headers)
    assert (again.status_code, again.json()["type"]) == (409, "urn:posthouse:problem:already-made")
    assert (again.json()["id"], again.json()["errors"][0]["code"]) == (made.json()["id"], "already_made")
    assert made.json()["key"] not in again.text
    path = f"/v1/api-keys/{made.json()['id']}:rotate"
    rotated = await service.api.post(path, headers=headers)
    assert rotated.status_code == 409
    first = await service.api.post(path, headers={"Idempotency-Key": "twice"})
    second = await service.api.post(path, headers={"Idempotency-Key": "twice"})
    assert (first.status_code, second.status_code) == (200, 409)
    assert await _status(service, first.json()["key"]) == 200


async def test_a_new_key_with_an_old_name_gets_no_stored_answers(service: Service) -> None:
    headers = {"Idempotency-Key": "mine"}
    body = {"name": "n", "networks": ["192.0.2.0/24"]}
    old = await service.make("api-keys", {"name": "reuse", "role": "admin"})
    as_old = {**headers, "Authorization": f"Bearer {old['key']}"}
    assert (await service.api.post("/v1/trusted-networks", json=body, headers=as_old)).status_code == 201
    assert (await service.api.delete(f"/v1/api-keys/{old['id']}", headers={"If-Match": "*"})).status_code == 204
    new = await service.make("api-keys", {"name": "reuse", "role": "admin"})
    as_new = {**headers, "Authorization": f"Bearer {new['key']}"}
    answer = await service.api.post("/v1/trusted-networks", json=body, headers=as_new)
    # This counts as a new request, which finds that the name is taken.
    assert answer.status_code == 409
    assert "idempotency-replayed" not in answer.headers
    entries = (await service.get("/v1/audit-log?actor=reuse"))["items"]
    assert [entry["actor_id"] for entry in entries] == [new["id"], old["id"]]
    by_id = (await service.get(f"/v1/audit-log?actor_id={old['id']}"))["items"]
    assert [entry["action"] for entry in by_id] == ["createTrustedNetwork"]
    revision = (await service.get("/v1/revisions"))["items"]
    assert old["id"] in {entry["actor_id"] for entry in revision}


async def test_the_admin_key_is_written_only_to_its_file(
    tmp_path: Path, resolver: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with running(f"sqlite:///{tmp_path / 'c.sqlite3'}", tmp_path, nameservers=resolver, admin_key=""):
        key = (tmp_path / "admin-key").read_text().strip()
    assert key not in "".join(capfd.readouterr())
