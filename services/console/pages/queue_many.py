"""Actions on many messages of the queue: first a preview, and then the progress of the action."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, Depends
from fastapi.responses import Response, StreamingResponse
from markupsafe import Markup
from starlette.exceptions import HTTPException

from services.console.message_actions import ACTIONS, Action
from services.console.navigation import Entry
from services.console.page import Page, needs
from services.console.rendering import number

ENTRIES: tuple[Entry, ...] = ()
router = APIRouter()

# The fields of the form, with the filters of the API.
FILTERS: Mapping[str, str] = {
    "state": "State",
    "destination": "Destination",
    "recipient_domain": "Recipient's domain",
    "sender_domain": "Sender's domain",
    "sender": "Sender",
    "recipient": "Recipient",
    "client_address": "Client",
    "account_login": "Account",
    "last_reply_contains": "Last reply contains",
    "subject_contains": "Subject contains",
}
STATES = ("active", "deferred", "held", "quarantined")
# The largest number of steps that are shown, so that a page stays small.
_STEPS = 100
# The place of the steps in the template. A value cannot contain this text, because values are escaped.
_STEPS_PLACE = "<!-- steps -->"
_LOST = (
    "The connection to the API was lost. The action continues there. The queue shows the messages that are changed "
    "already."
)


@router.post("/queue/many")
async def ask_about_many(page: Annotated[Page, Depends(needs("operator"))]) -> Response:
    """Shows the effect of an action before it is done."""
    action = ACTIONS.get(page.form.get("action"))
    if action is None:
        raise HTTPException(404)
    chosen = {name: page.form.get(name) for name in FILTERS if page.form.get(name)}
    if not chosen:
        return page.redirect("/queue#many", "Nothing was done: choose at least one criterion for the messages.")
    if page.form.get("sure") == "yes":
        return await _act(page, action, chosen)
    would = await page.api.post(f"/v1/queue/messages:{action.name}", {"filter": chosen}, dry_run=True)
    return page.show(
        "queue_many.html", action=action, chosen=chosen, filters=FILTERS, would=would, once=str(uuid.uuid4())
    )


async def _act(page: Page, action: Action, chosen: Mapping[str, str]) -> Response:
    """Carries out the action, and sends the page with its progress at the same time. A form that is sent twice is
    carried out once.
    """
    progress = _progress(page, action, chosen)
    # The first step is awaited here, so that a refusal gets its own page.
    first = await anext(progress)
    html = bytes(page.show("queue_progress.html", action=action, chosen=chosen, filters=FILTERS).body).decode()
    expected = page.form.get("matched")
    steps = _steps(first, progress, action, int(expected) if expected.isascii() and expected.isdigit() else 0)
    return StreamingResponse(_whole(html, steps), media_type="text/html")


async def _progress(page: Page, action: Action, chosen: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
    """Yields the API's lines of progress, one after each batch. Raises the errors of the API."""
    async with page.api.stream(
        f"/v1/queue/messages:{action.name}",
        method="POST",
        body={"filter": chosen},
        headers={
            "Accept": "application/x-ndjson",
            "Idempotency-Key": page.form.get("once") or str(uuid.uuid4()),
        },
    ) as answer:
        async for line in answer.aiter_lines():
            if line:
                yield json.loads(line)


async def _whole(html: str, steps: AsyncIterator[str]) -> AsyncIterator[str]:
    before, _, after = html.partition(_STEPS_PLACE)
    yield before
    async for step in steps:
        yield step
    yield after


async def _steps(
    step: Mapping[str, Any], rest: AsyncIterator[dict[str, Any]], action: Action, expected: int
) -> AsyncIterator[str]:
    """Yields a list entry for each step, of which the style sheet shows only the newest. The last entry shows the
    result.
    """
    each, shown = max(expected // _STEPS, 1), 0
    newest: Mapping[str, Any] | None = step
    try:
        while newest is not None and not newest["done"]:
            if newest["matched"] >= shown + each:
                shown = newest["matched"]
                yield _step(shown, expected)
            newest = await anext(rest, None)
    except httpx.TransportError:
        newest = None
    yield _item(_outcome(newest, action) if newest is not None else _LOST)


def _step(so_far: int, expected: int) -> str:
    bar = Markup('<progress max="{}" value="{}" aria-label="Progress"></progress> ').format(expected, so_far)
    return _item(bar + f"{number(so_far)} of {number(max(expected, so_far))} deliveries so far")


def _outcome(step: Mapping[str, Any], action: Action) -> str:
    text = f"{number(step['acted'])} of {number(step['matched'])} deliveries {action.done_to_many}"
    if step["skipped"]:
        text += f"; {number(step['skipped'])} were being tried, or are in a state in which it is not possible"
    return f"{text}."


def _item(text: str) -> str:
    return Markup("<li>{}</li>\n").format(text)
