import datetime
from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.delivery_state_filter import (
    DeliveryStateFilter,
)
from ...models.message_page import MessagePage
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    sender: str | Unset = UNSET,
    recipient: str | Unset = UNSET,
    sender_domain: str | Unset = UNSET,
    recipient_domain: str | Unset = UNSET,
    state: DeliveryStateFilter | Unset = UNSET,
    destination: str | Unset = UNSET,
    received_after: datetime.datetime | Unset = UNSET,
    received_before: datetime.datetime | Unset = UNSET,
    last_reply_contains: str | Unset = UNSET,
    account_login: str | Unset = UNSET,
    client_address: str | Unset = UNSET,
    attempts_at_least: int | Unset = UNSET,
    session_id: str | Unset = UNSET,
    message_id: str | Unset = UNSET,
    envelope_id: str | Unset = UNSET,
    queue_id: str | Unset = UNSET,
    address_contains: str | Unset = UNSET,
    subject_contains: str | Unset = UNSET,
    rule_id: str | Unset = UNSET,
    reason_id: str | Unset = UNSET,
    shadow_reason_id: str | Unset = UNSET,
    shadow_rule_id: str | Unset = UNSET,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["sender"] = sender

    params["recipient"] = recipient

    params["sender_domain"] = sender_domain

    params["recipient_domain"] = recipient_domain

    json_state: str | Unset = UNSET
    if not isinstance(state, Unset):
        json_state = state

    params["state"] = json_state

    params["destination"] = destination

    json_received_after: str | Unset = UNSET
    if not isinstance(received_after, Unset):
        json_received_after = received_after.isoformat()
    params["received_after"] = json_received_after

    json_received_before: str | Unset = UNSET
    if not isinstance(received_before, Unset):
        json_received_before = received_before.isoformat()
    params["received_before"] = json_received_before

    params["last_reply_contains"] = last_reply_contains

    params["account_login"] = account_login

    params["client_address"] = client_address

    params["attempts_at_least"] = attempts_at_least

    params["session_id"] = session_id

    params["message_id"] = message_id

    params["envelope_id"] = envelope_id

    params["queue_id"] = queue_id

    params["address_contains"] = address_contains

    params["subject_contains"] = subject_contains

    params["rule_id"] = rule_id

    params["reason_id"] = reason_id

    params["shadow_reason_id"] = shadow_reason_id

    params["shadow_rule_id"] = shadow_rule_id

    params["limit"] = limit

    params["cursor"] = cursor

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/messages",
        "params": params,
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> MessagePage:
    if response.status_code == 200:
        response_200 = MessagePage.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[MessagePage]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    sender: str | Unset = UNSET,
    recipient: str | Unset = UNSET,
    sender_domain: str | Unset = UNSET,
    recipient_domain: str | Unset = UNSET,
    state: DeliveryStateFilter | Unset = UNSET,
    destination: str | Unset = UNSET,
    received_after: datetime.datetime | Unset = UNSET,
    received_before: datetime.datetime | Unset = UNSET,
    last_reply_contains: str | Unset = UNSET,
    account_login: str | Unset = UNSET,
    client_address: str | Unset = UNSET,
    attempts_at_least: int | Unset = UNSET,
    session_id: str | Unset = UNSET,
    message_id: str | Unset = UNSET,
    envelope_id: str | Unset = UNSET,
    queue_id: str | Unset = UNSET,
    address_contains: str | Unset = UNSET,
    subject_contains: str | Unset = UNSET,
    rule_id: str | Unset = UNSET,
    reason_id: str | Unset = UNSET,
    shadow_reason_id: str | Unset = UNSET,
    shadow_rule_id: str | Unset = UNSET,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
) -> Response[MessagePage]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        sender=sender,
        recipient=recipient,
        sender_domain=sender_domain,
        recipient_domain=recipient_domain,
        state=state,
        destination=destination,
        received_after=received_after,
        received_before=received_before,
        last_reply_contains=last_reply_contains,
        account_login=account_login,
        client_address=client_address,
        attempts_at_least=attempts_at_least,
        session_id=session_id,
        message_id=message_id,
        envelope_id=envelope_id,
        queue_id=queue_id,
        address_contains=address_contains,
        subject_contains=subject_contains,
        rule_id=rule_id,
        reason_id=reason_id,
        shadow_reason_id=shadow_reason_id,
        shadow_rule_id=shadow_rule_id,
        limit=limit,
        cursor=cursor,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
    sender: str | Unset = UNSET,
    recipient: str | Unset = UNSET,
    sender_domain: str | Unset = UNSET,
    recipient_domain: str | Unset = UNSET,
    state: DeliveryStateFilter | Unset = UNSET,
    destination: str | Unset = UNSET,
    received_after: datetime.datetime | Unset = UNSET,
    received_before: datetime.datetime | Unset = UNSET,
    last_reply_contains: str | Unset = UNSET,
    account_login: str | Unset = UNSET,
    client_address: str | Unset = UNSET,
    attempts_at_least: int | Unset = UNSET,
    session_id: str | Unset = UNSET,
    message_id: str | Unset = UNSET,
    envelope_id: str | Unset = UNSET,
    queue_id: str | Unset = UNSET,
    address_contains: str | Unset = UNSET,
    subject_contains: str | Unset = UNSET,
    rule_id: str | Unset = UNSET,
    reason_id: str | Unset = UNSET,
    shadow_reason_id: str | Unset = UNSET,
    shadow_rule_id: str | Unset = UNSET,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
) -> MessagePage:
    """List all messages: queued, finished and refused, newest first

    Shows a page of all messages, queued, finished and refused, that match every filter, newest first.

    Role: reader.

    Args:
        sender (str | Unset):
        recipient (str | Unset):
        sender_domain (str | Unset):
        recipient_domain (str | Unset):
        state (DeliveryStateFilter | Unset): A state of deliveries to search for.
        destination (str | Unset):
        received_after (datetime.datetime | Unset):
        received_before (datetime.datetime | Unset):
        last_reply_contains (str | Unset):
        account_login (str | Unset):
        client_address (str | Unset):
        attempts_at_least (int | Unset):
        session_id (str | Unset):
        message_id (str | Unset):
        envelope_id (str | Unset):
        queue_id (str | Unset):
        address_contains (str | Unset):
        subject_contains (str | Unset):
        rule_id (str | Unset):
        reason_id (str | Unset):
        shadow_reason_id (str | Unset):
        shadow_rule_id (str | Unset):
        limit (int | Unset):  Default: 100.
        cursor (str | Unset):

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        sender=sender,
        recipient=recipient,
        sender_domain=sender_domain,
        recipient_domain=recipient_domain,
        state=state,
        destination=destination,
        received_after=received_after,
        received_before=received_before,
        last_reply_contains=last_reply_contains,
        account_login=account_login,
        client_address=client_address,
        attempts_at_least=attempts_at_least,
        session_id=session_id,
        message_id=message_id,
        envelope_id=envelope_id,
        queue_id=queue_id,
        address_contains=address_contains,
        subject_contains=subject_contains,
        rule_id=rule_id,
        reason_id=reason_id,
        shadow_reason_id=shadow_reason_id,
        shadow_rule_id=shadow_rule_id,
        limit=limit,
        cursor=cursor,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    sender: str | Unset = UNSET,
    recipient: str | Unset = UNSET,
    sender_domain: str | Unset = UNSET,
    recipient_domain: str | Unset = UNSET,
    state: DeliveryStateFilter | Unset = UNSET,
    destination: str | Unset = UNSET,
    received_after: datetime.datetime | Unset = UNSET,
    received_before: datetime.datetime | Unset = UNSET,
    last_reply_contains: str | Unset = UNSET,
    account_login: str | Unset = UNSET,
    client_address: str | Unset = UNSET,
    attempts_at_least: int | Unset = UNSET,
    session_id: str | Unset = UNSET,
    message_id: str | Unset = UNSET,
    envelope_id: str | Unset = UNSET,
    queue_id: str | Unset = UNSET,
    address_contains: str | Unset = UNSET,
    subject_contains: str | Unset = UNSET,
    rule_id: str | Unset = UNSET,
    reason_id: str | Unset = UNSET,
    shadow_reason_id: str | Unset = UNSET,
    shadow_rule_id: str | Unset = UNSET,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
) -> Response[MessagePage]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        sender=sender,
        recipient=recipient,
        sender_domain=sender_domain,
        recipient_domain=recipient_domain,
        state=state,
        destination=destination,
        received_after=received_after,
        received_before=received_before,
        last_reply_contains=last_reply_contains,
        account_login=account_login,
        client_address=client_address,
        attempts_at_least=attempts_at_least,
        session_id=session_id,
        message_id=message_id,
        envelope_id=envelope_id,
        queue_id=queue_id,
        address_contains=address_contains,
        subject_contains=subject_contains,
        rule_id=rule_id,
        reason_id=reason_id,
        shadow_reason_id=shadow_reason_id,
        shadow_rule_id=shadow_rule_id,
        limit=limit,
        cursor=cursor,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    sender: str | Unset = UNSET,
    recipient: str | Unset = UNSET,
    sender_domain: str | Unset = UNSET,
    recipient_domain: str | Unset = UNSET,
    state: DeliveryStateFilter | Unset = UNSET,
    destination: str | Unset = UNSET,
    received_after: datetime.datetime | Unset = UNSET,
    received_before: datetime.datetime | Unset = UNSET,
    last_reply_contains: str | Unset = UNSET,
    account_login: str | Unset = UNSET,
    client_address: str | Unset = UNSET,
    attempts_at_least: int | Unset = UNSET,
    session_id: str | Unset = UNSET,
    message_id: str | Unset = UNSET,
    envelope_id: str | Unset = UNSET,
    queue_id: str | Unset = UNSET,
    address_contains: str | Unset = UNSET,
    subject_contains: str | Unset = UNSET,
    rule_id: str | Unset = UNSET,
    reason_id: str | Unset = UNSET,
    shadow_reason_id: str | Unset = UNSET,
    shadow_rule_id: str | Unset = UNSET,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
) -> MessagePage:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        sender=sender,
        recipient=recipient,
        sender_domain=sender_domain,
        recipient_domain=recipient_domain,
        state=state,
        destination=destination,
        received_after=received_after,
        received_before=received_before,
        last_reply_contains=last_reply_contains,
        account_login=account_login,
        client_address=client_address,
        attempts_at_least=attempts_at_least,
        session_id=session_id,
        message_id=message_id,
        envelope_id=envelope_id,
        queue_id=queue_id,
        address_contains=address_contains,
        subject_contains=subject_contains,
        rule_id=rule_id,
        reason_id=reason_id,
        shadow_reason_id=shadow_reason_id,
        shadow_rule_id=shadow_rule_id,
        limit=limit,
        cursor=cursor,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
