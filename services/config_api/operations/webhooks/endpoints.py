"""The endpoints `/v1/webhooks/{id}/deliveries`, `:resend`, `:test` and `:rotate-secret`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from services.config_api.changes.editor import Changed, time_text
from services.config_api.events.dispatcher import test_event
from services.config_api.http import pagination, responses
from services.config_api.http.context import IdempotencyKey, app_context, needs, note_action, repetition
from services.config_api.http.pagination import PageQuery
from services.config_api.http.parsed_body import Route
from services.config_api.http.paths import BEFORE_COLON
from services.config_api.http.responses import problem_responses
from services.config_api.operations.webhooks.schemas import SecretRotation, WebhookDelivery, WebhookDeliveryPage
from services.config_api.problems import not_found
from services.config_api.resources.description import Body as StoredBody
from services.config_api.resources.webhooks import WEBHOOKS
from services.config_api.storage.idempotency import StoredResponse
from services.config_api.storage.revision import Actor
from services.config_api.storage.webhook_states import DeliveryRecord

router = APIRouter(tags=["events"], route_class=Route)

Operator = Annotated[Actor, Depends(needs("operator"))]


@router.get(
    "/v1/webhooks/{id}/deliveries",
    operation_id="listWebhookDeliveries",
    summary="List the events that were sent to a webhook, with the last attempt of each",
    responses={200: {"model": WebhookDeliveryPage}, **problem_responses(404, noun=WEBHOOKS.label)},
)
async def list_deliveries(
    request: Request,
    _: Annotated[Actor, Depends(needs("reader"))],
    id: str,  # noqa: A002
    given: Annotated[PageQuery, Query()],
) -> Response:
    """Shows the events that were sent to a webhook, each with its last attempt, newest first."""
    await _webhook(request, id)
    states = app_context(request).events.dispatcher.states
    kind = f"webhooks/{id}/deliveries"
    before = None
    if given.cursor is not None:
        at, _colon, event_id = pagination.decode(given.cursor, kind, {}).partition(":")
        if not at.isdigit():
            raise pagination.bad_cursor()
        before = (int(at), event_id)
    rows = list(await states.deliveries(id, before, given.limit + 1))
    more = len(rows) > given.limit
    rows = rows[: given.limit]
    progress = await states.progress(id)
    failing_since = None if progress is None else progress.failing_since
    cursor = pagination.encode(kind, {}, f"{rows[-1].last_attempt_at}:{rows[-1].event_id}") if more else None
    return JSONResponse(
        {
            "items": [_shown(row) for row in rows],
            "next_cursor": cursor,
            "failing_since": None if failing_since is None else time_text(failing_since),
        }
    )


@router.post(
    f"/v1/webhooks/{{id}}/deliveries/{{event_id:{BEFORE_COLON}}}:resend",
    operation_id="resendWebhookDelivery",
    summary="Send an event to a webhook once more",
    responses={200: {"model": WebhookDelivery}, **problem_responses(404, 415, noun=WEBHOOKS.label)},
)
async def resend(request: Request, _: Operator, id: str, event_id: str) -> Response:  # noqa: A002
    """Sends an event of the history to a webhook once more, and shows the result."""
    body = await _webhook(request, id)
    note_action(request, f"webhooks/{id}/deliveries/{event_id}:resend")
    hub = app_context(request).events
    event = None if event_id.startswith("test-") else await hub.one(event_id)
    if event is None:
        raise not_found("event in the history")
    return JSONResponse(_record(await hub.dispatcher.send_once(id, body, event)))


@router.post(
    f"/v1/webhooks/{{id:{BEFORE_COLON}}}:test",
    operation_id="testWebhook",
    summary="Send a test event to a webhook",
    responses={200: {"model": WebhookDelivery}, **problem_responses(404, 415, noun=WEBHOOKS.label)},
)
async def test(request: Request, _: Operator, id: str) -> Response:  # noqa: A002
    """Sends a test event to a webhook, and shows the result."""
    body = await _webhook(request, id)
    note_action(request, f"webhooks/{id}:test")
    return JSONResponse(_record(await app_context(request).events.dispatcher.send_once(id, body, test_event(id))))


@router.post(
    f"/v1/webhooks/{{id:{BEFORE_COLON}}}:rotate-secret",
    operation_id="rotateWebhookSecret",
    summary="Replace the secret of a webhook",
    responses={
        200: {"model": responses.shown_model(WEBHOOKS.kind), "headers": responses.ETAG_HEADER},
        **problem_responses(404, 409, 415, noun=WEBHOOKS.label),
    },
)
async def rotate_secret(
    request: Request,
    caller: Annotated[Actor, Depends(needs("admin"))],
    id: str,  # noqa: A002
    given: Annotated[SecretRotation | None, Body()] = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Makes a new secret. Only this answer shows it. The previous secret also signs for a while."""

    async def answer(result: Changed) -> StoredResponse:
        made = responses.changed(WEBHOOKS, result, {})
        return StoredResponse(200, bytes(made.body).decode(), {"ETag": made.headers["ETag"]}, made_id=id)

    repeat = await repetition(request, caller, idempotency_key)
    overlap = (given or SecretRotation()).overlap_minutes
    return responses.kept(await app_context(request).editor.rotate_webhook_secret(id, overlap, caller, repeat, answer))


async def _webhook(request: Request, webhook_id: str) -> StoredBody:
    document = await app_context(request).store.get(WEBHOOKS.kind, webhook_id)
    if document is None:
        raise not_found(WEBHOOKS.label)
    return document.body


def _shown(row: Any) -> StoredBody:
    return {
        "event_id": row.event_id,
        "type": row.event,
        "queue_id": row.queue_id or None,
        "state": row.state,
        "attempts": row.attempts,
        "last_attempt_at": time_text(row.last_attempt_at),
        "http_status": row.http_status,
        "error": row.error or None,
        "milliseconds": row.took_us // 1000,
    }


def _record(of: DeliveryRecord) -> StoredBody:
    return {
        "event_id": of.event_id,
        "type": of.event,
        "queue_id": of.queue_id or None,
        "state": "delivered" if of.delivered else "failing",
        "attempts": of.attempts,
        "last_attempt_at": time_text(of.last_attempt_at),
        "http_status": of.http_status,
        "error": of.error or None,
        "milliseconds": of.took_us // 1000,
    }
