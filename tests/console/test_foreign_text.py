"""Text that others write (subjects, addresses, replies, names) appears only as text on every page, not as HTML."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp

from services.console.app import PAGES, create_app
from services.console.forms.document import ApiDocument
from services.console.page import Dependencies
from services.console.pages import sign_in
from services.console.session import COOKIE, Sessions
from tests.console.fake_api import FakeApi
from tests.console.visitor import ParsedPage

HOST = "console.test"
PIECES = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg onload='alert(1)'>",
    "' autofocus onfocus='alert(1)",
    "javascript:alert(1)",
    "</title></textarea></style></pre><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "<!--",
    "&lt;b&gt;&#60;",
)
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.text(st.characters(codec="utf-8"), max_size=8)), min_size=1).map(
    "".join
)
# This stream of events never ends, so these tests cannot read it. The script of the page shows the events as text.
STREAMS = {"/live/events"}
# Variable parts of paths that accept only certain values.
SEGMENTS = {"{action}": "hold", "{kind}": "webhooks", "{name}": "general", "{part_name}": "deliveries"}
QUERIES = {"/changes/compare": "?from=1&to=2", "/refused/{queue_id}/allow": "?criterion=ip"}
RESOURCES = ApiDocument(FakeApi.document).resources
SESSIONS = Sessions(["a key of sixteen characters"])
API = FakeApi("")


@functools.cache
def console() -> ASGIApp:
    """Returns the console in front of the fake API. It is made once, since making its routes takes long."""
    client = httpx.AsyncClient(base_url="http://api.test", transport=API.transport())
    entries = tuple(entry for module in PAGES for entry in module.ENTRIES)
    return create_app(Dependencies(SESSIONS, client, entries, secure=False), frozenset({HOST}))


def paths(method: str) -> list[str]:
    """Returns every path of the pages that accepts a method."""
    routes = [route for module in (sign_in, *PAGES) for route in module.router.routes]
    return [route.path for route in routes if method in route.methods and route.path not in STREAMS]


def filled(path: str) -> str:
    """Returns a path with a value for each of its variable parts."""
    return re.sub(r"\{[^}]*\}", lambda found: SEGMENTS.get(found[0], "1"), path) + QUERIES.get(path, "")


async def page_of(
    text: str,
    path: str,
    *,
    typed: str = "",
    nulls: bool = False,
    items: bool = True,
    form: Mapping[str, str] | None = None,
) -> httpx.Response:
    """Returns a page for a signed-in user, from an API that has this text everywhere.

    `form` is sent with POST.
    """
    session = SESSIONS.begin("key")
    API.change(text, nulls=nulls, items=items)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(console()),
        base_url=f"http://{HOST}",
        cookies={COOKIE: SESSIONS.seal(session)},
    ) as visitor:
        if form is not None:
            return await visitor.post(path, data={"token": session.token, **form})
        return await visitor.get(path, params={"q": typed, "reason": typed, "client": typed} if typed else None)


def assert_harmless(html: str) -> ParsedPage:
    """Checks that nothing on the page could run or load what others have written.

    There is one script, which is a file of the console, no element or attribute that runs or loads anything else, and
    no address outside of the console.
    """
    page = ParsedPage(html)
    for tag, attributes in page.elements:
        if tag == "script":
            assert attributes["src"].startswith("/static/")
        assert tag not in {"img", "iframe", "object", "embed", "base", "style"}
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        for name in ("href", "src", "action", "formaction"):
            address = attributes.get(name, "")
            assert re.match(r"/(?!/)|#|$", address), address
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 1
    assert len([tag for tag, _ in page.elements if tag in {"title", "main"}]) == 2
    return page


@pytest.mark.parametrize("path", paths("GET"))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=texts)
async def test_foreign_text_is_shown_only_as_text_on_every_page(path: str, text: str) -> None:
    answer = await page_of(text, filled(path))
    assert answer.status_code == 200, answer.text
    assert_harmless(answer.text)


@pytest.mark.parametrize(("nulls", "items"), [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize("path", paths("GET"))
async def test_every_page_can_show_answers_without_optional_content(path: str, nulls: bool, items: bool) -> None:
    answer = await page_of("text", filled(path), nulls=nulls, items=items)
    assert answer.status_code == 200, answer.text
    assert_harmless(answer.text)


@pytest.mark.parametrize("kind", sorted(RESOURCES))
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=texts)
async def test_foreign_text_is_shown_only_as_text_in_every_form_and_list(kind: str, text: str) -> None:
    ends = ("", "/new", "/1", "/1/delete") if RESOURCES[kind].is_collection else ("",)
    for end in ends:
        answer = await page_of(text, f"/configuration/{kind}{end}")
        assert answer.status_code == 200, answer.text
        assert_harmless(answer.text)


@pytest.mark.parametrize("path", ["/messages/1/redirect", "/queue/redirect"])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=texts)
async def test_foreign_text_is_shown_only_as_text_on_the_pages_before_a_redirect(path: str, text: str) -> None:
    chosen = {"sender": text, "new_recipient": text, "host": text, "port": text, "tls": text, "protocol": text}
    for target in ("", "recipient", "next_hop", "configured_route", text):
        answer = await page_of(text, path, form={**chosen, "target": target})
        assert answer.status_code in (200, 303), answer.text
        if answer.status_code == 200:
            assert_harmless(answer.text)


@settings(max_examples=20, deadline=None)
@given(text=texts)
async def test_typed_text_is_shown_only_as_text(text: str) -> None:
    for path in ("/messages", "/refused", "/try"):
        answer = await page_of("harmless", path, typed=text)
        assert answer.status_code < 500, answer.text
        assert_harmless(answer.text)


async def test_foreign_text_is_shown_as_it_was_written() -> None:
    text = "".join(PIECES)
    for path in ("/messages", "/messages/1", "/refused", "/refused/1", "/queue", "/blocked-clients"):
        page = assert_harmless((await page_of(text, path)).text)
        assert text in page.text, path
