"""`/v1/events`: what becomes of messages, as server-sent events."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sse_starlette import EventSourceResponse, ServerSentEvent

from services.config_api.events.hub import EventHub
from services.config_api.http.context import actor, leave_share, needs, parts, still_valid
from services.config_api.http.parsed_body import Route
from services.config_api.http.responses import problem_responses
from services.config_api.problems import FieldError, Problem, invalid
from services.config_api.resources.webhooks import EVENT_NAMES, EventName
from services.config_api.storage.revision import Actor

router = APIRouter(tags=["events"], route_class=Route)

_EVENT_ID = re.compile(r"[0-9]{1,19}-[0-9]-[0-9]{1,19}").fullmatch
# A comment is sent so often, so that nobody on the way takes the connection for dead; and the key is looked at again.
_PING_SECONDS = 15
# The longest time for which a client may not read.
_SEND_SECONDS = 30
_RETRY_SECONDS = 1.0


class EventQuery(BaseModel):
    """What is streamed."""

    model_config = ConfigDict(extra="forbid")

    type: list[EventName] | None = Field(
        default=None,
        max_length=len(EVENT_NAMES),
        description="Events of these types alone; it may stand several times.",
    )


@router.get(
    "/v1/events",
    operation_id="streamEvents",
    summary="What becomes of messages, as it happens",
    description="Server-sent events: `id` is to be sent as Last-Event-ID by whoever goes on, `event` is the type, "
    "`data` a MailEvent. Without Last-Event-ID the stream begins now. It goes back as far as the history does.",
    response_class=EventSourceResponse,
    responses={
        200: {
            "description": "A stream without an end.",
            "content": {"text/event-stream": {"schema": {"$ref": "#/components/schemas/MailEvent"}}},
        },
        **problem_responses(),
    },
)
async def stream(
    request: Request,
    caller: Annotated[Actor, Depends(needs("reader"))],
    given: Annotated[EventQuery, Query()],
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-Id", description="Id of the last event that was received.")
    ] = None,
) -> Response:
    hub = parts(request).events
    if last_event_id and not _EVENT_ID(last_event_id):
        raise invalid([FieldError("/Last-Event-ID", "event_id", "It is the id of no event.", "header")])
    cursor = last_event_id or await hub.feed.end()
    kinds = frozenset(given.type or EVENT_NAMES)
    hub.streams.admit(caller.key_id)
    leave_share(request)
    events = _events(request, hub, cursor, kinds)
    return EventSourceResponse(events, ping=_PING_SECONDS, send_timeout=_SEND_SECONDS)


async def _events(
    request: Request, hub: EventHub, cursor: str, kinds: frozenset[str]
) -> AsyncIterator[ServerSentEvent]:
    with hub.streams.one(actor(request).key_id), hub.feed.followed():
        while not hub.feed.closed and still_valid(request):
            try:
                async with asyncio.timeout(_PING_SECONDS):
                    page = await hub.feed.after(cursor)
            except TimeoutError:
                continue
            except Problem:
                # relay is away; the stream waits with it.
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            for event in page.events:
                if event.kind in kinds:
                    yield ServerSentEvent(json.dumps(event.body), event=event.kind, id=event.id)
            cursor = page.next_cursor
