"""Objects of collections are created, shown, listed, filtered, replaced and deleted; names are unique (C152, C155)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.config_api.resources.catalogue import RESOURCES
from tests.config_api.service import Service

RELAY_HOST = {"host": "smart.example", "port": 587, "always_tls": True}
# For each collection: a body, another body that does not collide with it, and a third that collides although it is
# spelled differently.
BODIES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "relay-rules": (
        {
            "name": "Partner",
            "type": "recipient",
            "target_type": "domain",
            "targets": ["b.example"],
            "relay_host": RELAY_HOST,
        },
        {
            "name": "Other",
            "type": "sender",
            "target_type": "address",
            "targets": ["a@b.example"],
            "relay_host": RELAY_HOST,
        },
        {
            "name": "pARTNER",
            "type": "sender",
            "target_type": "domain",
            "targets": ["c.example"],
            "relay_host": RELAY_HOST,
        },
    ),
    "trusted-networks": (
        {"name": "Office", "networks": ["192.0.2.0/24"]},
        {"name": "Lab", "networks": ["2001:db8::/32"], "enabled": False},
        {"name": "OFFICE", "networks": ["198.51.100.0/24"]},
    ),
    "relay-domains": ({"domain": "Bücher.example"}, {"domain": "b.example"}, {"domain": "xn--bcher-kva.EXAMPLE."}),
    "local-domains": (
        {"name": "ours.example", "mailbox": {"kind": "lmtp", "host": "127.0.0.1"}},
        {"name": "d.example", "mailbox": {"kind": "maildir", "path": "/srv/mail/"}},
        {"name": "OURS.example.", "mailbox": None},
    ),
    "accounts": (
        {"login": "alice", "addresses": ["Alice@ours.example"]},
        {"login": "bob", "addresses": ["bob@ours.example"]},
        {"login": "carol", "addresses": ["aLICE@OURS.example"]},
    ),
    "aliases": (
        {"address": "info@ours.example", "targets": ["alice@ours.example"]},
        {"address": "help@ours.example", "targets": ["alice@ours.example"]},
        {"address": "INFO@ours.example", "targets": ["bob@ours.example"]},
    ),
    "access-rules": (
        {"list": "block", "criterion": "network", "value": "192.163.1.1/255.100.10.1"},
        {"list": "allow", "criterion": "domain", "value": "b.example"},
        {"list": "block", "criterion": "network", "value": "192.32.0.1/255.100.10.1", "name": "the same"},
    ),
    "dkim-keys": (
        {"domain": "ours.example", "selector": "a", "algorithm": "ed25519-sha256"},
        {"domain": "ours.example", "selector": "b", "algorithm": "ed25519-sha256"},
        {"domain": "OURS.example", "selector": "A", "algorithm": "ed25519-sha256"},
    ),
    "api-keys": (
        {"name": "ci", "role": "reader"},
        {"name": "ops", "role": "operator"},
        {"name": "CI", "role": "admin"},
    ),
}


@pytest.mark.parametrize("kind", sorted(BODIES))
async def test_an_object_is_created_and_changed_and_deleted(service: Service, kind: str) -> None:
    first, second, colliding = BODIES[kind]
    made = await service.api.post(f"/v1/{kind}", json=first)
    assert made.status_code == 201, made.text
    record = {name: value for name, value in made.json().items() if name not in ("warnings", "key")}
    path = made.headers["location"]
    assert path == f"/v1/{kind}/{record['id']}"
    shown = await service.api.get(path)
    assert shown.json() == record
    assert shown.headers["etag"] == made.headers["etag"]

    collision = await service.api.post(f"/v1/{kind}", json=colliding)
    assert collision.status_code == 409
    assert collision.json()["errors"][0]["code"] == "taken"
    other = await service.make(kind, second)
    listed = await service.get(f"/v1/{kind}")
    assert [item["id"] for item in listed["items"]] == [record["id"], other["id"]]
    assert listed["next_cursor"] is None

    tag = shown.headers["etag"]
    taken = await service.api.put(path, json=second, headers={"If-Match": tag})
    assert taken.status_code == (422 if kind == "dkim-keys" else 409)
    assert (await service.api.delete(path)).status_code == 428
    assert (await service.api.delete(path, headers={"If-Match": '"0"'})).status_code == 412
    removed = await service.api.delete(path, headers={"If-Match": tag})
    assert removed.status_code == 204
    assert (await service.api.get(path)).status_code == 404
    assert (await service.api.delete(path, headers={"If-Match": tag})).status_code == 404
    # Names that only the deleted object had are free again.
    assert (await service.api.post(f"/v1/{kind}", json=colliding)).status_code == 201


async def test_c149_unknown_members_are_refused_and_read_only_ones_ignored(on_sqlite: Service) -> None:
    members = ("version", "tenant_id", "is_admin", "key_hash", "Name")
    for kind, (first, _, _) in BODIES.items():
        for member in members:
            refused = await on_sqlite.api.post(f"/v1/{kind}", json={**first, member: "x"})
            assert refused.status_code == 422, (kind, member)
        assert (await on_sqlite.get(f"/v1/{kind}"))["items"] == []
        made = await on_sqlite.api.post(f"/v1/{kind}", json=first)
        headers = {"If-Match": made.headers["etag"]}
        for member in members:
            patched = await on_sqlite.api.patch(made.headers["location"], json={member: "x"}, headers=headers)
            assert patched.status_code == 422, (kind, member)
        for member in RESOURCES[kind].read_only:
            values: tuple[Any, ...] = ("x", None, [], 7)
            for value in values:
                patched = await on_sqlite.api.patch(made.headers["location"], json={member: value}, headers=headers)
                assert patched.status_code == 200, (kind, member)
        after = await on_sqlite.api.get(made.headers["location"])
        assert after.headers["etag"] == made.headers["etag"]
        assert after.json()["id"] == made.json()["id"]


async def test_c152_pages_of_objects_that_were_created_at_one_time_are_complete(service: Service) -> None:
    """50 objects are created at once, and some are removed and added during paging.

    No object is missing or repeated.
    """
    names = [f"d{number:02}.example" for number in range(50)]
    await asyncio.gather(*(service.make("relay-domains", {"domain": name}) for name in names))
    seen: list[str] = []
    cursor: str | None = None
    for number in range(100):
        query: dict[str, str | int] = {"limit": 7, **({"cursor": cursor} if cursor else {})}
        answer = await service.api.get("/v1/relay-domains", params=query)
        page = answer.json()
        seen += [item["domain"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        gone = page["items"][0]
        tag = (await service.api.get(f"/v1/relay-domains/{gone['id']}")).headers["etag"]
        await service.api.delete(f"/v1/relay-domains/{gone['id']}", headers={"If-Match": tag})
        await service.make("relay-domains", {"domain": f"late{number}.example"})
    assert cursor is None
    assert len(seen) == len(set(seen))
    assert set(names) <= set(seen)


async def test_c148_cursors_that_the_api_never_issued_are_refused(service: Service) -> None:
    for cursor in ("%00", "x", "AAAA", "%ff", "bnVsbA", "WyJhIiwiYiJd", "eyJhIjoxfQ", "'\"--", "%ed%a0%80", ""):
        for kind in ("accounts", "audit-log", "revisions"):
            answer = await service.api.get(f"/v1/{kind}?cursor={cursor}")
            assert answer.status_code == 422, (kind, cursor)
            assert answer.json()["errors"][0]["pointer"] == "/cursor"


async def test_a_cursor_belongs_to_its_list_and_filters(on_sqlite: Service) -> None:
    for number in range(3):
        await on_sqlite.make("relay-domains", {"domain": f"d{number}.example"})
    cursor = (await on_sqlite.get("/v1/relay-domains?limit=1"))["next_cursor"]
    for path, query in (("accounts", {}), ("relay-domains", {"enabled": "true"})):
        answer = await on_sqlite.api.get(f"/v1/{path}", params={**query, "cursor": cursor})
        assert answer.status_code == 422


HOSTILE = ["'\"--", "%_", "\\", "*)(uid=*", "{{7*7}}", "'; DROP TABLE documents; --", "𝕏'\u202e", "_", "%"]


async def test_c155_names_with_special_characters_are_treated_only_as_values(service: Service) -> None:
    await service.make("trusted-networks", {"name": "plain", "networks": ["192.0.2.0/24"]})
    for number, text in enumerate(HOSTILE):
        made = await service.make("trusted-networks", {"name": text, "networks": ["192.0.2.0/24"]})
        found = await service.api.get("/v1/trusted-networks", params={"name": text})
        assert [item["id"] for item in found.json()["items"]] == [made["id"]]
        assert made["name"] == text
        assert len((await service.get("/v1/trusted-networks"))["items"]) == number + 2


async def test_c155_only_known_filters_are_accepted(on_sqlite: Service) -> None:
    for query in ("sort=name", "order=desc", "where=1", "name[]=x", "Name=x", "offset=1", "name=a%00b"):
        answer = await on_sqlite.api.get(f"/v1/trusted-networks?{query}")
        assert answer.status_code == 422, query


async def test_filters_compare_canonical_forms(service: Service) -> None:
    made = {}
    for kind, (first, second, _) in BODIES.items():
        made[kind] = (await service.make(kind, first))["id"]
        await service.make(kind, {**second, "domain": "b.example"} if kind == "dkim-keys" else second)
    for kind, query in QUERIES:
        found = await service.api.get(f"/v1/{kind}", params=query)
        assert [item["id"] for item in found.json()["items"]] == [made[kind]], (kind, query)


QUERIES: list[tuple[str, dict[str, str]]] = [
    ("relay-rules", {"target": "B.example"}),
    ("relay-rules", {"type": "recipient", "name": "PARTNER"}),
    ("trusted-networks", {"network": "192.0.2.0/24", "enabled": "true"}),
    ("relay-domains", {"domain": "BÜCHER.example"}),
    ("local-domains", {"name": "OURS.example"}),
    ("accounts", {"address": "ALICE@ours.example"}),
    ("accounts", {"login": "ALICE"}),
    ("aliases", {"address": "Info@ours.example"}),
    ("access-rules", {"criterion": "network", "list": "block"}),
    ("dkim-keys", {"domain": "OURS.example"}),
    ("api-keys", {"role": "reader"}),
]


async def test_filters_find_changed_values(service: Service) -> None:
    made = await service.make("accounts", {"login": "alice", "addresses": ["alice@ours.example"]})
    await service.change(f"/v1/accounts/{made['id']}", {"login": "alicia", "addresses": ["a@ours.example"]})
    for query, count in (("login=alice", 0), ("login=alicia", 1), ("address=alice@ours.example", 0)):
        assert len((await service.get(f"/v1/accounts?{query}"))["items"]) == count
    await service.make("accounts", {"login": "alice", "addresses": ["alice@ours.example"]})


async def test_a_domain_cannot_be_both_local_and_relayed(service: Service) -> None:
    await service.make("local-domains", {"name": "ours.example"})
    answer = await service.api.post("/v1/relay-domains", json={"domain": "Ours.Example"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (409, "/domain")


async def test_an_address_belongs_to_one_account_or_alias(service: Service) -> None:
    await service.make("accounts", {"login": "alice", "addresses": ["alice@ours.example"]})
    body = {"address": "ALICE@ours.example", "targets": ["b@c.example"]}
    answer = await service.api.post("/v1/aliases", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (409, "/address")


async def test_a_request_that_is_repeated_with_its_idempotency_key_gets_the_same_answer(service: Service) -> None:
    headers = {"Idempotency-Key": "once"}
    body = {"name": "office", "networks": ["192.0.2.0/24"]}
    first = await service.api.post("/v1/trusted-networks", json=body, headers=headers)
    again = await service.api.post("/v1/trusted-networks", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert (again.headers["etag"], again.headers["location"]) == (first.headers["etag"], first.headers["location"])
    assert again.headers["idempotency-replayed"] == "true"
    assert len((await service.get("/v1/trusted-networks"))["items"]) == 1
    other = await service.api.post("/v1/trusted-networks", json={**body, "name": "x"}, headers=headers)
    assert (other.status_code, other.json()["errors"][0]["code"]) == (409, "key_reused")
    assert len((await service.get("/v1/trusted-networks"))["items"]) == 1


async def test_only_one_of_several_simultaneous_requests_with_one_idempotency_key_is_done(service: Service) -> None:
    body = {"name": "office", "networks": ["192.0.2.0/24"]}

    async def post() -> tuple[int, dict[str, Any]]:
        answer = await service.api.post("/v1/trusted-networks", json=body, headers={"Idempotency-Key": "k"})
        return answer.status_code, answer.json()

    answers = await asyncio.gather(*(post() for _ in range(8)))
    assert {status for status, _ in answers} == {201}
    assert len({found["id"] for _, found in answers}) == 1


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("relay-domains", {"domain": "a.example", "recipients": ["x@a.example"]}, "/recipients"),
    ("relay-domains", {"domain": "a.example", "recipients": "accounts"}, "/recipients"),
    ("local-domains", {"name": "a.example", "recipients": "all"}, "/recipients"),
    ("local-domains", {"name": "a.example", "recipient_delimiter": "*"}, "/recipient_delimiter"),
    ("local-domains", {"name": "a.example", "catch_all": "*@a.example"}, "/catch_all"),
    ("local-domains", {"name": "a.example", "recipients": "verify"}, "/recipients"),
    (
        "local-domains",
        {"name": "a.example", "recipients": "verify", "mailbox": {"kind": "maildir", "path": "/a"}},
        "/recipients",
    ),
    (
        "local-domains",
        {
            "name": "a.example",
            "recipients": "verify",
            "mailbox": {"kind": "lmtp", "host": "m.example"},
            "catch_all": "x@a.example",
        },
        "/catch_all",
    ),
    ("recipients", {"address": "*@a.example"}, "/address"),
    ("recipients", {}, "/address"),
    ("relay-domains", {"domain": "a..example"}, "/domain"),
    ("relay-domains", {"domain": "192.0.2.1"}, "/domain"),
    ("local-domains", {"name": "a.example", "mailbox": {"kind": "maildir"}}, "/mailbox/path"),
    ("local-domains", {"name": "a.example", "mailbox": {"kind": "maildir", "path": "relative"}}, "/mailbox/path"),
    ("local-domains", {"name": "a.example", "mailbox": {"kind": "maildir", "path": "/a/../b"}}, "/mailbox/path"),
    ("local-domains", {"name": "a.example", "mailbox": {"kind": "smtp", "path": "/a"}}, "/mailbox/host"),
    ("local-domains", {"name": "a.example", "mailbox": {"kind": "ftp"}}, "/mailbox"),
    ("access-rules", {"list": "allow", "criterion": "ip", "value": "192.0.2.1", "action": "reject"}, "/action"),
    ("access-rules", {"list": "block", "criterion": "ip", "value": "192.0.2.0/24"}, "/value"),
    ("access-rules", {"list": "block", "criterion": "network", "value": "2001:db8::/ffff::ff"}, "/value"),
    ("access-rules", {"list": "block", "criterion": "sender", "value": "example.com"}, "/value"),
    (
        "access-rules",
        {"list": "block", "criterion": "ip", "value": "192.0.2.1", "expires_at": 1893456000},
        "/expires_at",
    ),
    (
        "access-rules",
        {"list": "block", "criterion": "ip", "value": "192.0.2.1", "expires_at": "2030-01-31T12:00:00"},
        "/expires_at",
    ),
    ("trusted-networks", {"name": "x", "networks": []}, "/networks"),
    ("trusted-networks", {"name": "x", "networks": ["192.0.2.0/255.0.255.0"]}, "/networks/0"),
    ("aliases", {"address": "a@b.example", "targets": []}, "/targets"),
    ("accounts", {"login": "has blank"}, "/login"),
]


async def test_collections_refuse_invalid_objects(on_sqlite: Service) -> None:
    for kind, body, pointer in REFUSED:
        answer = await on_sqlite.api.post(f"/v1/{kind}", json=body)
        assert answer.status_code == 422, (kind, body, answer.text)
        assert pointer in [error["pointer"] for error in answer.json()["errors"]], (kind, body, answer.text)
        assert (await on_sqlite.get(f"/v1/{kind}"))["items"] == []


async def test_the_error_names_the_right_network(on_sqlite: Service) -> None:
    body = {"name": "x", "networks": ["192.0.2.77/24"]}
    answer = await on_sqlite.api.post("/v1/trusted-networks", json=body)
    assert "192.0.2.0/24" in answer.json()["errors"][0]["detail"]


async def test_dkim_keys_show_only_their_record(service: Service) -> None:
    made = await service.make("dkim-keys", {"domain": "ours.example", "selector": "a"})
    assert made["dns_name"] == "a._domainkey.ours.example"
    assert made["dns_record"].startswith("v=DKIM1; k=rsa; p=MIIB")
    assert "PRIVATE" not in str(made)
    assert "private" not in str(await service.get(f"/v1/dkim-keys/{made['id']}"))
    changed = await service.change(f"/v1/dkim-keys/{made['id']}", {"enabled": False})
    assert changed["dns_record"] == made["dns_record"]


async def test_filters_accept_every_form_of_a_value_that_an_object_accepts(service: Service) -> None:
    decomposed, composed = "u\u0308ber@b\u00fccher.example", "\u00fcber@xn--bcher-kva.example"
    host = {"host": "smart.example"}
    made = {}
    for kind, name, given, forms, body in (
        ("access-rules", "value", "192.163.1.1/255.100.10.1", ["192.32.0.1/255.100.10.1"], {"criterion": "network"}),
        ("access-rules", "value", "::ffff:192.0.2.7", ["192.0.2.7", "::FFFF:c000:207"], {"criterion": "ip"}),
        ("access-rules", "value", decomposed, [composed, decomposed], {"criterion": "sender"}),
        ("access-rules", "value", "B\u00dcCHER.example.", ["xn--bcher-kva.example"], {"criterion": "domain"}),
        ("trusted-networks", "network", "198.51.100.0/255.255.255.0", ["198.51.100.0/24", "::ffff:c633:6400/120"], {}),
        ("relay-rules", "target", ".B\u00dcCHER.example", [".xn--bcher-kva.example"], {"target_type": "domain"}),
        ("relay-rules", "target", "A@b\u00fccher.example", ["a@XN--bcher-kva.example"], {"target_type": "address"}),
    ):
        whole: dict[str, dict[str, Any]] = {
            "access-rules": {"list": "allow", "value": given},
            "trusted-networks": {"name": given, "networks": [given]},
            "relay-rules": {"name": given, "type": "sender", "targets": [given], "relay_host": host},
        }
        made[given] = (await service.make(kind, {**whole[kind], **body}))["id"]
        for form in (given, *forms):
            found = (await service.api.get(f"/v1/{kind}", params={name: form})).json()["items"]
            assert [item["id"] for item in found] == [made[given]], (kind, form)
        assert (await service.api.get(f"/v1/{kind}", params={name: "-- no such"})).json()["items"] == []
    # This is the same address in another Unicode composition.
    rule = {"list": "allow", "criterion": "sender", "value": composed}
    assert (await service.api.post("/v1/access-rules", json=rule)).status_code == 409


async def test_a_patch_can_change_an_object_of_several_kinds(service: Service) -> None:
    """Members that the patch does not name stay (RFC 7396), and a patch can change the kind of the object."""
    made = await service.make(
        "local-domains", {"name": "a.example", "mailbox": {"kind": "smtp", "host": "m.example", "port": 2525}}
    )
    path = f"/v1/local-domains/{made['id']}"
    defaults = {"tls": "may", "fallback_hosts": []}
    for patch, mailbox in (
        ({"port": 2526}, {"kind": "smtp", "host": "m.example", "port": 2526, **defaults}),
        ({"host": "N.example."}, {"kind": "smtp", "host": "n.example", "port": 2526, **defaults}),
        ({"port": None}, {"kind": "smtp", "host": "n.example", "port": 25, **defaults}),
        ({"kind": "lmtp", "port": 2400}, {"kind": "lmtp", "host": "n.example", "port": 2400, **defaults}),
        ({"tls": "verify"}, {"kind": "lmtp", "host": "n.example", "port": 2400, **defaults, "tls": "verify"}),
        ({"tls": None}, {"kind": "lmtp", "host": "n.example", "port": 2400, **defaults}),
        ({"kind": "maildir", "path": "/srv/a", "host": None, "port": None}, {"kind": "maildir", "path": "/srv/a"}),
        ({"path": "/srv/b/"}, {"kind": "maildir", "path": "/srv/b"}),
    ):
        assert (await service.change(path, {"mailbox": patch}))["mailbox"] == mailbox
    for wrong, pointer in (
        ({"kind": "smtp"}, "/mailbox/host"),
        ({"host": "m.example"}, "/mailbox/host"),
        ({"kind": None}, "/mailbox"),
        ({"kind": "pop3"}, "/mailbox/kind"),
        ({"path": None}, "/mailbox/path"),
        ({"user": "x"}, "/mailbox/user"),
    ):
        answer = await service.api.patch(path, json={"mailbox": wrong}, headers={"If-Match": "*"})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer), wrong
    assert (await service.change(path, {"mailbox": None}))["mailbox"] is None
    kept = {"kind": "maildir", "path": "/srv/q"}
    assert (await service.change(path, {"quarantine_mailbox": kept}))["quarantine_mailbox"] == kept
