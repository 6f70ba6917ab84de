"""Mail at this moment: the newest events, and a stream of further ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import httpx
from fastapi import APIRouter, Depends
from fastapi.responses import Response, StreamingResponse
from posthouse_client import ProblemError

from services.console.navigation import Entry
from services.console.page import Page, needs

ENTRIES = (Entry("Live", "/live"),)
router = APIRouter()
ReaderPage = Annotated[Page, Depends(needs("reader"))]

_SHOWN = 50


@router.get("/live")
async def show(page: ReaderPage) -> Response:
    messages = await page.api.get("/v1/messages", limit=_SHOWN)
    return page.show("live.html", messages=messages["items"])


@router.get("/live/events")
async def stream(page: ReaderPage) -> Response:
    """Passes the API's stream of events to the script of the page. It ends when the API ends it."""
    last = page.request.headers.get("last-event-id", "")
    return StreamingResponse(_events(page, last), media_type="text/event-stream")


async def _events(page: Page, last: str) -> AsyncIterator[bytes]:
    headers = {"Last-Event-ID": last} if last else {}
    try:
        async with page.api.stream("/v1/events", headers=headers) as answer:
            async for part in answer.aiter_bytes():
                yield part
    except (ProblemError, httpx.TransportError):
        # The browser connects again, and then gets the error.
        return
