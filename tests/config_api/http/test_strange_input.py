"""Strange texts, ETags, queries, paths and media types from clients: further cases of the kinds C148 to C158."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from services.config_api.resources.catalogue import SINGLETONS
from tests.config_api.resources.test_collections import BODIES
from tests.config_api.service import ADMIN_KEY, ANY_VERSION, Service

GENERAL = "/v1/settings/general"
QUEUE = "/v1/settings/queue"
JSON = {"Content-Type": "application/json"}
ANY = {**JSON, "If-Match": "*"}
YAML = {"Content-Type": "application/yaml"}
NONE = "/v1/accounts/0192f3c4-5a6b-7c8d-9e0f-1a2b3c4d5e6f"


def _pointers(answer: httpx.Response) -> list[str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return [error["pointer"] for error in answer.json().get("errors", ())]


async def test_c148_passwords_that_a_login_cannot_carry_are_refused(on_sqlite: Service, capfd: Any) -> None:
    for text in (r"hunter2\u0000", r"hunter2\r\n", r"hunter2\ud800", r"\udc80hunter2", r"hunter2\u007f"):
        account = f'{{"login": "a", "password": "{text}"}}'
        auth = f'{{"username": "u", "password": "{text}"}}'
        host = f'{{"host": "smart.example", "auth": {auth}}}'
        for method, path, body, pointer in (
            ("POST", "/v1/accounts", account, "/password"),
            (
                "PATCH",
                "/v1/settings/delivery",
                f'{{"kind": "proposed", "relay_host": {host}}}',
                "/relay_host/auth/password",
            ),
            (
                "POST",
                "/v1/relay-hosts:test",
                f'{{"kind": "proposed", "relay_host": {host}}}',
                "/relay_host/auth/password",
            ),
        ):
            answer = await on_sqlite.api.request(method, path, content=body.encode(), headers=ANY)
            assert answer.status_code == 422, (path, text)
            assert pointer in _pointers(answer)
            assert "hunter2" not in answer.text
    assert "hunter2" not in "".join(capfd.readouterr())
    for text in ("pa ss", "grüße", "p\u00e4ss\U0001f511", "'\"\\"):
        made = await on_sqlite.make("accounts", {"login": f"u{len(text)}{ord(text[1])}", "password": text})
        assert made["password_set"]


def _leaves(body: Any) -> list[tuple[str | int, ...]]:
    """Returns the paths to all texts in a body."""
    if isinstance(body, str):
        return [()]
    inner = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [(step, *rest) for step, value in inner for rest in _leaves(value)]


def _with(body: Any, at: tuple[str | int, ...], added: str) -> Any:
    if not at:
        return body + added
    copy = body.copy()
    copy[at[0]] = _with(body[at[0]], at[1:], added)
    return copy


async def test_c148_no_text_of_any_setting_may_contain_a_line_end_or_nul(on_sqlite: Service) -> None:
    tried = 0
    bodies = [("POST", f"/v1/{kind}", first) for kind, (first, _, _) in BODIES.items()]
    bodies += [("PUT", f"/v1/{one.kind}", await on_sqlite.get(f"/v1/{one.kind}")) for one in SINGLETONS]
    zones = {"dnsbl": {"zones": [{"zone": "bl.example"}]}, "antivirus": {"clamd": "localhost:3310"}}
    servers = {"preferred": ["192.0.2.53"], "alternate": ["192.0.2.54:53"]}
    auth = {"username": "u", "password": "p"}
    rule = {**BODIES["relay-rules"][0], "relay_host": {"host": "smart.example", "auth": auth}}
    bodies += [
        ("PUT", "/v1/settings/content-checks", zones),
        ("PUT", "/v1/settings/resolvers", servers),
        ("POST", "/v1/relay-rules", rule),
        ("POST", "/v1/local-domains", {"name": "a.example", "mailbox": {"kind": "maildir", "path": "/a"}}),
        ("POST", "/v1/explain/route", {"sender": "a@b.example", "recipient": "c@d.example"}),
        ("POST", "/v1/queue/messages:hold", {"filter": {"sender": "a@b.example", "destination": "domain:b.example"}}),
    ]
    for method, path, body in bodies:
        for at in _leaves(body):
            for added in ("\n", "\r\n", "\x00"):
                answer = await on_sqlite.api.request(method, path, json=_with(body, at, added), headers=ANY)
                assert answer.status_code == 422, (path, at, added)
                tried += 1
    assert tried > 150


async def test_c148_repeated_members_and_invalid_numbers_are_refused(on_sqlite: Service) -> None:
    for path, body in (
        ("/v1/accounts", '{"login": "a", "login": "b"}'),
        ("/v1/accounts", '{"login": "a", "\\u006cogin": "b"}'),
        ("/v1/relay-domains", '{"domain": "a.example", "recipients": [], "x": {"y": 1, "y": 1}}'),
        ("/v1/accounts", '{"login": "a", "x": NaN}'),
        ("/v1/accounts", '{"login": "a", "x": [-Infinity]}'),
    ):
        answer = await on_sqlite.api.post(path, content=body.encode(), headers=JSON)
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:posthouse:problem:malformed"), body
    for number in ("1e400", "-1e400", '"5"', "true", "[5]", '"NaN"'):
        body = f'{{"retry_schedule": {{"growth": {number}}}}}'
        answer = await on_sqlite.api.patch(QUEUE, content=body.encode(), headers=ANY)
        assert (answer.status_code, _pointers(answer)) == (422, ["/retry_schedule/growth"]), number
    for number in ("18446744073709551616", "-1", "1.0", "1e2", "9" * 5000):
        body = f'{{"profile": {{"max_hops": {number}}}}}'
        answer = await on_sqlite.api.patch(GENERAL, content=body.encode(), headers=ANY)
        assert answer.status_code in (400, 422), number
    document = await on_sqlite.get("/v1/config:export")
    text = json.dumps(document)
    for doubled in (text.replace('{"format"', '{"accounts": [], "format"', 1), text.replace("1.5", "NaN", 1)):
        answer = await on_sqlite.api.post(
            "/v1/config:import", content=doubled.encode(), headers={**JSON, **ANY_VERSION}
        )
        assert answer.status_code == 400
    written = (await on_sqlite.api.get("/v1/config:export?format=yaml")).text
    for doubled in (f"{written}\naccounts: []\n", written.replace("max_hops: 50", "max_hops: 50\n      max_hops: 9")):
        answer = await on_sqlite.api.post(
            "/v1/config:import", content=doubled.encode(), headers={**YAML, **ANY_VERSION}
        )
        assert (answer.status_code, "twice" in answer.json()["detail"]) == (400, True)


async def test_c149_null_differs_from_an_absent_member(on_sqlite: Service) -> None:
    for patch, pointer in (
        ({"profile": None}, "/profile"),
        ({"profile": {"hostname": None}}, "/profile/hostname"),
        ({"external_postmasters": [None]}, "/external_postmasters/0"),
        ({"smtp_auth": []}, "/smtp_auth"),
        ({"smtp_auth": {"enabled": {}}}, "/smtp_auth/enabled"),
    ):
        answer = await on_sqlite.api.patch(GENERAL, json=patch, headers=ANY)
        assert (answer.status_code, _pointers(answer)) == (422, [pointer]), patch
    for whole in (b"null", b"[]", b'""', b"7", b""):
        answer = await on_sqlite.api.patch(GENERAL, content=whole, headers=ANY)
        assert answer.status_code == (422 if whole else 400), whole
    body = {"profile": {"hostname": "gateway.example"}, "smtp_auth": None}
    answer = await on_sqlite.api.put(GENERAL, json=body, headers=ANY)
    assert (answer.status_code, _pointers(answer)) == (422, ["/smtp_auth"])
    assert (await on_sqlite.api.patch(GENERAL, json={"smtp_auth": None}, headers=ANY)).status_code == 200


@pytest.mark.parametrize(
    ("field", "status"),
    [
        ('W/{}, "0"', 412),
        ("{},", 200),
        ('"0",,{}', 200),
        ('"0"\t,\t{}', 200),
        ('"*"', 412),
        ('""', 412),
        ('"+1"', 412),
        ('"0{}', 422),
        ('*, "1"', 422),
        ("W/*", 422),
        ("1", 422),
        ('"1" "2"', 422),
        ('" 1"', 422),
        ('"' + "9" * 30 + '"', 412),
        ('"x", ' * 2000 + '"y"', 422),
    ],
)
async def test_c150_lists_of_etags_are_accepted_and_invalid_ones_refused(
    on_sqlite: Service, field: str, status: int
) -> None:
    tag = (await on_sqlite.api.get(GENERAL)).headers["etag"]
    answer = await on_sqlite.api.patch(
        GENERAL, json={"profile": {"max_hops": 9}}, headers={"If-Match": field.format(tag)}
    )
    assert answer.status_code == status, answer.text
    if status == 422:
        assert _pointers(answer) == ["/If-Match"]


async def test_c150_preconditions_in_several_lines_and_with_etags_of_other_objects_are_checked(
    service: Service,
) -> None:
    tag = (await service.api.get(GENERAL)).headers["etag"]
    lines = [("If-Match", '"0"'), ("If-Match", tag), ("Content-Type", "application/json")]
    body = b'{"profile": {"max_hops": 9}}'
    assert (await service.api.patch(GENERAL, content=body, headers=lines)).status_code == 200
    # The ETag of one object does not match another object that was created at the same moment.
    made = [await service.api.post("/v1/accounts", json={"login": login}) for login in ("a", "b")]
    other = {"If-Match": made[0].headers["etag"]}
    for method in ("PUT", "PATCH", "DELETE"):
        answer = await service.api.request(
            method, made[1].headers["location"], json=None if method == "DELETE" else {"login": "c"}, headers=other
        )
        assert answer.status_code == 412, method
    # Of requests that delete and change an object with the same ETag, only one succeeds.
    path, tag = made[1].headers["location"], made[1].headers["etag"]
    answers = await asyncio.gather(
        service.api.delete(path, headers={"If-Match": tag}),
        *(service.api.patch(path, json={"login": f"c{n}"}, headers={"If-Match": tag}) for n in range(7)),
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] in (200, 204)
    assert set(statuses[1:]) <= {404, 412}
    # Of requests that create the same name in different spellings, only one succeeds.
    same = await asyncio.gather(
        *(
            service.api.post("/v1/relay-domains", json={"domain": name})
            for name in ("É.example", "xn--9ca.EXAMPLE.") * 4
        )
    )
    assert sorted(answer.status_code for answer in same) == [201] + [409] * 7


async def test_c152_a_filtered_list_can_be_read_to_its_end_while_it_changes(service: Service) -> None:
    made = [await service.make("relay-domains", {"domain": f"d{n}.example", "enabled": n % 2 == 0}) for n in range(10)]
    first = await service.get("/v1/relay-domains?enabled=true&limit=2")
    # An object of the first page no longer matches the filter, another one matches it now, and the cursor's object is
    # deleted.
    await service.change(f"/v1/relay-domains/{made[0]['id']}", {"enabled": False})
    await service.change(f"/v1/relay-domains/{made[9]['id']}", {"enabled": True})
    await service.api.delete(f"/v1/relay-domains/{made[2]['id']}", headers={"If-Match": "*"})
    rest = await service.get(f"/v1/relay-domains?enabled=true&limit=1000&cursor={first['next_cursor']}")
    read = [item["domain"] for item in first["items"] + rest["items"]]
    assert read == [f"d{n}.example" for n in (0, 2, 4, 6, 8, 9)]
    assert rest["next_cursor"] is None


async def test_c155_queries_are_read_as_they_are_declared(on_sqlite: Service) -> None:
    await on_sqlite.make("accounts", {"login": "kept"})
    newest = (await on_sqlite.get("/v1/revisions?limit=1"))["items"][0]["number"]
    for method, path, pointer in (
        # A request with a misspelt dry_run must change nothing.
        ("POST", "/v1/revisions/1:rollback?dryrun=true", "/dryrun"),
        ("POST", "/v1/revisions/1:rollback?dry_run=true&dry_run=false", "/dry_run"),
        ("POST", "/v1/revisions/1:rollback?dry_run=maybe", "/dry_run"),
        ("POST", "/v1/config:import?Dry_Run=true", "/Dry_Run"),
        ("POST", "/v1/accounts?x=1", "/x"),
        ("GET", f"{GENERAL}?x", "/x"),
        ("GET", f"{NONE}?x=1", "/x"),
        ("DELETE", f"{NONE}?force=true", "/force"),
        ("GET", "/v1/accounts?limit=1&limit=2", "/limit"),
        ("GET", "/v1/accounts?login=a&login=b", "/login"),
        ("GET", "/v1/accounts?limit=%2B1", "/limit"),
        ("GET", "/v1/accounts?limit=1.0", "/limit"),
        ("GET", "/v1/accounts?limit=1_0", "/limit"),
        ("GET", "/v1/accounts?limit=", "/limit"),
        ("GET", "/v1/accounts?limit=%D9%A1", "/limit"),
        ("GET", "/v1/accounts?enabled=TRUE", "/enabled"),
        ("GET", "/v1/config:export?format=yaml&format=json", "/format"),
        ("GET", "/v1/revisions:diff?from_revision=1&to_revision=1&to_revision=2", "/to_revision"),
        ("GET", "/v1/queue/messages/q1?include_headers=true", "/include_headers"),
        ("GET", "/v1/audit-log?status=2_00", "/status"),
        ("GET", "/v1/revisions/1_0", "/number"),
        ("GET", "/v1/revisions/+1", "/number"),
        ("GET", "/v1/revisions/01", "/number"),
    ):
        body: dict[str, Any] | None = {} if method == "POST" else None
        answer = await on_sqlite.api.request(method, path, json=body, headers={"If-Match": "*"})
        assert (answer.status_code, pointer in _pointers(answer)) == (422, True), (path, answer.text)
    assert (await on_sqlite.get("/v1/revisions?limit=1"))["items"][0]["number"] == newest
    long = await on_sqlite.api.get(f"{GENERAL}?{'x' * 500}=secret")
    assert (long.status_code, "secret" in long.text, "xxxx" in long.text) == (422, False, False)


async def test_paths_are_read_as_they_are_declared(on_sqlite: Service) -> None:
    await on_sqlite.make("accounts", {"login": "a"})
    for path in (
        "/v1/accounts/",
        f"{GENERAL}/",
        "/v1//accounts",
        "/v1/Accounts",
        "/v1/accounts;x=1",
        "/v1/accounts/%2e%2e/api-keys",
        "/v1/accounts/..%2fapi-keys",
        "/v1/accounts%2f",
        "/v1/accounts/a%0d%0ab",
        "/v1/accounts/settings%2fgeneral",
        "/v1/settings/general%00",
    ):
        answer = await on_sqlite.api.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"
    for path in ("/healthz", "/readyz"):
        answer = await on_sqlite.api.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


async def test_head_is_answered_like_get_without_a_body(on_sqlite: Service) -> None:
    """HEAD answers as GET does, without the content (RFC 9110 section 9.3.2)."""
    made = await on_sqlite.make("accounts", {"login": "a"})
    for path in (
        GENERAL,
        "/v1/accounts",
        f"/v1/accounts/{made['id']}",
        "/v1/accounts/none",
        "/v1/accounts?limit=0",
        "/v1/accounts?sort=login",
        "/v1/revisions:diff?from_revision=1&to_revision=2",
        "/v1/config:export?format=yaml",
        "/v1/no-such-thing",
        "/v1/queue/messages",
        "/openapi.json",
        "/docs",
        "/healthz",
    ):
        whole, head = await on_sqlite.api.get(path), await on_sqlite.api.head(path)
        assert (head.status_code, head.content) == (whole.status_code, b""), path
        for name in ("content-type", "content-length", "etag", "cache-control"):
            assert head.headers.get(name) == whole.headers.get(name), (path, name)
    tag = (await on_sqlite.api.head(GENERAL)).headers["etag"]
    assert (await on_sqlite.api.head(GENERAL, headers={"If-None-Match": tag})).status_code == 304
    assert (await on_sqlite.api.head(GENERAL, headers={"Authorization": "Bearer wrong"})).status_code == 401
    answer = await on_sqlite.api.head("/v1/config:import")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    # HEAD is no operation in the document, and it is not recorded in the audit log.
    document = (await on_sqlite.api.get("/openapi.json")).json()
    assert not any("head" in operations for operations in document["paths"].values())
    assert (await on_sqlite.get("/v1/audit-log?status=200&actor=CONFIG_API_ADMIN_KEY"))["items"] == []


async def test_unsupported_media_types_and_codings_are_refused(on_sqlite: Service) -> None:
    async def send(method: str, path: str, *types: str, **more: str) -> int:
        lines = [*(("Content-Type", found) for found in types), ("If-Match", "*"), *more.items()]
        body = b'{"profile": {"hostname": "gateway.example"}}' if path == GENERAL else b'{"login": "a"}'
        return (await on_sqlite.api.request(method, path, content=body, headers=lines)).status_code

    patch = "application/merge-patch+json"
    for status, method, path, *types in (
        (200, "PATCH", GENERAL, patch),
        (200, "PATCH", GENERAL, f"{patch}; charset=utf-8"),
        (200, "PUT", GENERAL, "APPLICATION/JSON"),
        (415, "PUT", GENERAL, patch),
        (415, "POST", "/v1/accounts", patch),
        (415, "PATCH", GENERAL, "application/json-patch+json"),
        (415, "POST", "/v1/accounts", "text/json"),
        (415, "POST", "/v1/accounts", "application/yaml"),
        (415, "POST", "/v1/accounts", ""),
        (415, "POST", "/v1/accounts", "application/json", "text/plain"),
        (415, "POST", "/v1/accounts", "multipart/form-data; boundary=x"),
    ):
        assert await send(str(method), str(path), *map(str, types)) == status, (method, path, types)
    assert await send("POST", "/v1/accounts", "application/json", **{"Content-Encoding": "gzip"}) == 415
    assert await send("POST", "/v1/accounts", "application/json", **{"Content-Encoding": "identity"}) == 201


async def test_two_different_api_keys_in_one_request_are_refused(on_sqlite: Service) -> None:
    right = f"Bearer {ADMIN_KEY}"
    for keys, status in (([right, "Bearer wrong"], 401), (["Bearer wrong", right], 401), ([right, right], 200)):
        request = httpx.Request(
            "GET", on_sqlite.api.base_url.join(GENERAL), headers=[("Authorization", key) for key in keys]
        )
        assert (await on_sqlite.api.send(request)).status_code == status


async def test_names_and_logins_are_compared_in_one_form(service: Service) -> None:
    network = {"networks": ["192.0.2.0/24"]}
    for name in ("   ", " office", "office\u3000", "\u00a0"):
        answer = await service.api.post("/v1/trusted-networks", json={**network, "name": name})
        assert (answer.status_code, _pointers(answer)) == (422, ["/name"]), name
    made = await service.make("accounts", {"login": "jose\u0301", "addresses": ["STRASSE@ours.example"]})
    assert made["login"] == "jos\u00e9"
    for body, pointer in (
        ({"login": "JOS\u00c9"}, "/login"),
        ({"login": "x", "addresses": ["strasse@ours.example."]}, "/addresses/0"),
        ({"login": "x", "addresses": ['"STRASSE"@OURS.example']}, "/addresses/0"),
    ):
        answer = await service.api.post("/v1/accounts", json=body)
        assert (answer.status_code, _pointers(answer)) == (409, [pointer]), body
    # Ideographic full stops, soft hyphens, full-width letters and IPv4-mapped addresses only spell a value differently.
    await service.make("relay-domains", {"domain": "ab.example"})
    for domain in ("a\u00adb.example", "ab\u3002example", "\uff41b.example"):
        assert (await service.api.post("/v1/relay-domains", json={"domain": domain})).status_code == 409, domain
    await service.make("access-rules", {"list": "block", "criterion": "network", "value": "::ffff:192.0.2.0/120"})
    again = {"list": "block", "criterion": "network", "value": "192.0.2.0/255.255.255.0"}
    assert (await service.api.post("/v1/access-rules", json=again)).status_code == 409


async def test_c156_secrets_are_neither_in_differences_nor_in_dry_runs(service: Service) -> None:
    secret = "hunter2-never-shown"
    auth = {"username": "u", "password": secret}
    rule = {"name": "r", "type": "sender", "target_type": "domain", "targets": ["a.example"]}
    made = await service.make("relay-rules", {**rule, "relay_host": {"host": "smart.example", "auth": auth}})
    start = (await service.get("/v1/revisions?limit=1"))["items"][0]["number"]
    await service.api.delete(f"/v1/relay-rules/{made['id']}", headers={"If-Match": "*"})
    document = await service.get("/v1/config:export")
    document["accounts"] = [{"login": "a", "password": secret}]
    document["relay_rules"] = [{**rule, "relay_host": {"host": "smart.example", "auth": auth}}]
    taken = await service.api.post("/v1/config:import?dry_run=true", json=document)
    document["relay_rules"] *= 2
    twice = await service.api.post("/v1/config:import?dry_run=true", json=document)
    assert (taken.status_code, twice.status_code) == (200, 409)
    back = await service.api.post(f"/v1/revisions/{start}:rollback?dry_run=true")
    difference = await service.api.get(f"/v1/revisions:diff?from_revision={start + 1}&to_revision={start}")
    assert back.json()["changes"][0]["event"] == difference.json()["changes"][0]["event"] == "made"
    for answer in (taken, twice, back, difference):
        assert secret not in answer.text
        assert "argon2" not in answer.text
        assert "gAAAA" not in answer.text


async def test_errors_about_a_whole_object_point_to_a_member(on_sqlite: Service) -> None:
    host = {"host": "smart.example"}
    rule = {"name": "r", "type": "sender", "target_type": "domain", "relay_host": host}
    for kind, body, pointer in (
        ("relay-rules", {**rule, "targets": ["a.example", "a@b.example"]}, "/targets/1"),
        ("relay-rules", {**rule, "target_type": "address", "targets": ["a.example"]}, "/targets/0"),
        ("access-rules", {"list": "block", "criterion": "ip", "value": "192.0.2.0/24"}, "/value"),
        (
            "explain/session",
            {"kind": "hypothetical", "facts": {"stage": "rcpt", "client_address": "192.0.2.1"}},
            "/facts/recipient",
        ),
    ):
        answer = await on_sqlite.api.post(f"/v1/{kind}", json=body)
        assert answer.status_code == 422
        assert pointer in _pointers(answer), (kind, answer.text)
    document = await on_sqlite.get("/v1/config:export")
    document["relay_rules"] = [{**rule, "targets": ["a.example", "a@b.example"]}]
    document["settings"]["delivery"] = {"mode": "relay_host"}
    answer = await on_sqlite.api.post("/v1/config:import", json=document, headers=ANY_VERSION)
    assert set(_pointers(answer)) == {"/relay_rules/0/targets/1", "/settings/delivery/relay_host"}
