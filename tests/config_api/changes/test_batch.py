"""`:batch` makes many changes of a collection as one revision: all or none. Errors point to the operation at fault."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from posthouse.config.v1 import config_pb2 as pb

from services.config_api.changes import batch
from services.config_api.http.batch_routes import BATCHED
from services.config_api.resources.catalogue import COLLECTIONS
from tests.config_api.service import Service


async def post(service: Service, *operations: dict[str, Any], kind: str = "accounts", **headers: str) -> httpx.Response:
    return await service.api.post(f"/v1/{kind}:batch", json={"operations": operations}, headers=headers)


def create(**account: Any) -> dict[str, Any]:
    return {"action": "create", "object": account}


def errors(answer: httpx.Response) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in answer.json()["errors"]]


async def newest(service: Service) -> int:
    number: int = (await service.get("/v1/revisions?limit=1"))["items"][0]["number"]
    return number


async def test_a_batch_is_one_revision_and_is_in_force_as_a_whole(service: Service) -> None:
    old = await service.make("accounts", {"login": "old", "addresses": ["old@ours.example"], "password": "p"})
    gone = await service.make("accounts", {"login": "gone", "addresses": ["first@ours.example"]})
    before = await newest(service)
    tag = (await service.api.get(f"/v1/accounts/{old['id']}")).headers["etag"]
    answer = await post(
        service,
        # The address is free, because another operation of the batch removes it from its account.
        create(login="first", addresses=["First@ours.example"]),
        {"action": "replace", "id": old["id"], "if_match": tag, "object": {"login": "new", "enabled": False}},
        {"action": "delete", "id": gone["id"], "if_match": "*"},
        create(login="last"),
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["posthouse-in-force"] == "true"
    done = answer.json()
    assert done["revision"] == before + 1 == await newest(service)
    tags = [each["etag"] for each in done["objects"]]
    assert tags == [f'"{done["revision"]}"', f'"{done["revision"]}"', None, f'"{done["revision"]}"']
    assert [each["id"] for each in done["objects"][1:3]] == [old["id"], gone["id"]]
    accounts = {each["login"]: each for each in (await service.get("/v1/accounts"))["items"]}
    assert accounts.keys() == {"first", "new", "last"}
    assert accounts["first"]["id"] == done["objects"][0]["id"]
    # As with PUT, a password that is not given stays unchanged.
    assert accounts["new"]["password_set"]
    assert [(each["pointer"], each["code"]) for each in done["warnings"]] == [
        ("/operations/0/object/addresses/0", "domain_not_local")
    ]
    policy, _ = await service.policy(lambda found: len(found.accounts) == 2)
    assert {account.login for account in policy.accounts} == {"first", "last"}
    changes = (await service.get(f"/v1/revisions/{done['revision']}"))["changes"]
    assert sorted(change["event"] for change in changes) == ["changed", "made", "made", "removed"]
    entry = (await service.get("/v1/audit-log?limit=1"))["items"][0]
    assert (entry["action"], entry["target"], entry["revision"]) == ("batchAccounts", "accounts:batch", before + 1)


async def test_a_batch_with_a_faulty_operation_changes_nothing(service: Service) -> None:
    taken = await service.make("accounts", {"login": "taken"})
    before = await newest(service)
    path = f"/v1/accounts/{taken['id']}"
    old_tag = (await service.api.get(path)).headers["etag"]
    await service.change(path, {"enabled": False})
    at = {"id": taken["id"], "if_match": "*"}
    missing = "01900000-0000-7000-8000-000000000000"
    faults: list[tuple[int, tuple[dict[str, Any], ...], list[tuple[str, str]]]] = [
        (409, (create(login="a"), create(login="TAKEN")), [("/operations/1/object/login", "taken")]),
        (409, (create(login="b"), create(login="B")), [("/operations/1/object/login", "taken")]),
        (422, (create(login=""), create(logn="x")), [("/operations/0/object/login", "too_short")]),
        (404, ({"action": "delete", "id": missing, "if_match": "*"},), [("/operations/0/id", "not_found")]),
        (
            412,
            (create(login="c"), {"action": "delete", "id": taken["id"], "if_match": old_tag}),
            [("/operations/1/if_match", "stale")],
        ),
        (422, ({"action": "delete", **at}, {"action": "delete", **at}), [("/operations/1/id", "twice")]),
        (422, ({"action": "delete", "id": taken["id"]},), [("/operations/0/if_match", "missing")]),
        (422, ({"action": "create"},), [("/operations/0/object", "missing")]),
        (422, ({**create(login="d"), "id": missing},), [("/operations/0/id", "unknown_member")]),
        (422, ({"action": "rename"},), [("/operations/0/action", "not_one_of")]),
    ]
    for status, operations, wanted in faults:
        answer = await post(service, *operations)
        assert (answer.status_code, errors(answer)[: len(wanted)]) == (status, wanted), answer.text
    assert await newest(service) == before + 1
    assert [each["login"] for each in (await service.get("/v1/accounts"))["items"]] == ["taken"]


async def test_a_batch_refuses_the_values_that_a_single_write_refuses(on_sqlite: Service) -> None:
    rule = {
        "name": "r",
        "type": "recipient",
        "target_type": "domain",
        "targets": ["far.example"],
        "relay_host": {"host": "smart.example", "verify_certificate": True},
    }
    answer = await post(on_sqlite, {"action": "create", "object": rule}, kind="relay-rules")
    assert answer.status_code == 422
    assert errors(answer) == [("/operations/0/object/relay_host/verify_certificate", "verify_without_tls")]


async def test_a_batch_above_the_limits_of_size_is_refused(on_sqlite: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    (accounts,) = [each for each in COLLECTIONS if each.kind == "accounts"]
    assert (accounts.most_in_batch, batch.MOST_PASSWORDS) == (5000, 200)
    answer = await post(on_sqlite, *(create(login=f"u{number}") for number in range(5001)))
    assert (answer.status_code, errors(answer)) == (422, [("/operations", "too_long")])
    with_passwords = [create(login=f"u{number}", password="p") for number in range(201)]
    answer = await post(on_sqlite, *with_passwords)
    assert answer.status_code == 422
    assert errors(answer) == [("/operations/200/object/password", "too_many_passwords")]
    answer = await post(on_sqlite, *(create(login=f"u{number}") for number in range(5000)))
    assert (answer.status_code, len(answer.json()["objects"])) == (200, 5000)
    monkeypatch.setattr(batch, "MOST_PASSWORDS", 1)
    answer = await post(on_sqlite, create(login="secret", password="p"))
    assert answer.status_code == 200
    assert "password" not in answer.text


async def test_a_batch_whose_request_is_repeated_is_done_once(service: Service) -> None:
    first = await post(service, create(login="once"), **{"Idempotency-Key": "k"})
    again = await post(service, create(login="once"), **{"Idempotency-Key": "k"})
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")


async def test_a_batch_that_changes_nothing_makes_no_revision(service: Service) -> None:
    made = await service.make("trusted-networks", {"name": "n", "networks": ["192.0.2.0/24"]})
    before = await newest(service)
    same = {"name": "n", "networks": ["192.0.2.0/24"]}
    operation = {"action": "replace", "id": made["id"], "if_match": "*", "object": same}
    answer = await post(service, operation, kind="trusted-networks")
    tag = (await service.api.get(f"/v1/trusted-networks/{made['id']}")).headers["etag"]
    assert answer.json()["objects"] == [{"id": made["id"], "etag": tag}]
    assert (answer.json()["revision"], await newest(service)) == (before, before)


async def test_every_collection_has_a_batch_unless_its_secrets_are_shown_once(on_sqlite: Service) -> None:
    document = (await on_sqlite.api.get("/openapi.json")).json()
    batches = {path for path in document["paths"] if path.endswith(":batch")}
    assert batches == {f"/v1/{each.kind}:batch" for each in BATCHED}
    for each in BATCHED:
        answer = await post(on_sqlite, kind=each.kind)
        assert (answer.status_code, answer.json()["objects"]) == (200, []), each.kind
    # The API shows secrets of these two kinds once, when they are created.
    assert {each.kind for each in COLLECTIONS} - {each.kind for each in BATCHED} == {"api-keys", "webhooks"}


async def test_a_dkim_key_in_a_batch_gets_its_private_key(service: Service) -> None:
    key = {"domain": "ours.example", "selector": "a", "algorithm": "ed25519-sha256"}
    answer = await post(service, {"action": "create", "object": key}, kind="dkim-keys")
    assert answer.status_code == 200, answer.text
    relay, _ = await service.relay(lambda found: found.dkim_keys)
    assert isinstance(relay, pb.RelaySnapshot)
    assert relay.dkim_keys[0].private_key.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert "PRIVATE KEY" not in json.dumps(answer.json())
