from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.message_to_send import MessageToSend
from ...models.submitted_message import SubmittedMessage
from ...types import UNSET, File, Response, Unset


def _get_kwargs(
    *,
    body: MessageToSend | File | Unset = UNSET,
    sender: str | Unset = UNSET,
    recipient: list[str] | Unset = UNSET,
    idempotency_key: str | Unset = UNSET,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if not isinstance(idempotency_key, Unset):
        headers["Idempotency-Key"] = idempotency_key

    params: dict[str, Any] = {}

    params["sender"] = sender

    json_recipient: list[str] | Unset = UNSET
    if not isinstance(recipient, Unset):
        json_recipient = recipient

    params["recipient"] = json_recipient

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/messages",
        "params": params,
    }

    if isinstance(body, MessageToSend):
        _kwargs["json"] = body.to_dict()

        headers["Content-Type"] = "application/json"
    if isinstance(body, File):
        _kwargs["content"] = body.payload

        headers["Content-Type"] = "message/rfc822"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> SubmittedMessage:
    if response.status_code == 202:
        response_202 = SubmittedMessage.from_dict(response.json())

        return response_202

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[SubmittedMessage]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: MessageToSend | File | Unset = UNSET,
    sender: str | Unset = UNSET,
    recipient: list[str] | Unset = UNSET,
    idempotency_key: str | Unset = UNSET,
) -> Response[SubmittedMessage]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        body=body,
        sender=sender,
        recipient=recipient,
        idempotency_key=idempotency_key,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
    body: MessageToSend | File | Unset = UNSET,
    sender: str | Unset = UNSET,
    recipient: list[str] | Unset = UNSET,
    idempotency_key: str | Unset = UNSET,
) -> SubmittedMessage:
    """Submit a message

    The message goes through a submission session of the key's account, from the address of the HTTP client. All
    rules, limits and checks are those of SMTP. For message/rfc822 the envelope is in the query.

    Role: sender.

    Args:
        sender (str | Unset):
        recipient (list[str] | Unset):
        idempotency_key (str | Unset):
        body (MessageToSend): A message: either `raw`, or its parts `from`, recipients, `subject`, `text`,
            `html` and `attachments`.
        body (File):

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        body=body,
        sender=sender,
        recipient=recipient,
        idempotency_key=idempotency_key,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: MessageToSend | File | Unset = UNSET,
    sender: str | Unset = UNSET,
    recipient: list[str] | Unset = UNSET,
    idempotency_key: str | Unset = UNSET,
) -> Response[SubmittedMessage]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        body=body,
        sender=sender,
        recipient=recipient,
        idempotency_key=idempotency_key,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    body: MessageToSend | File | Unset = UNSET,
    sender: str | Unset = UNSET,
    recipient: list[str] | Unset = UNSET,
    idempotency_key: str | Unset = UNSET,
) -> SubmittedMessage:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        body=body,
        sender=sender,
        recipient=recipient,
        idempotency_key=idempotency_key,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
