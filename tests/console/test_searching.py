"""The search box, and the page that it shows when the API finds nothing in the messages that it has searched."""

from __future__ import annotations

import httpx
import pytest

from services.console.app import ENTRIES, create_app
from services.console.page import Dependencies
from services.console.rendering import reply
from services.console.search import meanings
from services.console.session import COOKIE, Sessions
from tests.console.visitor import ParsedPage

HOST = "console.test"
SESSIONS = Sessions(["a key of sixteen characters"])


async def found(q: str, next_cursor: str | None) -> ParsedPage:
    """Returns the page of a search that finds nothing."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/whoami":
            return httpx.Response(200, json={"id": "1", "name": "me", "role": "reader"})
        return httpx.Response(200, json={"items": [], "next_cursor": next_cursor})

    async with httpx.AsyncClient(base_url="http://api.test", transport=httpx.MockTransport(answer)) as client:
        app = create_app(Dependencies(SESSIONS, client, ENTRIES, secure=False), frozenset({HOST}))
        cookies = {COOKIE: SESSIONS.seal(SESSIONS.begin("key"))}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}", cookies=cookies) as visitor:
            return ParsedPage((await visitor.get("/messages", params={"q": q})).text)


async def test_an_unfinished_search_can_be_continued() -> None:
    page = await found("to:x@far.test", "further")
    assert "Nothing was found among the newest messages" in page.text
    assert "/messages?q=to%3Ax%40far.test&cursor=further" in page.links


async def test_a_finished_search_is_shown_as_finished() -> None:
    page = await found("to:x@far.test", None)
    assert "Nothing was found." in page.text
    assert not [link for link in page.links if "cursor=" in link]


def test_the_id_of_a_rule_finds_its_decisions_and_its_refusals_in_shadow_mode() -> None:
    rule = "01900000-0000-7000-8000-000000000001"
    assert [dict(meaning.filters) for meaning in meanings(rule)][:2] == [{"rule_id": rule}, {"shadow_rule_id": rule}]
    [meaning] = meanings(f"shadow-rule:{rule}")
    assert (dict(meaning.filters), meaning.typed) == ({"shadow_rule_id": rule}, f"shadow-rule:{rule}")


@pytest.mark.parametrize(
    ("code", "enhanced_code", "text", "shown"),
    [
        (550, "5.1.1", "5.1.1 No such user", "550 5.1.1 No such user"),
        (550, "5.1.1", "No such user", "550 5.1.1 No such user"),
        (None, None, "Connection refused", "Connection refused"),
        (451, "4.3.0", None, "451 4.3.0"),
    ],
)
def test_a_reply_shows_its_enhanced_code_once(
    code: int | None, enhanced_code: str | None, text: str | None, shown: str
) -> None:
    assert reply({"code": code, "enhanced_code": enhanced_code, "text": text}) == shown
