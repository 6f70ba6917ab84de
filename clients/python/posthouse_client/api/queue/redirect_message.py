from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.message import Message
from ...models.message_redirect import MessageRedirect
from ...types import UNSET, Response, Unset


def _get_kwargs(
    queue_id: str,
    *,
    body: MessageRedirect,
    idempotency_key: str | Unset = UNSET,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if not isinstance(idempotency_key, Unset):
        headers["Idempotency-Key"] = idempotency_key

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/queue/messages/{queue_id}:redirect".format(
            queue_id=quote(str(queue_id), safe=""),
        ),
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> Message:
    if response.status_code == 200:
        response_200 = Message.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[Message]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    queue_id: str,
    *,
    client: AuthenticatedClient | Client,
    body: MessageRedirect,
    idempotency_key: str | Unset = UNSET,
) -> Response[Message]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        queue_id=queue_id,
        body=body,
        idempotency_key=idempotency_key,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    queue_id: str,
    *,
    client: AuthenticatedClient | Client,
    body: MessageRedirect,
    idempotency_key: str | Unset = UNSET,
) -> Message:
    """Redirect one message

    Sends the deliveries of one message that are not finished to another recipient or to another next hop.

    They are due now, except those that are held. Shows the message after the redirect. The answer is 409 when all
    of
    its deliveries are finished, are being tried now, or already go there. To redirect only some recipients of a
    message, redirect messages with the filters queue_id and recipient. The audit log names old and new
    recipients.

    Role: admin.

    Args:
        queue_id (str):
        idempotency_key (str | Unset):
        body (MessageRedirect): The new target of mail. Exactly one member must be given.

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        queue_id=queue_id,
        body=body,
        idempotency_key=idempotency_key,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    queue_id: str,
    *,
    client: AuthenticatedClient | Client,
    body: MessageRedirect,
    idempotency_key: str | Unset = UNSET,
) -> Response[Message]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        queue_id=queue_id,
        body=body,
        idempotency_key=idempotency_key,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    queue_id: str,
    *,
    client: AuthenticatedClient | Client,
    body: MessageRedirect,
    idempotency_key: str | Unset = UNSET,
) -> Message:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        queue_id=queue_id,
        body=body,
        idempotency_key=idempotency_key,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
