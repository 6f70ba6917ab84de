"""The history of the configuration: revisions, differences, rollback, the audit log, export and import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.config_api.resources.test_collections import BODIES
from tests.config_api.service import ADMIN_KEY, ANY_VERSION, Service, running

GENERAL = "/v1/settings/general"
YAML = {"Content-Type": "application/yaml"}
RULE = {
    "name": "with a login",
    "type": "recipient",
    "target_type": "domain",
    "targets": ["partner.example"],
    "relay_host": {"host": "smart.example", "auth": {"username": "u", "password": "first password"}},
}


async def _newest(service: Service) -> int:
    found: int = (await service.get("/v1/revisions?limit=1"))["items"][0]["number"]
    return found


async def _export(service: Service) -> dict[str, Any]:
    return await service.get("/v1/config:export")


async def test_every_change_is_a_revision(service: Service) -> None:
    before = await _newest(service)
    made = await service.make("relay-rules", RULE)
    path = f"/v1/relay-rules/{made['id']}"
    await service.change(path, {"position": 3, "relay_host": {"auth": {"password": "second password"}}})
    tag = (await service.api.get(path)).headers["etag"]
    await service.api.delete(path, headers={"If-Match": tag})
    listed = (await service.get("/v1/revisions?limit=3"))["items"]
    assert [(item["number"], item["action"], item["actor"]) for item in listed] == [
        (before + 3, "deleteRelayRule", "CONFIG_API_ADMIN_KEY"),
        (before + 2, "updateRelayRule", "CONFIG_API_ADMIN_KEY"),
        (before + 1, "createRelayRule", "CONFIG_API_ADMIN_KEY"),
    ]
    [change] = (await service.get(f"/v1/revisions/{before + 2}"))["changes"]
    assert (change["kind"], change["id"], change["event"]) == ("relay-rules", made["id"], "changed")
    assert change["differences"] == [
        {"pointer": "/position", "before": 0, "after": 3},
        {"pointer": "/relay_host/auth/password", "secret": "changed"},
    ]
    [removal] = (await service.get(f"/v1/revisions/{before + 3}"))["changes"]
    assert removal["event"] == "removed"
    assert removal["differences"][0]["before"]["name"] == "with a login"


async def test_any_two_revisions_are_compared(service: Service) -> None:
    start = await _newest(service)
    await service.change(GENERAL, {"profile": {"max_hops": 10}})
    await service.change(GENERAL, {"profile": {"max_hops": 20, "banner": "x"}})
    await service.change(GENERAL, {"profile": {"banner": "ESMTP"}})

    async def compare(first: int, second: int) -> list[Any]:
        found = await service.get(f"/v1/revisions:diff?from_revision={first}&to_revision={second}")
        return [difference for change in found["changes"] for difference in change["differences"]]

    assert await compare(start, start + 3) == [{"pointer": "/profile/max_hops", "before": 50, "after": 20}]
    assert await compare(start + 3, start) == [{"pointer": "/profile/max_hops", "before": 20, "after": 50}]
    assert await compare(start + 1, start + 1) == []
    assert (await service.api.get(f"/v1/revisions:diff?from_revision=1&to_revision={start + 9}")).status_code == 404


async def test_a_rollback_restores_a_revision(service: Service) -> None:
    rule = await service.make("relay-rules", RULE)
    network = await service.make("trusted-networks", {"name": "office", "networks": ["192.0.2.0/24"]})
    key = await service.make("api-keys", {"name": "kept", "role": "reader"})
    point, then = await _newest(service), await _export(service)
    await service.change(GENERAL, {"profile": {"max_hops": 10}})
    await service.change(f"/v1/relay-rules/{rule['id']}", {"relay_host": {"auth": {"password": "second password"}}})
    tag = (await service.api.get(f"/v1/trusted-networks/{network['id']}")).headers["etag"]
    await service.api.delete(f"/v1/trusted-networks/{network['id']}", headers={"If-Match": tag})
    await service.make("trusted-networks", {"name": "Office", "networks": ["198.51.100.0/24"]})
    tag = (await service.api.get(f"/v1/api-keys/{key['id']}")).headers["etag"]
    await service.api.delete(f"/v1/api-keys/{key['id']}", headers={"If-Match": tag})
    newest = await _newest(service)

    dry = (await service.api.post(f"/v1/revisions/{point}:rollback?dry_run=true")).json()
    assert dry["revision"] == newest
    assert sorted(change["event"] for change in dry["changes"]) == ["changed", "changed", "made", "removed"]
    assert await _newest(service) == newest

    done = (await service.api.post(f"/v1/revisions/{point}:rollback", headers=ANY_VERSION)).json()
    assert (done["revision"], done["changes"]) == (newest + 1, dry["changes"])
    assert await _export(service) == then
    relay, _ = await service.relay(lambda found: found.profile.max_hops == 50)
    assert relay.relay_rules[0].relay_host.auth.password == "first password"
    # A rollback of the settings does not bring back access that was revoked.
    assert (await service.api.get(f"/v1/api-keys/{key['id']}")).status_code == 404
    assert (await service.get("/v1/revisions?limit=1"))["items"][0]["action"] == "rollBackRevision"
    again = (await service.api.post(f"/v1/revisions/{point}:rollback", headers=ANY_VERSION)).json()
    assert again == {"revision": newest + 1, "changes": []}
    # This rollback restores the state from before the first rollback.
    await service.api.post(f"/v1/revisions/{newest}:rollback", headers=ANY_VERSION)
    assert (await service.get(GENERAL))["profile"]["max_hops"] == 10
    assert (await service.api.post(f"/v1/revisions/{newest + 99}:rollback", headers=ANY_VERSION)).status_code == 404


async def test_the_audit_log_has_changes_and_refusals(service: Service) -> None:
    key = (await service.make("api-keys", {"name": "a reader", "role": "reader"}))["key"]
    await service.api.patch(GENERAL, json={}, headers={"Authorization": f"Bearer {key}", "If-Match": "*"})
    await service.api.patch(GENERAL, json={}, headers={"If-Match": '"999"'})
    await service.api.post("/v1/accounts", json={"login": "x", "password": 7})
    await service.api.get(GENERAL, headers={"Authorization": "Bearer wrong"})
    await service.change(GENERAL, {"profile": {"max_hops": 9}})
    entries = (await service.get("/v1/audit-log?limit=6"))["items"]
    assert [(e["actor"], e["action"], e["status"], e["problem"]) for e in entries] == [
        ("CONFIG_API_ADMIN_KEY", "updateGeneralSettings", 200, None),
        (None, "none", 401, "unauthorized"),
        ("CONFIG_API_ADMIN_KEY", "createAccount", 422, "invalid"),
        ("CONFIG_API_ADMIN_KEY", "updateGeneralSettings", 412, "precondition-failed"),
        ("a reader", "updateGeneralSettings", 403, "forbidden"),
        ("CONFIG_API_ADMIN_KEY", "createApiKey", 201, None),
    ]
    assert entries[0]["revision"] == await _newest(service)
    assert entries[0]["target"] == "settings/general"
    assert entries[1]["revision"] is None
    assert {entry["client_address"] for entry in entries} == {"127.0.0.1"}
    assert ADMIN_KEY not in json.dumps(entries)
    refused = (await service.get("/v1/audit-log?status=403"))["items"]
    assert [entry["actor"] for entry in refused] == ["a reader"]
    page = await service.get("/v1/audit-log?limit=2")
    more = await service.get(f"/v1/audit-log?limit=4&cursor={page['next_cursor']}")
    assert [entry["id"] for entry in page["items"] + more["items"]] == [entry["id"] for entry in entries]


async def _fill(service: Service) -> None:
    for kind, (first, second, _) in BODIES.items():
        await service.make(kind, first)
        await service.make(kind, second)
    await service.make("relay-rules", RULE)
    await service.make("accounts", {"login": "dave", "password": "a password of dave"})
    await service.change(
        "/v1/settings/content-checks", {"dnsbl": {"mode": "shadow", "zones": [{"zone": "dnsbl.example"}]}}
    )


@pytest.mark.parametrize("written", ["json", "yaml"])
async def test_importing_an_export_changes_nothing(service: Service, written: str) -> None:
    await _fill(service)
    newest = await _newest(service)
    text = (await service.api.get(f"/v1/config:export?format={written}")).text
    headers = {"Content-Type": f"application/{written}"}
    for query in ("?dry_run=true", ""):
        answer = await service.api.post(f"/v1/config:import{query}", content=text, headers={**headers, **ANY_VERSION})
        assert answer.status_code == 200, answer.text
        assert answer.json() == {
            "revision": newest,
            "made": 0,
            "changed": 0,
            "removed": 0,
            "changes": [],
            "warnings": [],
        }
    assert await _newest(service) == newest
    assert (await service.api.get(f"/v1/config:export?format={written}")).text == text
    relay, _ = await service.relay(lambda found: len(found.relay_rules) == 3)
    assert relay.relay_rules[2].relay_host.auth.password == "first password"


async def test_a_document_from_before_tls_policies_has_no_tls_policies(on_sqlite: Service) -> None:
    await on_sqlite.make("tls-policies", {"domain": "partner.example", "level": "verify"})
    document = await _export(on_sqlite)
    del document["tls_policies"]
    answer = await on_sqlite.api.post("/v1/config:import", json=document, headers=ANY_VERSION)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["made"], answer.json()["changed"], answer.json()["removed"]) == (0, 0, 1)
    assert (await on_sqlite.get("/v1/tls-policies"))["items"] == []
    # An import with `only` leaves the other sections unchanged.
    await on_sqlite.make("tls-policies", {"domain": "partner.example", "level": "verify"})
    answer = await on_sqlite.api.post("/v1/config:import?only=accounts", json=document, headers=ANY_VERSION)
    assert answer.status_code == 200, answer.text
    assert len((await on_sqlite.get("/v1/tls-policies"))["items"]) == 1


async def test_an_import_is_made_completely_as_one_revision(service: Service) -> None:
    await _fill(service)
    newest, document = await _newest(service), await _export(service)
    document["settings"]["general"]["profile"]["max_hops"] = 11
    document["trusted_networks"] = [
        {**document["trusted_networks"][0], "networks": ["203.0.113.0/24"]},
        {"name": "new", "networks": ["198.51.100.0/24"]},
    ]
    document["relay_rules"][2]["relay_host"]["auth"]["password"] = "second password"
    del document["aliases"][0]
    counts = {"made": 1, "changed": 3, "removed": 2}
    dry = (await service.api.post("/v1/config:import?dry_run=true", json=document)).json()
    assert {name: dry[name] for name in counts} == counts
    assert await _newest(service) == newest
    assert (await service.get(GENERAL))["profile"]["max_hops"] == 50
    done = (await service.api.post("/v1/config:import", json=document, headers=ANY_VERSION)).json()
    assert {name: done[name] for name in counts} == counts
    assert done["revision"] == newest + 1 == await _newest(service)
    assert "second password" not in json.dumps(done)
    assert {"pointer": "/relay_host/auth/password", "secret": "changed"} in [
        found for change in done["changes"] for found in change["differences"]
    ]
    assert (await service.get(GENERAL))["profile"]["max_hops"] == 11
    names = [item["name"] for item in (await service.get("/v1/trusted-networks"))["items"]]
    assert names == ["Office", "new"]
    relay, _ = await service.relay(lambda found: found.profile.max_hops == 11)
    assert relay.relay_rules[2].relay_host.auth.password == "second password"


async def test_objects_without_ids_are_found_by_their_unique_values(service: Service) -> None:
    await _fill(service)
    document = await _export(service)
    for listed in document.values():
        for item in listed if isinstance(listed, list) else ():
            del item["id"]
    answer = await service.api.post("/v1/config:import", json=document, headers=ANY_VERSION)
    assert answer.json()["changes"] == []


async def test_an_import_may_give_the_former_name_of_an_object_to_a_new_object(service: Service) -> None:
    """The accounts in the document may be in any order, because the id shows which account is renamed."""
    for turn in range(2):
        made = await service.make("accounts", {"login": f"old{turn}"})
        document = await _export(service)
        renamed = {"id": made["id"], "login": f"new{turn}"}
        document["accounts"] = [renamed, {"login": f"old{turn}"}][:: 1 if turn else -1]
        answer = await service.api.post("/v1/config:import", json=document, headers=ANY_VERSION)
        assert answer.status_code == 200, answer.text
        found = {account["id"]: account["login"] for account in (await service.get("/v1/accounts"))["items"]}
        assert found.pop(made["id"]) == f"new{turn}"
        assert list(found.values()) == [f"old{turn}"]


async def test_the_error_for_a_value_that_occurs_twice_points_into_the_document(on_sqlite: Service) -> None:
    document = await _export(on_sqlite)
    document["accounts"] = [{"login": "a"}, {"login": "b", "addresses": ["x@c.example", "info@c.example"]}]
    document["aliases"] = [{"address": "Info@C.example", "targets": ["x@c.example"]}]
    document["trusted_networks"] = [
        {"name": name, "networks": ["192.0.2.0/24"]} for name in ("Office", "cellar", "office")
    ]
    answer = await on_sqlite.api.post("/v1/config:import?dry_run=true", json=document)
    assert answer.status_code == 409
    assert sorted(error["pointer"] for error in answer.json()["errors"]) == [
        "/aliases/0/address",
        "/trusted_networks/2/name",
    ]


async def test_names_that_look_like_other_types_are_unchanged_by_yaml(on_sqlite: Service) -> None:
    """Versions of YAML disagree whether such a name is text or, for example, a number. So all are written as text."""
    names = ["1e3", "089", "010", "0x1F", "1_000", "12:30:00", "2026-01-01", "off", "Null", "~", ".5", "+1", "=", "<<"]
    names += ["- a", "a: b", "#x", "'", "!x", "&x", "*x", "%x", "@x", "1.", "-0", ".inf", "1e999", "\ufeffx", "😀"]
    for name in names:
        await on_sqlite.make("trusted-networks", {"name": name, "networks": ["192.0.2.0/24"]})
    await on_sqlite.make("dkim-keys", {"domain": "a.example", "selector": "2026e1", "algorithm": "ed25519-sha256"})
    written = await on_sqlite.api.get("/v1/config:export?format=yaml")
    answer = await on_sqlite.api.post("/v1/config:import", content=written.content, headers={**YAML, **ANY_VERSION})
    assert answer.status_code == 200, answer.text
    assert [answer.json()[count] for count in ("made", "changed", "removed")] == [0, 0, 0]


async def test_another_gateway_imports_an_export_without_its_secrets(tmp_path: Path, resolver: str) -> None:
    async with running(f"sqlite:///{tmp_path / 'a.sqlite3'}", tmp_path, nameservers=resolver) as first:
        await _fill(first)
        document = await _export(first)
    async with running(f"sqlite:///{tmp_path / 'b.sqlite3'}", tmp_path, nameservers=resolver) as second:
        refused = await second.api.post("/v1/config:import", json=document, headers=ANY_VERSION)
        assert refused.status_code == 422
        assert [error["pointer"] for error in refused.json()["errors"]] == ["/relay_rules/2/relay_host/auth/password"]
        document["relay_rules"][2]["relay_host"]["auth"]["password"] = "known"
        assert (await second.api.post("/v1/config:import", json=document, headers=ANY_VERSION)).status_code == 200
        copy = await _export(second)
    del document["relay_rules"][2]["relay_host"]["auth"]["password"]
    assert copy == document


async def test_an_import_refuses_invalid_documents(on_sqlite: Service) -> None:
    document = await _export(on_sqlite)
    newest = await _newest(on_sqlite)

    def having(path: str, value: Any) -> dict[str, Any]:
        copy: dict[str, Any] = json.loads(json.dumps(document))
        *parents, name = path.split("/")
        place = copy
        for parent in parents:
            place = place[parent]
        place[name] = value
        return copy

    def lacking(name: str) -> dict[str, Any]:
        return {key: value for key, value in document.items() if key != name}

    twice = [{"login": "a"}, {"login": "A"}]
    wrong: list[tuple[Any, int, str]] = [
        (having("unknown", 1), 422, ""),
        (having("settings/unknown", 1), 422, "/settings"),
        (having("settings/general/profile/hostname", "x"), 422, "/settings/general/profile/hostname"),
        (having("settings/general/profile/extra", 1), 422, "/settings/general/profile/extra"),
        (having("accounts", [{"login": "a", "key": 1}]), 422, "/accounts/0/key"),
        (having("accounts", [{"login": "a", "id": "x"}]), 422, "/accounts/0/id"),
        (having("accounts", {}), 422, "/accounts"),
        (having("accounts", [7]), 422, "/accounts/0"),
        (having("format", "posthouse/9"), 422, "/format"),
        (having("accounts", twice), 409, "/accounts/1/login"),
        (lacking("accounts"), 422, "/accounts"),
        (lacking("settings"), 422, "/settings"),
        ([], 400, ""),
        ("text", 400, ""),
    ]
    for body, status, pointer in wrong:
        answer = await on_sqlite.api.post("/v1/config:import", json=body, headers=ANY_VERSION)
        assert answer.status_code == status, (pointer, answer.text)
        if status != 400:
            assert pointer in [error["pointer"] for error in answer.json()["errors"]], answer.text
    assert await _newest(on_sqlite) == newest


async def test_yaml_is_read_by_the_core_schema(on_sqlite: Service) -> None:
    """In YAML, `off` is a mode and no boolean, 010 is ten, and times are text. Aliases and deep nesting are refused."""
    text = yaml.safe_dump(await _export(on_sqlite)).replace("'off'", "off").replace("max_hops: 50", "max_hops: 010")
    assert "mode: off" in text
    answer = await on_sqlite.api.post("/v1/config:import", content=text, headers={**YAML, **ANY_VERSION})
    assert answer.status_code == 200, answer.text
    assert (await on_sqlite.get(GENERAL))["profile"]["max_hops"] == 10
    rule = "access_rules:\n- {list: block, criterion: ip, value: 192.0.2.1, expires_at: 2030-01-31T12:00:00Z}\n"
    answer = await on_sqlite.api.post(
        "/v1/config:import", content=text.replace("access_rules: []\n", rule), headers={**YAML, **ANY_VERSION}
    )
    assert answer.status_code == 200, answer.text
    assert (await on_sqlite.get("/v1/access-rules"))["items"][0]["expires_at"] == "2030-01-31T12:00:00Z"
    for hostile in (
        "a: &a [1]\nb: *a\n",
        "[" * 100 + "]" * 100,
        "a: !!python/object/apply:os.system ['true']\n",
        "a: 'unterminated",
        "\x00",
        "a: 1\n---\nb: 2\n",
    ):
        answer = await on_sqlite.api.post(
            "/v1/config:import", content=hostile.encode(), headers={**YAML, **ANY_VERSION}
        )
        assert answer.status_code == 400, hostile
        assert "system" not in answer.text


async def test_an_import_or_rollback_overwrites_no_change_that_its_author_has_not_seen(service: Service) -> None:
    exported = await service.api.get("/v1/config:export")
    tag, document = exported.headers["etag"], exported.json()
    point = await _newest(service)
    assert tag == f'"{point}"'
    assert (await service.api.get("/v1/config:export", headers={"If-None-Match": tag})).status_code == 304
    rule = await service.make("access-rules", {"list": "block", "criterion": "ip", "value": "192.0.2.1"})
    for path, body in (("/v1/config:import", document), (f"/v1/revisions/{point}:rollback", None)):
        assert (await service.api.post(path, json=body)).status_code == 428
        assert (await service.api.post(path, json=body, headers={"If-Match": tag})).status_code == 412
        dry = await service.api.post(f"{path}?dry_run=true", json=body, headers={"If-Match": tag})
        assert dry.status_code == 412
    assert (await service.get(f"/v1/access-rules/{rule['id']}"))["value"] == "192.0.2.1"
    # A dry run shows what would change, and its ETag names the version that it compared with.
    dry = await service.api.post(f"/v1/revisions/{point}:rollback?dry_run=true")
    back = await service.api.post(f"/v1/revisions/{point}:rollback", headers={"If-Match": dry.headers["etag"]})
    assert (back.status_code, back.headers["etag"]) == (200, f'"{back.json()["revision"]}"')
    dry = await service.api.post("/v1/config:import?dry_run=true", json=document)
    document["trusted_networks"] = [{"name": "office", "networks": ["192.0.2.0/24"]}]
    done = await service.api.post("/v1/config:import", json=document, headers={"If-Match": dry.headers["etag"]})
    assert (done.status_code, done.json()["made"]) == (200, 1)
    # The ETag of the answer can be used for the next import.
    again = await service.api.post("/v1/config:import", json=document, headers={"If-Match": done.headers["etag"]})
    assert again.status_code == 200


async def test_an_import_with_the_parameter_only_changes_no_other_section(service: Service) -> None:
    network = await service.make("trusted-networks", {"name": "kept", "networks": ["192.0.2.0/24"]})
    account = await service.make("accounts", {"login": "a", "password": "p", "addresses": ["a@ours.example"]})
    await service.make("accounts", {"login": "gone"})
    document = {
        "format": "posthouse/2",
        "accounts": [{"login": "a", "addresses": ["a@ours.example", "b@ours.example"]}, {"login": "new"}],
        # This section is not named in `only`, so it is not checked.
        "trusted_networks": [],
    }
    path = "/v1/config:import?only=accounts"
    answer = await service.api.post(path, json=document, headers=ANY_VERSION)
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert (result["made"], result["changed"], result["removed"]) == (1, 1, 1)
    assert [each["code"] for each in result["warnings"]] == ["domain_not_local"] * 2
    accounts = {each["login"]: each for each in (await service.get("/v1/accounts"))["items"]}
    assert accounts.keys() == {"a", "new"}
    # A secret that the document leaves out is kept.
    assert (accounts["a"]["id"], accounts["a"]["password_set"]) == (account["id"], True)
    assert (await service.get(f"/v1/trusted-networks/{network['id']}"))["name"] == "kept"
    # Addresses and local domains in sections that are not imported still count when the document is checked.
    await service.make("aliases", {"address": "x@ours.example", "targets": ["a@ours.example"]})
    await service.make("local-domains", {"name": "ours.example"})
    document["accounts"] = [{"login": "a", "addresses": ["x@ours.example"]}]
    refused = await service.api.post(path, json=document, headers=ANY_VERSION)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (409, "/accounts/0/addresses/0")
    document["accounts"] = [{"login": "a", "addresses": ["y@ours.example"]}]
    assert (await service.api.post(path, json=document, headers=ANY_VERSION)).json()["warnings"] == []


async def test_settings_alone_can_be_imported(service: Service) -> None:
    network = await service.make("trusted-networks", {"name": "kept", "networks": ["192.0.2.0/24"]})
    exported = await _export(service)
    document = {"format": exported["format"], "settings": exported["settings"]}
    document["settings"]["general"]["profile"]["banner"] = "imported"
    answer = await service.api.post("/v1/config:import?only=settings", json=document, headers=ANY_VERSION)
    assert (answer.status_code, answer.json()["changed"]) == (200, 1)
    assert (await service.get(f"/v1/trusted-networks/{network['id']}"))["name"] == "kept"
    for only, document, pointer in (
        ("accounts,nothing", {"format": "posthouse/2"}, "/only"),
        ("accounts,aliases", {"format": "posthouse/2", "accounts": []}, "/aliases"),
    ):
        refused = await service.api.post(f"/v1/config:import?only={only}", json=document, headers=ANY_VERSION)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer)
