"""Sign-in, and the protection of the pages by cookies, tokens in forms, checks of Host, header fields and roles."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator

import httpx
import pytest

from services.console.app import PAGES, create_app
from services.console.navigation import ROLES
from services.console.page import Dependencies
from services.console.pages import sign_in
from services.console.session import COOKIE, LONGEST_SECONDS, Session, Sessions
from tests.console.visitor import Visitor
from tests.e2e import world
from tests.peers.suite import Suite


def key_of(suite: Suite, role: str) -> tuple[str, str]:
    """Creates an API key and returns its path and the key."""
    body = {"name": f"{role} {uuid.uuid4().hex}", "role": role}
    made = world.create(suite, "/v1/api-keys", body)
    return f"/v1/api-keys/{made['id']}", made["key"]


@pytest.fixture
def stranger(suite: Suite) -> Iterator[Visitor]:
    with Visitor(suite.console_url) as visitor:
        yield visitor


def test_the_cookie_is_encrypted_and_hidden_from_scripts_and_other_sites(suite: Suite, stranger: Visitor) -> None:
    answer = stranger.sign_in(suite.admin_key)
    cookie = answer.headers["set-cookie"]
    for flag in ("HttpOnly", "SameSite=strict", "Path=/", f"Max-Age={LONGEST_SECONDS}"):
        assert flag in cookie
    assert suite.admin_key not in cookie


def test_a_stranger_who_opens_a_page_is_sent_to_sign_in(suite: Suite, stranger: Visitor) -> None:
    for path in ("/", "/messages", "/messages/6B0D27420004B"):
        answer = stranger.http.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


def test_wrong_keys_are_refused(stranger: Visitor) -> None:
    for key in ("", "wrong", "wrong-key-of-some-length", "schlüssel", "two words", "x" * 5000):
        answer = stranger.sign_in(key)
        assert answer.status_code == 401, key
        assert "The API does not know this key." in answer.text


def test_wrong_keys_of_one_user_do_not_lock_out_others(suite: Suite) -> None:
    """The console passes the client's address on, and the API trusts the console."""
    with Visitor(suite.console_url) as guesser, Visitor(suite.console_url) as other:
        guesser.http.headers["X-Forwarded-For"] = "192.0.2.9"
        statuses = [guesser.sign_in(f"wrong-key-{number:06}").status_code for number in range(40)]
        assert statuses[0] == 401
        assert statuses[-1] == 429
        other.http.headers["X-Forwarded-For"] = "192.0.2.10"
        assert other.sign_in("another-wrong-key").status_code == 401
        assert other.sign_in(suite.admin_key).status_code == 303


def test_a_session_ends_when_its_key_is_deleted(suite: Suite) -> None:
    path, key = key_of(suite, "reader")
    with Visitor(suite.console_url, key) as reader:
        assert reader.http.get("/").status_code == 200
        world.remove(suite, path)
        answer = reader.http.get("/")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
        assert 'posthouse_console=""' in answer.headers["set-cookie"]


def test_signing_out_ends_the_session_of_the_browser(visitor: Visitor) -> None:
    assert visitor.send("/", "/sign-out").status_code == 303
    assert visitor.http.get("/").status_code == 303


def test_pages_offer_and_allow_only_the_actions_of_a_role(suite: Suite) -> None:
    _, key = key_of(suite, "reader")
    with Visitor(suite.console_url, key) as reader:
        page = reader.page("/")
        assert {form.action for form in page.forms} == {"/sign-out"}
        answer = reader.http.post("/checks", data={"token": reader.token("/")})
        assert answer.status_code == 403
        assert "Your key may not do this" in answer.text
    with Visitor(suite.console_url) as sender:
        world.account(suite, "sender", "sender@ours.test")
        made = world.create(suite, "/v1/api-keys", {"name": "app", "role": "sender", "account": "sender"})
        assert sender.sign_in(made["key"]).status_code == 403


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1.evil.test", "", "localhost.evil.test:8081"])
def test_requests_with_other_host_names_are_refused(visitor: Visitor, host: str) -> None:
    for path in ("/", "/static/console.js"):
        assert visitor.http.get(path, headers={"Host": host}).status_code == 421


def test_requests_to_the_names_of_loopback_are_answered(suite: Suite, visitor: Visitor) -> None:
    for host in ("localhost", "localhost:1", "127.0.0.1:8081", "[::1]:8081"):
        assert visitor.http.get("/sign-in", headers={"Host": host}).status_code == 200


def test_no_page_may_be_framed_or_cached_or_run_foreign_scripts(visitor: Visitor) -> None:
    for path in ("/", "/sign-in", "/messages", "/none"):
        headers = visitor.http.get(path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy


def test_every_form_needs_the_token_of_its_session(suite: Suite, visitor: Visitor) -> None:
    """The test sends a form without a valid token to every path that accepts a form."""
    paths = form_paths()
    assert "/messages/x/x" in paths
    with Visitor(suite.console_url) as other:
        for token in ("", "x", other.token(), "ä" * 24):
            for path in paths:
                answer = visitor.http.post(path, data={"token": token, "key": suite.admin_key})
                assert answer.status_code == 403, path
                assert "Nothing was changed" in answer.text
    assert visitor.http.get("/").status_code == 200


def test_a_missing_page_and_an_unreachable_api_have_their_own_error_pages(suite: Suite, visitor: Visitor) -> None:
    assert "There is no such page" in visitor.page("/none", 404).text
    assert "There is no such message" in visitor.page("/messages/NONE", 404).text
    suite.kill("config_api")
    try:
        assert "The API can't be reached" in visitor.page("/", 503).text
    finally:
        suite.start_service("config_api")


def form_paths() -> list[str]:
    """Returns every path that accepts a form, with a value for each of its variable parts."""
    routes = [route for module in (sign_in, *PAGES) for route in module.router.routes]
    forms = [route.path for route in routes if "POST" in route.methods]
    return [re.sub(r"\{[^}]*\}", "x", path) for path in forms]


def test_a_session_ends_after_twelve_hours_and_needs_its_own_key() -> None:
    sessions = Sessions(["a key of sixteen characters"])
    sealed = sessions.seal(Session("key", "token"))
    assert sessions.open(sealed) == Session("key", "token")
    assert Sessions(["another key of characters"]).open(sealed) is None
    assert Sessions(["a newer key, which seals", "a key of sixteen characters"]).open(sealed) == Session("key", "token")
    for cookie in ("", "x", "ä", sealed[:-2], sessions.seal_notice("text")):
        assert sessions.open(cookie) is None
    old = sessions._fernet._fernets[0].encrypt_at_time(json.dumps(["session", "key", "token"]).encode(), 1_000_000)
    assert sessions.open(old.decode()) is None


async def test_cookies_are_sent_only_over_tls_when_the_console_uses_tls() -> None:
    async with httpx.AsyncClient() as client:
        app = create_app(Dependencies(Sessions(["k" * 16]), client, (), secure=True), frozenset({"console.test"}))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="https://console.test") as visitor:
            answer = await visitor.get("/sign-in")
    assert "Secure" in answer.headers["set-cookie"]
    assert COOKIE in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"]


def test_the_console_knows_the_same_roles_as_the_api(suite: Suite) -> None:
    document = suite.api.get("/openapi.json").json()
    assert set(document["components"]["schemas"]["ApiKeyRole"]["enum"]) == set(ROLES)
