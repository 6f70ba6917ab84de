"""The endpoint `/v1/events`: streams events about messages as server-sent events."""

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
from services.config_api.http.context import actor, app_context, leave_share, needs, still_valid
from services.config_api.http.parsed_body import Route
from services.config_api.http.responses import problem_responses
from services.config_api.problems import FieldError, Problem, invalid
from services.config_api.resources.webhooks import EVENT_NAMES, EventName
from services.config_api.storage.revision import Actor

router = APIRouter(tags=["events"], route_class=Route)

_EVENT_ID = re.compile(r"[0-9]{1,19}-[0-9]-[0-9]{1,19}").fullmatch
# A comment is sent at this interval, so that proxies do not close the connection. The key is checked at this interval
# or more often.
_PING_SECONDS = 15
# The longest time in seconds for which a client may read nothing before the stream is closed.
_SEND_SECONDS = 30
_RETRY_SECONDS = 1.0


class EventQuery(BaseModel):
    """The events to stream."""

    model_config = ConfigDict(extra="forbid")

    type: list[EventName] | None = Field(
        default=None,
        max_length=len(EVENT_NAMES),
        description="Only events of these types. It may be given several times.",
    )


@router.get(
    "/v1/events",
    operation_id="streamEvents",
    summary="Stream the events about messages as they happen",
    description="Server-sent events: `id` is sent as Last-Event-ID to continue after this event, `event` is the "
    "type, and `data` is a MailEvent. Without Last-Event-ID the stream begins now. Events can be read as "
    "far back as the history reaches.",
    response_class=EventSourceResponse,
    responses={
        200: {
            "description": "The stream has no end.",
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
        str | None, Header(alias="Last-Event-Id", description="The id of the last event that the client received.")
    ] = None,
) -> Response:
    hub = app_context(request).events
    if last_event_id and not _EVENT_ID(last_event_id):
        raise invalid([FieldError("/Last-Event-ID", "event_id", "No event has this id.", "header")])
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
                # If relay does not answer, the stream waits until it does.
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            for event in page.events:
                if event.kind in kinds:
                    yield ServerSentEvent(json.dumps(event.body), event=event.kind, id=event.id)
            cursor = page.next_cursor
