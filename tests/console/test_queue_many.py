"""An action on many messages: its page is sent in parts while the action runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from services.console.app import ENTRIES, create_app
from services.console.page import Dependencies
from services.console.session import COOKIE, Sessions
from tests.console.visitor import ParsedPage

HOST = "console.test"
KEY = "a-key-of-the-api"
SESSIONS = Sessions(["a key of sixteen characters"])


def line(matched: int, *, done: bool, skipped: int = 0) -> bytes:
    step = {"matched": matched, "acted": matched - skipped, "skipped": skipped, "done": done}
    return json.dumps(step).encode() + b"\n"


class Lines(httpx.AsyncByteStream):
    """An answer that comes line by line. The next line comes when the test has put it into `told`."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (told := await self.told.get()) is not None:
            if isinstance(told, Exception):
                raise told
            yield told


class Acting:
    """A browser that has confirmed an action on 500 deliveries, and the API that does it."""

    def __init__(self, status: int = 200) -> None:
        self.lines = Lines()
        self.asked: list[httpx.Request] = []
        # The parts of the page that the browser received, in order.
        self.started: dict[str, Any] = {}
        self.parts: asyncio.Queue[str] = asyncio.Queue()
        self._status = status

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/whoami":
            return httpx.Response(200, json={"id": "1", "name": "me", "role": "operator"})
        self.asked.append(request)
        if self._status != 200:
            return httpx.Response(self._status, json={"title": "Not now", "status": self._status})
        return httpx.Response(200, stream=self.lines)

    async def run(self, **fields: str) -> None:
        session = SESSIONS.begin(KEY)
        form = {"action": "hold", "recipient": "x@slow.test", "sure": "yes", "once": "1", "matched": "500", **fields}
        content = urlencode({"token": session.token, **form}).encode()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/queue/many",
            "raw_path": b"/queue/many",
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": [(b"host", HOST.encode()), (b"cookie", f"{COOKIE}={SESSIONS.seal(session)}".encode())],
            "client": ("127.0.0.1", 1),
            "server": (HOST, 80),
        }
        gone = asyncio.Event()
        requests = iter([{"type": "http.request", "body": content, "more_body": False}])

        async def receive() -> dict[str, Any]:
            for request in requests:
                return request
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self.started = message
            else:
                self.parts.put_nowait(message.get("body", b"").decode())

        async with httpx.AsyncClient(base_url="http://api.test", transport=httpx.MockTransport(self._answer)) as client:
            app = create_app(Dependencies(SESSIONS, client, ENTRIES, secure=False), frozenset({HOST}))
            await app(scope, receive, send)  # type: ignore[arg-type]

    def rest(self) -> str:
        """Returns the parts that came since the last call."""
        return "".join(self.parts.get_nowait() for _ in range(self.parts.qsize()))


async def test_each_batch_is_shown_when_it_is_done_and_the_result_comes_last() -> None:
    acting = Acting()
    running = asyncio.create_task(acting.run())
    page = ""
    for matched in (200, 400):
        acting.lines.told.put_nowait(line(matched, done=False))
        async with asyncio.timeout(60):
            while f"{matched} of 500 deliveries so far" not in page:
                page += await acting.parts.get()
        assert "Back to the queue" not in page, "the page is not at its end"
    acting.lines.told.put_nowait(line(500, done=True, skipped=1))
    acting.lines.told.put_nowait(None)
    await running
    page += acting.rest()
    assert acting.started["status"] == 200
    parsed = ParsedPage(page)
    assert "499 of 500 deliveries are held; 1 were being tried" in parsed.text
    assert "/queue#many" in parsed.links
    (asked,) = acting.asked
    assert asked.headers["Idempotency-Key"] == "1"
    assert asked.headers["Accept"] == "application/x-ndjson"
    assert json.loads(asked.content) == {"filter": {"recipient": "x@slow.test"}}


async def test_the_page_of_a_long_action_stays_small() -> None:
    acting = Acting()
    for matched in range(200, 200_000, 200):
        acting.lines.told.put_nowait(line(matched, done=False))
    acting.lines.told.put_nowait(line(200_000, done=True))
    acting.lines.told.put_nowait(None)
    await acting.run(matched="200000")
    page = acting.rest()
    assert 50 < page.count("<li>") <= 120
    assert len(page) < 100_000
    assert "200,000 of 200,000 deliveries are held." in page


async def test_the_page_of_a_repeated_action_shows_its_result() -> None:
    """When a request is repeated, the API answers with the last line only."""
    acting = Acting()
    acting.lines.told.put_nowait(line(500, done=True).rstrip())
    acting.lines.told.put_nowait(None)
    await acting.run()
    assert "500 of 500 deliveries are held." in acting.rest()


@pytest.mark.parametrize("end", [None, httpx.ReadError("gone")], ids=["an end", "an error"])
async def test_a_lost_connection_is_shown_on_the_page(end: Exception | None) -> None:
    acting = Acting()
    acting.lines.told.put_nowait(line(200, done=False))
    acting.lines.told.put_nowait(end)
    await acting.run()
    page = acting.rest()
    assert "The connection to the API was lost." in page
    assert "Back to the queue" in page


async def test_a_refusal_has_its_own_page() -> None:
    acting = Acting(status=409)
    await acting.run()
    assert acting.started["status"] == 409
    assert "Not now" in acting.rest()
