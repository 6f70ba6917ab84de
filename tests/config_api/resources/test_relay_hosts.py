"""TLS of relay hosts: the defaults that depend on other members, and what protects a stored password (F42, F52)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.config_api.resources.catalogue import RESOURCES
from services.config_api.resources.defaults import complete, without_repeated_defaults
from tests.config_api.resources.test_collections import BODIES
from tests.config_api.service import Service

DELIVERY = "/v1/settings/delivery"
LOGIN = {"username": "gateway", "password": "hunter22"}


def _rule(**host: Any) -> dict[str, Any]:
    targets = {"name": "x", "type": "sender", "target_type": "domain", "targets": ["a.example"]}
    return {**targets, "relay_host": {"host": "smart.example", **host}}


def _tls(body: dict[str, Any]) -> tuple[bool, bool, bool]:
    host = body["relay_host"]
    return host["always_tls"], host["implicit_tls"], host["verify_certificate"]


async def test_f52_tls_that_a_change_requires_is_verified(service: Service) -> None:
    made = await service.make("relay-rules", _rule())
    path = f"/v1/relay-rules/{made['id']}"
    assert _tls(made) == (False, False, False)
    assert _tls(await service.change(path, {"relay_host": {"always_tls": True}})) == (True, False, True)
    relay, _ = await service.relay(lambda found: found.relay_rules[0].relay_host.always_tls)
    assert relay.relay_rules[0].relay_host.verify_certificate
    assert _tls(await service.change(path, {"relay_host": {"always_tls": None, "port": 465}})) == (False, True, True)
    assert _tls(await service.change(path, {"relay_host": {"port": 587}})) == (False, False, False)


async def test_f52_a_derived_verification_stays_derived_after_get_and_put(service: Service) -> None:
    made = await service.make("relay-rules", _rule())
    path = f"/v1/relay-rules/{made['id']}"
    for edit, tls in (
        ({"always_tls": True}, (True, False, True)),
        ({"always_tls": False}, (False, False, False)),
        ({"port": 465}, (False, True, True)),
        ({"port": 25}, (False, False, False)),
    ):
        answer = await service.api.get(path)
        body = {name: value for name, value in answer.json().items() if name not in ("id", "created_at", "updated_at")}
        body.pop("warnings", None)
        body["relay_host"] |= edit
        put = await service.api.put(path, json=body, headers={"If-Match": answer.headers["etag"]})
        assert put.status_code == 200, put.text
        assert _tls(put.json()) == tls, edit


async def test_values_that_an_operator_has_set_do_not_change(service: Service) -> None:
    made = await service.make("relay-rules", _rule(always_tls=True, verify_certificate=False))
    path = f"/v1/relay-rules/{made['id']}"
    assert {warning["code"] for warning in made["warnings"]} == {"unverified_tls"}
    assert _tls(await service.change(path, {"position": 3})) == (True, False, False)
    assert _tls(await service.change(path, {"relay_host": {"verify_certificate": None}})) == (True, False, True)
    assert _tls(await service.change(path, {"relay_host": {"port": 465, "implicit_tls": False}})) == (True, False, True)
    assert _tls(await service.change(path, {"relay_host": {"always_tls": False}})) == (False, False, False)


@pytest.mark.parametrize("host", [{}, {"port": 465, "implicit_tls": False}, {"always_tls": False}])
async def test_f52_verification_without_required_tls_is_refused(on_sqlite: Service, host: dict[str, Any]) -> None:
    answer = await on_sqlite.api.post("/v1/relay-rules", json=_rule(**host, verify_certificate=True))
    assert answer.status_code == 422
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [
        ("/relay_host/verify_certificate", "verify_without_tls")
    ]


@pytest.mark.parametrize(
    ("host", "patch"),
    [
        ({"always_tls": True}, {"always_tls": False}),
        ({"always_tls": True}, {"verify_certificate": False}),
        ({"always_tls": True}, {"auth": {"allow_without_tls": True}}),
        ({}, {"auth": {"allow_without_tls": True}}),
        ({"port": 465}, {"implicit_tls": False}),
        ({"port": 465, "always_tls": True}, {"always_tls": False, "implicit_tls": False}),
    ],
)
async def test_f42_less_tls_needs_the_password_again(
    on_sqlite: Service, host: dict[str, Any], patch: dict[str, Any]
) -> None:
    made = await on_sqlite.make("relay-rules", _rule(**host, auth=LOGIN))
    path = f"/v1/relay-rules/{made['id']}"
    answer = await on_sqlite.api.patch(path, json={"relay_host": patch}, headers={"If-Match": "*"})
    assert answer.status_code == 422, answer.text
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [
        ("/relay_host/auth/password", "secret_needed")
    ]
    auth = {**patch.get("auth", {}), "password": "again"}
    changed = await on_sqlite.change(path, {"relay_host": {**patch, "auth": auth}})
    assert "unverified_password" in {warning["code"] for warning in changed["warnings"]} or host == {"always_tls": True}
    # A change to more protection never needs the password again.
    await on_sqlite.change(path, {"relay_host": {"always_tls": True, "verify_certificate": None}})


async def test_f42_less_tls_for_the_single_relay_host_needs_the_password_again(on_sqlite: Service) -> None:
    await on_sqlite.change(
        DELIVERY, {"mode": "relay_host", "relay_host": {"host": "smart.example", "always_tls": True, "auth": LOGIN}}
    )
    patch = {"relay_host": {"always_tls": False}}
    answer = await on_sqlite.api.patch(DELIVERY, json=patch, headers={"If-Match": "*"})
    assert answer.status_code == 422


async def test_an_export_leaves_out_derived_values(on_sqlite: Service) -> None:
    await on_sqlite.make("relay-rules", _rule())
    await on_sqlite.make("relay-rules", {**_rule(always_tls=True, verify_certificate=True), "name": "set"})
    hosts = [rule["relay_host"] for rule in (await on_sqlite.get("/v1/config:export"))["relay_rules"]]
    assert [sorted(host.keys() & {"implicit_tls", "verify_certificate"}) for host in hosts] == [
        [],
        ["verify_certificate"],
    ]


# The hash of a password and an encrypted private key are stored in members of other names.
_NOT_STORED = ("password", "password_hash", "private_key")


@pytest.mark.parametrize("kind", BODIES)
def test_absent_members_get_the_values_with_which_they_were_validated(kind: str) -> None:
    resource = RESOURCES[kind]
    for given in BODIES[kind]:
        model = resource.model.model_validate(given)
        whole = {name: value for name, value in model.model_dump(mode="json").items() if name not in _NOT_STORED}
        was_set = json.loads(model.model_dump_json(exclude_unset=True))
        if "relay_host" in whole and whole["relay_host"]["auth"] is None:
            assert complete(resource, was_set)["relay_host"] == whole["relay_host"]
        assert complete(resource, was_set) == whole
        assert without_repeated_defaults(whole, was_set, whole) == was_set
