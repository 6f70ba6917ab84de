"""Messages: the search, the page of a message, and the actions on it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

import httpx
from fastapi import APIRouter, Depends
from fastapi.responses import Response
from posthouse_client import ProblemError
from starlette.exceptions import HTTPException

from services.console.message_actions import ACTIONS, REDIRECT, Action
from services.console.navigation import Entry
from services.console.page import Page, needs
from services.console.search import PREFIXES, Meaning, meanings

ENTRIES = (Entry("Messages", "/messages"),)
router = APIRouter()
ReaderPage = Annotated[Page, Depends(needs("reader"))]
OperatorPage = Annotated[Page, Depends(needs("operator"))]

_ON_A_PAGE = 50
# A search for a part of an address or of a subject reads every message, so it is limited to the messages of these days.
_PART_OF_ADDRESS_DAYS = 7
# The largest number of recipients of a message that its page shows.
MOST_DELIVERIES = 100


@router.get("/messages")
async def search(page: ReaderPage, q: str = "", cursor: str = "") -> Response:
    readings = meanings(q)
    items: list[dict[str, Any]] = []
    next_cursor, chosen = None, None
    for reading in readings:
        found = await _find(page, reading, cursor)
        if found["items"]:
            items, next_cursor, chosen = found["items"], found["next_cursor"], reading
            break
        if found["next_cursor"] and chosen is None:
            # The API checks a limited number of messages for one answer, and then continues from there.
            next_cursor, chosen = found["next_cursor"], reading
    if not readings:
        found = await page.api.get("/v1/messages", limit=_ON_A_PAGE, cursor=cursor)
        items, next_cursor = found["items"], found["next_cursor"]
    return page.show(
        "messages.html",
        q=q,
        messages=items,
        next_cursor=next_cursor,
        chosen=chosen,
        others=[reading for reading in readings if reading is not chosen],
        prefixes=PREFIXES,
    )


async def _find(page: Page, reading: Meaning, cursor: str) -> Any:
    """Returns a page for one meaning of the search text. The result is empty when the API does not accept the text."""
    filters: dict[str, Any] = dict(reading.filters)
    if "address_contains" in filters or "subject_contains" in filters:
        filters["received_after"] = (datetime.now(UTC) - timedelta(days=_PART_OF_ADDRESS_DAYS)).isoformat()
    try:
        return await page.api.get("/v1/messages", limit=_ON_A_PAGE, cursor=cursor, **filters)
    except ProblemError as problem:
        if problem.status == httpx.codes.UNPROCESSABLE_ENTITY and not cursor:
            return {"items": [], "next_cursor": None}
        raise


@router.get("/messages/{queue_id}")
async def show(page: ReaderPage, queue_id: str) -> Response:
    message = await _message(page, queue_id)
    return page.show(
        "message.html",
        message=message,
        deliveries=message["deliveries"][:MOST_DELIVERIES],
        actions=[action for action in ACTIONS.values() if _concerned(message, action)],
        can_be_redirected=bool(_concerned(message, REDIRECT)),
    )


@router.get("/messages/{queue_id}/{action}")
async def ask(page: OperatorPage, queue_id: str, action: str) -> Response:
    chosen = _action(action)
    message = await _message(page, queue_id)
    return page.show(
        "message_action.html",
        message=message,
        action=chosen,
        deliveries=_concerned(message, chosen),
        once=str(uuid.uuid4()),
    )


@router.post("/messages/{queue_id}/{action}")
async def act(page: OperatorPage, queue_id: str, action: str) -> Response:
    chosen = _action(action)
    path = f"/v1/queue/messages/{quote(queue_id, safe='')}:{chosen.name}"
    # A form that is sent twice is carried out once.
    await page.api.call("POST", path, headers={"Idempotency-Key": page.form.get("once") or str(uuid.uuid4())})
    return page.redirect(f"/messages/{quote(queue_id, safe='')}", f"The message {chosen.done}.")


def _action(name: str) -> Action:
    if name not in ACTIONS:
        raise HTTPException(404)
    return ACTIONS[name]


def _concerned(message: Mapping[str, Any], action: Action) -> list[Any]:
    """Returns the deliveries that an action would change."""
    return [delivery for delivery in message["deliveries"] if delivery["state"] in action.states]


async def _message(page: Page, queue_id: str) -> Any:
    return await page.api.get(f"/v1/queue/messages/{quote(queue_id, safe='')}", include_header=True)
