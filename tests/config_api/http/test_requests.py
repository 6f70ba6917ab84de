"""The checks that every request passes: keys, roles, limits, and problems that repeat no input (C82, C148, C156)."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import threading
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.config_api.app import describe_app
from services.config_api.http.authentication import FailureLimit
from services.config_api.http.client_address import client_address
from services.config_api.http.parsed_body import Route
from services.config_api.resources.catalogue import COLLECTIONS, SINGLETONS
from tests.config_api.service import ADMIN_KEY, Service, running

GENERAL = "/v1/settings/general"
JSON = {"Content-Type": "application/json"}


async def test_the_api_and_metrics_need_a_key_and_probes_need_none(on_sqlite: Service) -> None:
    paths = [f"/v1/{resource.kind}" for resource in (*SINGLETONS, *COLLECTIONS)]
    async with httpx.AsyncClient(base_url=str(on_sqlite.api.base_url)) as stranger:
        for path in [*paths, "/v1/config:export", "/v1/revisions", "/v1/audit-log", "/v1/no-such-thing"]:
            answer = await stranger.get(path)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"].startswith("Bearer")
        for header in (
            "Basic YTpi",
            "Bearer",
            "bearer wrong",
            f"Bearer {ADMIN_KEY}x",
            "Bearer " + "x" * 9999,
        ):
            answer = await stranger.get(GENERAL, headers={"Authorization": header})
            assert answer.status_code == 401, header
        assert (await stranger.get("/healthz")).status_code == 200
        # gRPC runs on plain TCP in this test.
        ready = await stranger.get("/readyz")
        assert (ready.status_code, ready.json()["status"], ready.json()["missing"].keys()) == (
            200,
            "degraded",
            {"grpc"},
        )
        assert (await stranger.get("/metrics")).status_code == 401


async def test_each_role_may_call_its_operations(service: Service) -> None:
    keys = {}
    for role in ("reader", "operator", "admin"):
        keys[role] = (await service.make("api-keys", {"name": f"the {role}", "role": role}))["key"]

    async def ask(role: str, method: str, path: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {keys[role]}", "If-Match": "*"}
        body: dict[str, Any] | None = {} if method in ("POST", "PATCH") else None
        return await service.api.request(method, path, headers=headers, json=body)

    assert (await ask("reader", "GET", GENERAL)).status_code == 200
    for role in ("reader", "operator"):
        refused = await ask(role, "PATCH", GENERAL)
        assert refused.status_code == 403
        assert refused.json()["required_role"] == "admin"
        assert "admin" in refused.json()["detail"]
        assert (await ask(role, "GET", "/v1/api-keys")).status_code == 403
        assert (await ask(role, "GET", "/v1/audit-log")).status_code == 403
    assert (await ask("reader", "DELETE", "/v1/blocked-clients/192.0.2.1")).json()["required_role"] == "operator"
    assert (await ask("operator", "DELETE", "/v1/blocked-clients/192.0.2.1")).status_code == 503
    assert (await ask("operator", "GET", "/v1/queue/messages/x/content")).json()["required_role"] == "admin"
    assert (await ask("admin", "PATCH", GENERAL)).status_code == 200


async def test_an_expired_key_is_refused(service: Service) -> None:
    made = await service.make("api-keys", {"name": "ci", "role": "reader"})
    headers = {"Authorization": f"Bearer {made['key']}"}
    path = f"/v1/api-keys/{made['id']}"
    assert made["key"].startswith(made["prefix"])
    assert (await service.api.get(GENERAL, headers=headers)).status_code == 200
    shown = await service.get(path)
    assert shown["last_used_at"] is not None
    assert made["key"] not in str(shown)
    assert "hash" not in str(shown)
    await service.change(path, {"expires_at": "2020-01-01T00:00:00Z"})
    # The service checks keys against a cache in memory, which it updates from the database at its next poll.
    async with asyncio.timeout(60):
        while (await service.api.get(GENERAL, headers=headers)).status_code != 401:
            pass


async def test_only_attempts_with_wrong_keys_are_limited(on_sqlite: Service) -> None:
    async def attempt(key: str) -> int:
        return (await on_sqlite.api.get(GENERAL, headers={"Authorization": f"Bearer {key}"})).status_code

    statuses = [await attempt(f"wrong{number}") for number in range(65)]
    assert statuses[0] == 401
    # If a new minute begins during the test, the attempts of two minutes are recorded.
    assert statuses.count(429) >= 5
    assert await attempt(ADMIN_KEY) == 200
    entries = (await on_sqlite.get("/v1/audit-log?status=401"))["items"]
    assert 30 <= len(entries) <= 60


async def test_requests_without_a_key_do_not_fill_the_audit_log(on_sqlite: Service) -> None:
    for number in range(70):
        headers = {"Authorization": ("", "Basic YTpi", "Bearer")[number % 3]}
        # A request without a key does not guess a key, so such requests are not limited and always get the same answer.
        assert (await on_sqlite.api.get(GENERAL, headers=headers)).status_code == 401
    entries = (await on_sqlite.get("/v1/audit-log?status=401&limit=1000"))["items"]
    assert 30 <= len(entries) <= 60


def test_failures_are_counted_per_client_in_a_table_of_limited_size() -> None:
    limit = FailureLimit(20)
    assert all(limit.count("192.0.2.1") for _ in range(20))
    assert not limit.count("192.0.2.1")
    assert limit.count("192.0.2.2")
    assert not all(limit.count(f"2001:db8::{number:x}") for number in range(21))
    for number in range(20_000):
        limit.count(str(ipaddress.IPv4Address(number)))
    assert limit.count("192.0.2.1")


PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8:1::/48"))


@pytest.mark.parametrize(
    ("peer", "fields", "found"),
    [
        ("198.51.100.9", ["203.0.113.5"], "198.51.100.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["1.2.3.4, 203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["1.2.3.4", "203.0.113.5, 10.9.9.9"], "203.0.113.5"),
        ("10.0.0.1", ["203.0.113.5:4711"], "203.0.113.5"),
        ("10.0.0.1", ["[2001:db8:9::1]:4711"], "2001:db8:9::1"),
        ("10.0.0.1", ["[2001:db8:9::1]"], "2001:db8:9::1"),
        ("10.0.0.1", ["2001:DB8:9::1"], "2001:db8:9::1"),
        ("10.0.0.1", ["::ffff:203.0.113.5"], "203.0.113.5"),
        ("::ffff:10.0.0.1", ["203.0.113.5"], "203.0.113.5"),
        ("2001:db8:1::1", ["203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["203.0.113.5, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.5, _hidden, 10.0.0.7"], "10.0.0.7"),
        ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ("10.0.0.1", [","], "10.0.0.1"),
    ],
)
def test_c82_the_address_of_the_client_behind_proxies_is_found(peer: str, fields: list[str], found: str) -> None:
    assert client_address(peer, fields, PROXIES) == found


async def test_c82_forwarded_addresses_count_only_from_proxies(begun: Path, resolver: str) -> None:
    url = f"sqlite:///{begun / 'config.sqlite3'}"
    forwarded = {"X-Forwarded-For": "203.0.113.5", "Authorization": "Bearer wrong"}
    seen = []
    for proxies in ("", "127.0.0.0/8"):
        async with running(url, begun, nameservers=resolver, proxy_networks=proxies) as service:
            await service.api.get(GENERAL, headers=forwarded)
            seen.append((await service.get("/v1/audit-log?limit=1"))["items"][0]["client_address"])
    assert seen == ["127.0.0.1", "203.0.113.5"]


async def test_c148_text_that_a_database_cannot_store_is_refused(service: Service) -> None:
    bodies = [
        rb'{"name": "a\u0000b", "networks": ["192.0.2.0/24"]}',
        rb'{"name": "\ud800", "networks": ["192.0.2.0/24"]}',
        rb'{"name": "a\r\nb", "networks": ["192.0.2.0/24"]}',
        rb'{"name": "a\u2028b", "networks": ["192.0.2.0/24"]}',
        rb'{"name": "a\u0085b", "networks": ["192.0.2.0/24"]}',
        rb'{"name": "a", "networks": ["192.0.2.0/24\u0000"]}',
        rb'{"name": "a", "networks": ["192.0.2.0/24"], "\u0000": 1}',
        rb'{"name": "a", "networks": ["192.0.2.0/24"], "\udfff": 1}',
    ]
    for body in bodies:
        answer = await service.api.post("/v1/trusted-networks", content=body, headers=JSON)
        assert answer.status_code == 422, body
    for path in ("/v1/accounts/%00", "/v1/accounts/a%00b", "/v1/accounts/%ff", "/v1/revisions/%00", "/v1/%00"):
        assert (await service.api.get(path)).status_code in (404, 422), path
    assert (await service.get("/v1/accounts?login=%ed%a0%80"))["items"] == []
    for path in ("accounts?login=a%00", "queue/messages?sender=%00", "accounts?limit=%00"):
        assert (await service.api.get(f"/v1/{path}")).status_code == 422, path
    for kind, body in (
        (
            "relay-rules",
            rb'{"name":"x","type":"sender","target_type":"domain","targets":["a\u0000.example"],"relay_host":{"host":"h.example"}}',
        ),
        ("relay-domains", rb'{"domain":"a\u0000.example"}'),
        ("accounts", rb'{"login":"a\u0000"}'),
        ("accounts", rb'{"login":"a","addresses":["a\u0000@b.example"]}'),
        ("aliases", rb'{"address":"\ud800@b.example","targets":["a@b.example"]}'),
        ("access-rules", rb'{"list":"block","criterion":"sender","value":"a\u0000@b.example"}'),
        ("dkim-keys", rb'{"domain":"a.example","selector":"a\u0000"}'),
        ("api-keys", rb'{"name":"\u0000","role":"reader"}'),
    ):
        answer = await service.api.post(f"/v1/{kind}", content=body, headers=JSON)
        assert answer.status_code == 422, (kind, answer.text)


async def test_the_length_of_text_is_checked_after_composition(service: Service) -> None:
    """U+1D160 becomes three characters in NFC, so the composed text is longer than the limit allows."""
    note = "\U0001d160"
    host = {"host": "h.example", "auth": {"username": note * 200, "password": "x"}}
    rule = {"name": "x", "type": "sender", "target_type": "domain", "targets": ["a.example"], "relay_host": host}
    for kind, body in (
        ("api-keys", {"name": note * 100, "role": "admin"}),
        ("accounts", {"login": note * 255}),
        ("trusted-networks", {"name": note * 34, "networks": ["192.0.2.0/24"]}),
        ("relay-domains", {"name": note * 34, "domain": "a.example"}),
        ("relay-rules", rule),
    ):
        answer = await service.api.post(f"/v1/{kind}", json=body)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "too_long"), kind
    key = (await service.make("api-keys", {"name": note * 33, "role": "admin"}))["key"]
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "k"}
    made = await service.api.post("/v1/accounts", json={"login": note * 85}, headers=headers)
    assert made.status_code == 201
    assert (await service.get("/v1/audit-log?limit=1"))["items"][0]["actor"] == unicodedata.normalize("NFC", note * 33)


async def test_c148_cursors_with_text_that_a_database_cannot_store_are_refused(service: Service) -> None:
    await service.make("accounts", {"login": "a"})
    await service.make("accounts", {"login": "b"})
    for path in ("accounts", "audit-log", "revisions"):
        cursor = (await service.get(f"/v1/{path}?limit=1"))["next_cursor"]
        of_list, _ = json.loads(base64.urlsafe_b64decode(cursor + "=="))
        for after in ("\ud800", "a\0", "é", "\x7f"):
            forged = base64.urlsafe_b64encode(json.dumps([of_list, after]).encode()).decode()
            answer = await service.api.get(f"/v1/{path}", params={"cursor": forged})
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/cursor"), (path, after)


async def test_bodies_that_are_too_large_or_too_deep_or_malformed_are_refused(on_sqlite: Service) -> None:
    async def post(content: bytes, media_type: str = "application/json") -> httpx.Response:
        return await on_sqlite.api.post("/v1/accounts", content=content, headers={"Content-Type": media_type})

    assert (await post(b'{"login": "' + b"a" * 1_048_576 + b'"}')).status_code == 413
    assert (await post(b"[" * 33 + b"]" * 33)).status_code == 400
    assert (await post(b'{"login": ' + b"[" * 100_000)).status_code == 400
    assert (await post(b'{"login": "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}')).status_code == 201
    assert (await post(b'{"login": "' + b"9" * 10 + b'", "enabled": ' + b"9" * 5000 + b"}")).status_code in (400, 422)
    assert (await post('{"login": "a"}'.encode("utf-16"))).status_code == 400
    assert (await post(b'{"login": "\xff"}')).status_code == 400
    assert (await post(b"{")).status_code == 400
    assert (await post(b"")).status_code == 400
    assert (await post(b"login=a", "application/x-www-form-urlencoded")).status_code == 415
    assert (await post(b'{"login": "b"}', "text/plain")).status_code == 415
    assert len((await on_sqlite.get("/v1/accounts"))["items"]) == 1


async def test_a_body_above_the_largest_size_is_refused(on_sqlite: Service) -> None:
    too_large = await on_sqlite.api.post("/v1/accounts", content=b" " * 1_048_577, headers=JSON)
    assert too_large.status_code == 413


@dataclass
class _Parses:
    """Records in which thread each JSON body is parsed."""

    body: str
    threads: list[threading.Thread]

    def loads(self, text: str | bytes, **options: Any) -> Any:
        if text in (self.body, self.body.encode()):
            self.threads.append(threading.current_thread())
        return _LOADS(text, **options)


_LOADS = json.loads


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "IMPORT", "IMPORT_OF_NONE"])
@pytest.mark.parametrize("is_long", [False, True], ids=["short", "long"])
async def test_a_body_is_parsed_once_and_a_long_one_off_the_event_loop(
    on_sqlite: Service, monkeypatch: pytest.MonkeyPatch, method: str, is_long: bool
) -> None:
    made = await on_sqlite.make("relay-domains", {"domain": "relayed.example"})
    content: Any = {"domain": "relayed.example", "recipients": "list"}
    path = f"/v1/relay-domains/{made['id']}"
    status = 200
    if method == "POST":
        path, status, content = "/v1/relay-domains", 201, {"domain": "b.example"}
    elif method == "IMPORT":
        path, content = "/v1/config:import", await on_sqlite.get("/v1/config:export")
    elif method == "IMPORT_OF_NONE":
        path, status, content = "/v1/config:import", 400, None
    # Spaces after the JSON document make the body long.
    body = json.dumps(content)
    body = body + " " * 70_000 if is_long else body
    parses = _Parses(body, [])
    monkeypatch.setattr(json, "loads", parses.loads)
    verb = "POST" if method.startswith("IMPORT") else method
    answer = await on_sqlite.api.request(verb, path, content=body, headers={**JSON, "If-Match": "*"})
    assert answer.status_code == status, answer.text
    in_loop = threading.current_thread()
    assert [thread is in_loop for thread in parses.threads] == [not is_long]


async def test_every_route_gets_its_body_from_the_middleware() -> None:
    assert {type(route) for route in describe_app().state.routes} == {Route}


@pytest.mark.parametrize("path", ["/v1/relay-domains", "/v1/config:import", "/v1/explain/session"])
@pytest.mark.parametrize("body", ["", "{", " ", "[1,]", "{" + " " * 70_000, '{"n": ' + "9" * 5000 + "}"])
async def test_invalid_json_is_refused(on_sqlite: Service, path: str, body: str) -> None:
    answer = await on_sqlite.api.post(path, content=body, headers=JSON)
    assert answer.status_code == (422 if not body and path == "/v1/explain/session" else 400), answer.text


async def test_a_body_without_a_declared_length_is_limited_too(on_sqlite: Service) -> None:
    async def chunks() -> object:
        for _ in range(20):
            yield b"x" * 100_000

    answer = await on_sqlite.api.post("/v1/accounts", content=chunks(), headers=JSON)  # type: ignore[arg-type]
    assert answer.status_code == 413


async def test_c156_errors_do_not_repeat_values_of_the_request(on_sqlite: Service) -> None:
    secret = "hunter2-never-shown"
    wrong = [
        ("relay-rules", {"name": "x", "relay_host": {"port": 25, "auth": {"username": "u", "password": secret}}}),
        ("relay-rules", {"relay_host": {"host": secret + " x", "auth": {"username": "u", "password": [secret]}}}),
        ("accounts", {"password": secret}),
        ("local-domains", {"name": "a.example", "mailbox": {"kind": secret}}),
        ("local-domains", {"name": "a.example", "mailbox": {"kind": [secret], "path": secret}}),
        ("config:import", {"local_domains": [{"name": "a.example", "quarantine_mailbox": {"kind": secret}}]}),
        ("accounts", {"login": "a", "password": {"x": secret}}),
        ("accounts", {"login": "a", "pasword": secret}),
        ("accounts", {"login": secret + "\n"}),
        ("relay-hosts:test", {"kind": "proposed", "relay_host": {"auth": {"username": "u", "password": secret}}}),
        ("explain/route", {"recipient": secret}),
        ("config:import", {"format": secret, "accounts": [{"password": secret}]}),
    ]
    for kind, body in wrong:
        answer = await on_sqlite.api.post(f"/v1/{kind}", json=body)
        assert answer.status_code == 422, kind
        assert secret not in answer.text, kind
    broken = await on_sqlite.api.post("/v1/accounts", content=b'{"password": "' + secret.encode(), headers=JSON)
    assert (broken.status_code, secret in broken.text) == (400, False)
    for path in (f"accounts?limit={secret}", f"accounts/{secret}", f"revisions/{secret}"):
        assert secret not in (await on_sqlite.api.get(f"/v1/{path}")).text


async def test_problems_have_their_media_type_and_a_request_id(on_sqlite: Service) -> None:
    for answer in (
        await on_sqlite.api.get("/v1/no-such-thing"),
        await on_sqlite.api.delete(GENERAL),
        await on_sqlite.api.get("/v1/accounts/none"),
        await on_sqlite.api.post("/v1/accounts", content=b"{", headers=JSON),
    ):
        assert answer.headers["content-type"] == "application/problem+json"
        found = answer.json()
        assert found["status"] == answer.status_code
        assert found["type"].startswith("urn:posthouse:problem:")
        assert answer.headers["x-request-id"]


async def test_the_answer_to_a_wrong_method_lists_the_right_ones(on_sqlite: Service) -> None:
    for path, methods in (
        ("/v1/accounts", "GET, HEAD, POST"),
        ("/v1/accounts/x", "DELETE, GET, HEAD, PATCH, PUT"),
        # The text after the colon does not belong to an id.
        ("/v1/revisions/1:rollback", "POST"),
        ("/v1/queue/messages/q1:retry", "POST"),
        ("/v1/config:export", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
    ):
        answer = await on_sqlite.api.options(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)
    assert (await on_sqlite.api.get("/v1/revisions/1:rollback")).status_code == 405
    assert (await on_sqlite.api.get("/v1/queue/messages/q1:retry")).status_code == 405


async def test_browsers_of_other_origins_are_refused_by_default(begun: Path, resolver: str) -> None:
    preflight = {"Origin": "https://admin.example", "Access-Control-Request-Method": "PUT"}
    url = f"sqlite:///{begun / 'config.sqlite3'}"
    allowed = []
    for origins in ("", "https://admin.example"):
        async with running(url, begun, nameservers=resolver, cors_origins=origins) as service:
            answer = await service.api.options(GENERAL, headers=preflight)
            allowed.append(answer.headers.get("access-control-allow-origin"))
    assert allowed == [None, "https://admin.example"]


async def test_outages_of_other_services_are_named(on_sqlite: Service) -> None:
    route = json.dumps({"recipient": "a@b.example"}).encode()
    calls = [
        ("GET", "/v1/queue/messages", b"", "relay"),
        ("GET", "/v1/queue/destinations", b"", "relay"),
        ("GET", "/v1/messages", b"", "relay"),
        ("POST", "/v1/queue/messages/abc:retry", b"", "relay"),
        ("POST", "/v1/explain/route", route, "relay"),
        ("POST", "/v1/relay-hosts:test", b'{"kind": "configured", "rule_id": "delivery"}', "relay"),
        ("GET", "/v1/blocked-clients", b"", "policy"),
        ("POST", "/v1/explain/session", b'{"kind": "past", "session_id": "%s"}' % (b"0" * 32), "policy"),
    ]
    for method, path, body, service in calls:
        answer = await on_sqlite.api.request(method, path, content=body, headers=JSON)
        assert answer.status_code == 503, (path, answer.text)
        assert answer.json()["service"] == service
        assert "unavailable" in answer.json()["detail"]
    assert (await on_sqlite.api.get(GENERAL)).status_code == 200


async def test_a_key_can_request_its_own_role_and_id(service: Service) -> None:
    made = await service.make("api-keys", {"name": "monitor", "role": "reader"})
    answer = await service.api.get("/v1/whoami", headers={"Authorization": f"Bearer {made['key']}"})
    assert answer.json() == {
        "id": made["id"],
        "name": "monitor",
        "role": "reader",
        "client_address": "127.0.0.1",
    }
    assert (await service.get("/v1/whoami"))["role"] == "admin"
    assert (await service.api.get("/v1/whoami", headers={"Authorization": "Bearer ph_none"})).status_code == 401


async def test_the_request_id_of_the_client_is_used(service: Service) -> None:
    network = {"name": "n", "networks": ["192.0.2.0/24"]}
    headers = {"X-Request-Id": "deploy-17:step.4/a_b=c"}
    answer = await service.api.post("/v1/trusted-networks", json=network, headers=headers)
    assert answer.headers["x-request-id"] == "deploy-17:step.4/a_b=c"
    (entry,) = (await service.get("/v1/audit-log?request_id=deploy-17:step.4/a_b%3Dc"))["items"]
    assert (entry["action"], entry["status"]) == ("createTrustedNetwork", 201)
    for bad in ("", "x" * 65, "a b", "a\tb", "ä".encode().decode("latin-1")):
        answer = await service.api.get("/v1/whoami", headers=[(b"X-Request-Id", bad.encode("latin-1"))])
        assert answer.headers["x-request-id"] != bad
        assert len(answer.headers["x-request-id"]) == 32
    twice = [(b"X-Request-Id", b"one"), (b"X-Request-Id", b"two")]
    assert len((await service.api.get("/v1/whoami", headers=twice)).headers["x-request-id"]) == 32


async def test_the_audit_log_can_be_filtered_by_time_and_target(service: Service) -> None:
    made = [
        await service.make("trusted-networks", {"name": f"n{number}", "networks": ["192.0.2.0/24"]})
        for number in range(3)
    ]
    target = f"trusted-networks/{made[1]['id']}"
    (entry,) = (await service.get(f"/v1/audit-log?target={target}"))["items"]
    assert entry["target"] == target
    page = await service.get("/v1/audit-log?action=createTrustedNetwork")
    times = [each["occurred_at"] for each in reversed(page["items"])]
    since = await service.get(f"/v1/audit-log?action=createTrustedNetwork&since={times[1]}")
    until = await service.get(f"/v1/audit-log?action=createTrustedNetwork&until={times[1]}")
    # Times are shown in milliseconds but stored in microseconds.
    assert [each["occurred_at"] for each in since["items"]] == times[:0:-1]
    assert [each["occurred_at"] for each in until["items"]] == times[:1]
    first = await service.get(f"/v1/audit-log?since={times[0]}&limit=1")
    other = await service.api.get(f"/v1/audit-log?since={times[1]}&limit=1&cursor={first['next_cursor']}")
    assert (other.status_code, other.json()["errors"][0]["pointer"]) == (422, "/cursor")
    assert (await service.api.get("/v1/audit-log?since=yesterday")).status_code == 422


async def test_lists_can_be_limited_to_newer_objects_and_have_a_total(service: Service) -> None:
    made = [
        await service.make("trusted-networks", {"name": f"n{number}", "networks": ["192.0.2.0/24"]})
        for number in range(3)
    ]
    await service.make("recipients", {"address": "a@b.example"})
    assert (await service.get("/v1/trusted-networks"))["total"] is None
    page = await service.get("/v1/trusted-networks?with_total=true&limit=1")
    assert (len(page["items"]), page["total"]) == (1, 3)
    assert (await service.get("/v1/trusted-networks?with_total=true&enabled=false"))["total"] == 0
    last = max(each["updated_at"] for each in made)
    # One millisecond is added, because times are stored in microseconds and shown in milliseconds.
    later = f"{last[:-5]}.{int(last[-4:-1]) + 1:03}Z" if last[-4:-1] != "999" else last
    await service.change(f"/v1/trusted-networks/{made[0]['id']}", {"enabled": False})
    changed = await service.get(f"/v1/trusted-networks?updated_after={later}&with_total=true")
    assert made[0]["id"] in [each["id"] for each in changed["items"]]
    assert changed["total"] == len(changed["items"])
    everything = await service.get("/v1/trusted-networks?updated_after=2020-01-01T00:00:00Z&limit=1")
    assert everything["next_cursor"]
    other = await service.api.get(f"/v1/trusted-networks?cursor={everything['next_cursor']}")
    assert other.status_code == 422
    assert (await service.get("/v1/recipients?updated_after=2020-01-01T00:00:00Z&with_total=true"))["total"] == 1
    assert (await service.get("/v1/recipients?updated_after=2999-01-01T00:00:00Z&with_total=true"))["total"] == 0


async def test_a_browser_can_read_a_refusal(begun: Path, resolver: str) -> None:
    origin = "https://admin.example"
    url = f"sqlite:///{begun / 'config.sqlite3'}"
    async with running(url, begun, nameservers=resolver, cors_origins=origin) as service:
        for headers, status in (({"Authorization": "Bearer wrong"}, 401), ({}, 404)):
            answer = await service.api.get("/v1/nothing", headers={"Origin": origin, **headers})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, origin)
        answer = await service.api.get("/v1/whoami", headers={"Origin": origin})
        exposed = answer.headers["access-control-expose-headers"]
        assert {"Posthouse-In-Force", "ETag", "X-Request-Id"} <= set(exposed.split(", "))
        other = await service.api.get("/v1/nothing", headers={"Origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers
