"""The endpoints `/v1/queue/…` and `/v1/messages`: show and change relay's queue, and show the history of messages."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from services.config_api.http import pagination
from services.config_api.http.context import DryRun, IdempotencyKey, app_context, needs, note_action, repetition
from services.config_api.http.pagination import PageQuery
from services.config_api.http.parsed_body import Route
from services.config_api.http.paths import BEFORE_COLON
from services.config_api.http.responses import NOTHING_DONE, as_kept, problem_responses
from services.config_api.operations.queue import progress, wire
from services.config_api.operations.queue.schemas import (
    ActionProgress,
    Destination,
    DestinationPage,
    Message,
    MessageFilter,
    MessagePage,
    MessageQuery,
    MessageRedirect,
    MessageSelection,
    MessageSelectionRedirect,
    QueueActionName,
    SuspendedDestination,
    Suspension,
)
from services.config_api.problems import Problem, invalid_field, not_found, nothing_done
from services.config_api.resources.relay_host_checks import refuse_this_gateway
from services.config_api.storage.revision import Actor

Reader = Annotated[Actor, Depends(needs("reader"))]
Operator = Annotated[Actor, Depends(needs("operator"))]
Admin = Annotated[Actor, Depends(needs("admin"))]

NDJSON = "application/x-ndjson"
# The names of the lists to which cursors belong.
_QUEUED, _HISTORY, _DESTINATIONS = "queue/messages", "messages", "queue/destinations"
_QUEUE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DESTINATION = re.compile(r"[\x21-\x2e\x30-\x7e]{1,300}")

# The progress reports that relay sends during an action.
Steps = AsyncIterator[Any]

router = APIRouter(tags=["queue"], route_class=Route)
_problems = functools.partial(problem_responses, noun="message")
_problems_of_destination = functools.partial(problem_responses, noun="destination")


@router.get(
    "/v1/queue/messages",
    operation_id="listQueuedMessages",
    summary="List the messages in the queue",
    responses={200: {"model": MessagePage}, **problem_responses()},
)
async def list_messages(request: Request, _: Reader, given: Annotated[MessageQuery, Query()]) -> Response:
    """Shows a page of the messages in the queue that match every filter."""
    token = pagination.page_token(_QUEUED, given)
    found = await app_context(request).relay.messages(wire.list_request(given, token))
    cursor = pagination.next_cursor(_QUEUED, given, found.next_page_token)
    return _page([wire.message(message) for message in found.messages], cursor)


@router.get(
    "/v1/messages",
    operation_id="listMessageHistory",
    summary="List all messages: queued, finished and refused, newest first",
    responses={200: {"model": MessagePage}, **problem_responses()},
)
async def list_history(request: Request, _: Reader, given: Annotated[MessageQuery, Query()]) -> Response:
    """Shows a page of all messages, queued, finished and refused, that match every filter, newest first."""
    token = pagination.page_token(_HISTORY, given)
    found = await app_context(request).relay.history(wire.history_request(given, token))
    cursor = pagination.next_cursor(_HISTORY, given, found.next_page_token)
    return _page([wire.message(message) for message in found.messages], cursor)


@router.get(
    f"/v1/queue/messages/{{queue_id:{BEFORE_COLON}}}",
    operation_id="getQueuedMessage",
    summary="Get one message with its attempts and timeline",
    responses={200: {"model": Message}, **_problems(404)},
)
async def get_message(
    request: Request,
    _: Reader,
    queue_id: str,
    include_header: Annotated[bool, Query(description="Whether the answer has the header of the message.")] = False,
) -> Response:
    """Shows one message with all its deliveries, their attempts, and its timeline."""
    found = await app_context(request).relay.message(_queue_id(queue_id), include_header=include_header)
    return JSONResponse(wire.message(found))


@router.get(
    "/v1/messages/{queue_id}",
    operation_id="getMessage",
    summary="Get one message, queued or finished",
    responses={200: {"model": Message}, **_problems(404)},
)
async def get_finished(request: Request, caller: Annotated[Actor, Depends(needs("sender"))], queue_id: str) -> Response:
    """Shows one message without its header, as long as it is in the history. A sender sees only messages of its own
    account.
    """
    found = await app_context(request).relay.message(_queue_id(queue_id), include_header=False)
    if caller.account and found.origin.account_login != caller.account:
        raise not_found("message")
    return JSONResponse(wire.message(found))


@router.get(
    "/v1/queue/messages/{queue_id}/content",
    operation_id="getQueuedMessageContent",
    summary="Get the whole content of a message",
    # Without this, the OpenAPI document would say that the answer may be JSON.
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "RFC 5322.",
            "content": {"message/rfc822": {"schema": {"type": "string", "format": "binary"}}},
        },
        **_problems(404),
    },
)
async def get_content(request: Request, _: Admin, queue_id: str) -> Response:
    """Returns the whole message as it is in the queue. The audit log records this."""
    note_action(request, f"queue/messages/{_queue_id(queue_id)}/content")
    chunks = app_context(request).relay.content(queue_id)
    # The first chunk is awaited before the answer begins, so that an unknown message is answered with 404.
    first = await anext(chunks, b"")
    return StreamingResponse(_joined(first, chunks), media_type="message/rfc822")


def _progress_responses(summary: str) -> dict[int | str, dict[str, Any]]:
    return {
        200: {
            "description": f"{summary}: done. With Accept: application/x-ndjson there is a line of progress after each "
            "batch. With an Idempotency-Key, closing the connection does not end the work.",
            "model": ActionProgress,
            "content": {NDJSON: {"schema": {"type": "string"}}},
        },
        **problem_responses(409, 415),
    }


def _add_action_on_one(action: QueueActionName, summary: str, effect: str) -> None:
    @router.post(
        f"/v1/queue/messages/{{queue_id:{BEFORE_COLON}}}:{action}",
        operation_id=f"{action}Message",
        summary=summary,
        description=f"{effect} Shows the message after the action. The answer is 409 when no delivery was in a state "
        "that allows the action.",
        responses={200: {"model": Message}, **_problems(404, 409, 415, conflict=NOTHING_DONE)},
    )
    async def act_on_one(
        request: Request, caller: Operator, queue_id: str, idempotency_key: IdempotencyKey = None
    ) -> Response:
        note_action(request, f"queue/messages/{_queue_id(queue_id)}:{action}")

        def steps() -> Steps:
            return app_context(request).relay.act(wire.act_on_one(action, queue_id, caller.name))

        return await _act_on_one(request, caller, action, queue_id, steps, idempotency_key)


def _add_action_on_many(action: QueueActionName, summary: str, effect: str) -> None:
    @router.post(
        f"/v1/queue/messages:{action}",
        operation_id=f"{action}Messages",
        summary=summary,
        description=f"{effect} Messages in other states are skipped and counted.",
        responses=_progress_responses(summary),
    )
    async def act_on_many(
        request: Request,
        caller: Operator,
        selection: MessageSelection,
        dry_run: DryRun = False,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        _refuse_empty(selection.filter)
        note_action(request, _many(action, dry_run=dry_run))

        def steps() -> Steps:
            return app_context(request).relay.act(
                wire.act_on_many(action, selection.filter, caller.name, dry_run=dry_run)
            )

        return await _act_on_many(request, caller, steps, None if dry_run else idempotency_key)


_add_action_on_one("retry", "Try one message now", "Makes the deferred deliveries of one message due now.")
_add_action_on_one("hold", "Hold one message", "Holds the deliveries of one message, so that they are not tried.")
_add_action_on_one(
    "release", "Release one held message", "Releases the held deliveries of one message, so that they are tried again."
)
_add_action_on_one(
    "bounce", "Return one message", "Ends the deliveries of one message, and reports the failure to its sender."
)
_add_action_on_one("delete", "Delete one message", "Ends the deliveries of one message without a report.")
_add_action_on_many("retry", "Try messages now", "Makes the deferred deliveries of all messages that match due now.")
_add_action_on_many(
    "hold", "Hold messages", "Holds the deliveries of all messages that match, so that they are not tried."
)
_add_action_on_many(
    "release",
    "Release held messages",
    "Releases the held deliveries of all messages that match, so that they are tried again.",
)
_add_action_on_many(
    "bounce",
    "Return messages",
    "Ends the deliveries of all messages that match, and reports the failures to their senders.",
)
_add_action_on_many("delete", "Delete messages", "Ends the deliveries of all messages that match without a report.")


@router.post(
    f"/v1/queue/messages/{{queue_id:{BEFORE_COLON}}}:redirect",
    operation_id="redirectMessage",
    summary="Redirect one message",
    responses={200: {"model": Message}, **_problems(404, 409, 415, conflict=NOTHING_DONE)},
)
async def redirect_message(
    request: Request,
    caller: Admin,
    queue_id: str,
    redirect: MessageRedirect,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Sends the deliveries of one message that are not finished to another recipient or to another next hop.

    They are due now, except those that are held. Shows the message after the redirect. The answer is 409 when all of
    its deliveries are finished, are being tried now, or already go there. To redirect only some recipients of a
    message, redirect messages with the filters queue_id and recipient. The audit log names old and new recipients.
    """
    place = f"queue/messages/{_queue_id(queue_id)}:redirect"
    note_action(request, wire.redirect_target(place, redirect, None))
    await _refuse_circle(request, redirect)

    def steps() -> Steps:
        relay_request = wire.redirect_one(queue_id, redirect, caller.name)
        return _redirecting(request, place, redirect, app_context(request).relay.act(relay_request))

    return await _act_on_one(request, caller, "redirect", queue_id, steps, idempotency_key)


@router.post(
    "/v1/queue/messages:redirect",
    operation_id="redirectMessages",
    summary="Send messages elsewhere",
    responses=_progress_responses("Send messages elsewhere"),
)
async def redirect_messages(
    request: Request,
    caller: Admin,
    selection: MessageSelectionRedirect,
    dry_run: DryRun = False,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Sends the deliveries of all messages that match to another recipient or to another next hop.

    They are due now, except those that are held. Deliveries that are being tried now, or already go there, are skipped
    and counted. Nobody gets two copies of one message. The audit log names the new recipient and old ones.
    """
    _refuse_empty(selection.filter)
    place = _many("redirect", dry_run=dry_run)
    note_action(request, wire.redirect_target(place, selection, None))
    await _refuse_circle(request, selection)

    def steps() -> Steps:
        relay_request = wire.redirect_many(selection, selection.filter, caller.name, dry_run=dry_run)
        return _redirecting(request, place, selection, app_context(request).relay.act(relay_request))

    return await _act_on_many(request, caller, steps, None if dry_run else idempotency_key)


@router.get(
    "/v1/queue/destinations",
    operation_id="listDestinations",
    summary="List the destinations of queued mail, with their errors",
    responses={200: {"model": DestinationPage}, **problem_responses()},
)
async def list_destinations(request: Request, _: Reader, given: Annotated[PageQuery, Query()]) -> Response:
    """Shows a page of the destinations that have queued mail or are suspended."""
    token = pagination.page_token(_DESTINATIONS, given)
    found = await app_context(request).relay.destinations(given.limit, token)
    cursor = pagination.next_cursor(_DESTINATIONS, given, found.next_page_token)
    return _page([wire.destination(destination) for destination in found.destinations], cursor)


@router.post(
    "/v1/queue/destinations/{name}:suspend",
    operation_id="suspendDestination",
    summary="Suspend a destination",
    responses={200: {"model": SuspendedDestination}, **problem_responses(409, 415)},
)
async def suspend(
    request: Request, caller: Operator, name: str, suspension: Suspension, idempotency_key: IdempotencyKey = None
) -> Response:
    """Tries nothing for the destination until the given time. The answer has a warning when no mail is queued for this
    destination.
    """
    note_action(request, f"queue/destinations/{_destination(name)}:suspend")

    async def act() -> JSONResponse:
        destination = await app_context(request).relay.suspend(
            wire.suspend_request(name, suspension.until, caller.name)
        )
        return JSONResponse({**wire.destination(destination), "warnings": wire.warnings_of_suspension(destination)})

    return await _once(request, caller, idempotency_key, act)


@router.post(
    "/v1/queue/destinations/{name}:resume",
    operation_id="resumeDestination",
    summary="Resume a destination",
    responses={200: {"model": Destination}, **_problems_of_destination(404, 409, 415, conflict=NOTHING_DONE)},
)
async def resume(request: Request, caller: Operator, name: str, idempotency_key: IdempotencyKey = None) -> Response:
    """Ends a suspension. The answer is 409 when the destination is not suspended."""
    note_action(request, f"queue/destinations/{_destination(name)}:resume")

    async def act() -> JSONResponse:
        try:
            destination = await app_context(request).relay.resume(wire.resume_request(name, caller.name))
        except Problem as problem:
            if problem.status == 409:
                raise nothing_done("The destination is not suspended.") from None
            raise
        return JSONResponse(wire.destination(destination))

    return await _once(request, caller, idempotency_key, act)


async def _act_on_one(
    request: Request, caller: Actor, action: str, queue_id: str, steps: Callable[[], Steps], key: str | None
) -> Response:
    async def act() -> JSONResponse:
        result = await _last(steps())
        message = await app_context(request).relay.message(queue_id, include_header=False)
        if not result["acted"]:
            raise nothing_done(wire.why_nothing_was_done(action, message))
        return JSONResponse(wire.message(message))

    return await _once(request, caller, key, act)


async def _act_on_many(request: Request, caller: Actor, steps: Callable[[], Steps], key: str | None) -> Response:
    if NDJSON in request.headers.get("accept", ""):
        repeat = await repetition(request, caller, key)
        shown = progress.shown(steps()) if repeat is None else progress.shown_once(repeat, steps())
        # The first step is awaited before the answer begins, so that a refusal is answered with its own status.
        first = await anext(shown, progress.NOTHING)
        return StreamingResponse(_lines(first, shown), media_type=NDJSON)

    async def act() -> JSONResponse:
        return JSONResponse(await _last(steps()))

    return await _once(request, caller, key, act)


async def _redirecting(request: Request, place: str, redirect: MessageRedirect, steps: Steps) -> Steps:
    """Yields the progress of a redirect. Updates the entry for the audit log, which names the recipients that were
    redirected so far. Raises Problem 422 for a new recipient to whom mail would fail at once.
    """
    try:
        async for step in steps:
            note_action(request, wire.redirect_target(place, redirect, step))
            yield step
    except Problem as problem:
        if problem.status != 409:
            raise
        detail = "Mail would fail at once: nobody has this address, or its alias leads back to itself."
        raise invalid_field("/recipient", "undeliverable", detail) from None


async def _refuse_circle(request: Request, redirect: MessageRedirect) -> None:
    """Raises Problem 422 for a next hop that is a listener of this gateway."""
    if redirect.next_hop is not None:
        check_context = app_context(request).editor.check_context()
        await refuse_this_gateway(redirect.next_hop.model_dump(), "/next_hop", check_context)


def _refuse_empty(chosen: MessageFilter) -> None:
    """Raises Problem 422 for an empty filter, because all messages would match it."""
    if not chosen.model_dump(exclude_none=True):
        raise invalid_field("/filter", "empty_filter", "At least one member must be given.")


def _many(action: str, *, dry_run: bool) -> str:
    return f"queue/messages:{action}" + (" (dry run)" if dry_run else "")


async def _once(
    request: Request, caller: Actor, key: str | None, act: Callable[[], Awaitable[JSONResponse]]
) -> Response:
    """Calls `act`, and returns its answer. With an Idempotency-Key, `act` is called only once, and the answer is stored
    for repetitions of the request.
    """
    repeat = await repetition(request, caller, key)
    if repeat is None:
        return await act()
    async with repeat.claimed() as answers:
        answer = await act()
        answers.append(as_kept(answer))
        return answer


async def _last(steps: AsyncIterator[Any]) -> dict[str, Any]:
    last = progress.NOTHING
    async for step in progress.shown(steps):
        last = step
    return last


def _page(items: list[dict[str, Any]], cursor: str | None) -> Response:
    return JSONResponse({"items": items, "next_cursor": cursor})


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


async def _lines(first: dict[str, Any], rest: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    yield json.dumps(first).encode() + b"\n"
    async for step in rest:
        yield json.dumps(step).encode() + b"\n"
