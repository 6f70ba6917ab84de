"""`/v1/queue/…` and `/v1/messages`: relay's queue and history, seen and steered."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from services.config_api.http.context import IdempotencyKey, acted, needs, parts, repetition
from services.config_api.http.pagination import PageQuery
from services.config_api.http.parsed_body import Route
from services.config_api.http.paths import BEFORE_COLON
from services.config_api.http.responses import as_kept, problem_responses
from services.config_api.operations.queue import wire
from services.config_api.operations.queue.schemas import (
    ActionProgress,
    Destination,
    DestinationPage,
    Message,
    MessagePage,
    MessageQuery,
    MessageSelection,
    QueueActionName,
    Suspension,
)
from services.config_api.problems import invalid_field, not_found
from services.config_api.storage.revision import Actor

Reader = Annotated[Actor, Depends(needs("reader"))]
Operator = Annotated[Actor, Depends(needs("operator"))]
Admin = Annotated[Actor, Depends(needs("admin"))]

NDJSON = "application/x-ndjson"
_QUEUE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DESTINATION = re.compile(r"[\x21-\x2e\x30-\x7e]{1,300}")

router = APIRouter(tags=["queue"], route_class=Route)


@router.get(
    "/v1/queue/messages",
    operation_id="listQueuedMessages",
    summary="Mail on its way",
    responses={200: {"model": MessagePage}, **problem_responses()},
)
async def list_messages(request: Request, _: Reader, given: Annotated[MessageQuery, Query()]) -> Response:
    found = await parts(request).relay.messages(wire.list_request(given))
    return _page([wire.message(message) for message in found.messages], found.next_page_token)


@router.get(
    "/v1/messages",
    operation_id="listMessageHistory",
    summary="All messages: queued, finished and refused, newest first",
    responses={200: {"model": MessagePage}, **problem_responses()},
)
async def list_history(request: Request, _: Reader, given: Annotated[MessageQuery, Query()]) -> Response:
    found = await parts(request).relay.history(wire.history_request(given))
    return _page([wire.message(message) for message in found.messages], found.next_page_token)


@router.get(
    f"/v1/queue/messages/{{id:{BEFORE_COLON}}}",
    operation_id="getQueuedMessage",
    summary="One message with its attempts and timeline",
    responses={200: {"model": Message}, **problem_responses(404)},
)
async def get_message(
    request: Request,
    _: Reader,
    id: str,  # noqa: A002
    include_header: Annotated[bool, Query(description="Show the message's header too.")] = False,
) -> Response:
    found = await parts(request).relay.message(_queue_id(id), include_header=include_header)
    return JSONResponse(wire.message(found))


@router.get(
    "/v1/messages/{id}",
    operation_id="getMessage",
    summary="One message, queued or finished",
    responses={200: {"model": Message}, **problem_responses(404)},
)
async def get_finished(request: Request, _: Reader, id: str) -> Response:  # noqa: A002
    return JSONResponse(wire.message(await parts(request).relay.message(_queue_id(id), include_header=False)))


@router.get(
    "/v1/queue/messages/{id}/content",
    operation_id="getQueuedMessageContent",
    summary="The message itself, for admins only",
    responses={
        200: {"description": "RFC 5322.", "content": {"message/rfc822": {"schema": {"type": "string"}}}},
        **problem_responses(404),
    },
)
async def get_content(request: Request, _: Admin, id: str) -> Response:  # noqa: A002
    acted(request, f"queue/messages/{_queue_id(id)}/content")
    chunks = parts(request).relay.content(_queue_id(id))
    # The first one is waited for, so that a message that is not there is a 404.
    first = await anext(chunks, b"")
    return StreamingResponse(_joined(first, chunks), media_type="message/rfc822")


@router.post(
    f"/v1/queue/messages/{{id:{BEFORE_COLON}}}:{{action}}",
    operation_id="actOnQueuedMessage",
    summary="Retry, hold, release, bounce or delete one message",
    responses={200: {"model": ActionProgress}, **problem_responses(404, 409, 415)},
)
async def act_on_one(
    request: Request,
    caller: Operator,
    id: str,  # noqa: A002
    action: QueueActionName,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    acted(request, f"queue/messages/{_queue_id(id)}:{action}")

    async def act() -> JSONResponse:
        return await _last(parts(request).relay.act(wire.act_on_one(action, id, caller.name)))

    return await _once(request, caller, idempotency_key, act)


@router.post(
    "/v1/queue/messages:{action}",
    operation_id="actOnQueuedMessages",
    summary="Retry, hold, release, bounce or delete all messages that match",
    responses={
        200: {
            "description": "The result; with Accept: application/x-ndjson, and without Idempotency-Key, a line of "
            "progress after each batch.",
            "model": ActionProgress,
            "content": {NDJSON: {"schema": {"type": "string"}}},
        },
        **problem_responses(409, 415),
    },
)
async def act_on_many(
    request: Request,
    caller: Operator,
    action: QueueActionName,
    given: MessageSelection,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    if not given.filter.model_dump(exclude_none=True):
        raise invalid_field("/filter", "empty_filter", "At least one member must be given.")
    acted(request, f"queue/messages:{action}" + (" (dry run)" if given.dry_run else ""))
    asked = wire.act_on_many(action, given.filter, caller.name, dry_run=given.dry_run)
    key = None if given.dry_run else idempotency_key
    if key is None and NDJSON in request.headers.get("accept", ""):
        steps = parts(request).relay.act(asked)
        first = await anext(steps, None)
        lines = [] if first is None else [wire.progress(first)]
        return StreamingResponse(_lines(lines, steps), media_type=NDJSON)

    async def act() -> JSONResponse:
        return await _last(parts(request).relay.act(asked))

    return await _once(request, caller, key, act)


@router.get(
    "/v1/queue/destinations",
    operation_id="listDestinations",
    summary="Where queued mail goes, and what holds it up",
    responses={200: {"model": DestinationPage}, **problem_responses()},
)
async def list_destinations(request: Request, _: Reader, given: Annotated[PageQuery, Query()]) -> Response:
    found = await parts(request).relay.destinations(*wire.destinations_page(given))
    return _page([wire.destination(destination) for destination in found.destinations], found.next_page_token)


@router.post(
    "/v1/queue/destinations/{name}:suspend",
    operation_id="suspendDestination",
    summary="Let a destination rest",
    responses={200: {"model": Destination}, **problem_responses(404, 409, 415)},
)
async def suspend(
    request: Request, caller: Operator, name: str, given: Suspension, idempotency_key: IdempotencyKey = None
) -> Response:
    acted(request, f"queue/destinations/{_destination(name)}:suspend")

    async def act() -> JSONResponse:
        found = await parts(request).relay.suspend(wire.suspend_request(name, given.until, caller.name))
        return JSONResponse(wire.destination(found))

    return await _once(request, caller, idempotency_key, act)


@router.post(
    "/v1/queue/destinations/{name}:resume",
    operation_id="resumeDestination",
    summary="Try a destination again",
    responses={200: {"model": Destination}, **problem_responses(404, 409, 415)},
)
async def resume(request: Request, caller: Operator, name: str, idempotency_key: IdempotencyKey = None) -> Response:
    acted(request, f"queue/destinations/{_destination(name)}:resume")

    async def act() -> JSONResponse:
        return JSONResponse(wire.destination(await parts(request).relay.resume(wire.resume_request(name, caller.name))))

    return await _once(request, caller, idempotency_key, act)


async def _once(
    request: Request, caller: Actor, key: str | None, act: Callable[[], Awaitable[JSONResponse]]
) -> Response:
    """With an Idempotency-Key the work is done once; relay's own answer is kept."""
    repeat = await repetition(request, caller, key)
    if repeat is None:
        return await act()
    async with repeat.claimed() as answers:
        answer = await act()
        answers.append(as_kept(answer))
        return answer


async def _last(steps: AsyncIterator[Any]) -> JSONResponse:
    last: dict[str, Any] = {"matched": 0, "acted": 0, "skipped": 0, "done": True}
    async for progress in steps:
        last = wire.progress(progress)
    return JSONResponse(last)


def _page(items: list[dict[str, Any]], token: str) -> Response:
    return JSONResponse({"items": items, "next_cursor": token or None})


def _queue_id(text: str) -> str:
    if not _QUEUE_ID.fullmatch(text):
        raise not_found("message")
    return text


def _destination(text: str) -> str:
    if not _DESTINATION.fullmatch(text):
        raise not_found("destination")
    return text


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


async def _lines(first: list[dict[str, Any]], rest: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    for line in first:
        yield json.dumps(line).encode() + b"\n"
    async for progress in rest:
        yield json.dumps(wire.progress(progress)).encode() + b"\n"
