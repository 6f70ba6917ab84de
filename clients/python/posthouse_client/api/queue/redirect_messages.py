from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.action_progress import ActionProgress
from ...models.message_selection_redirect import MessageSelectionRedirect
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    body: MessageSelectionRedirect,
    dry_run: bool | Unset = False,
    idempotency_key: str | Unset = UNSET,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if not isinstance(idempotency_key, Unset):
        headers["Idempotency-Key"] = idempotency_key

    params: dict[str, Any] = {}

    params["dry_run"] = dry_run

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/queue/messages:redirect",
        "params": params,
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> ActionProgress:
    if response.status_code == 200:
        response_200 = ActionProgress.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[ActionProgress]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: MessageSelectionRedirect,
    dry_run: bool | Unset = False,
    idempotency_key: str | Unset = UNSET,
) -> Response[ActionProgress]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        body=body,
        dry_run=dry_run,
        idempotency_key=idempotency_key,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
    body: MessageSelectionRedirect,
    dry_run: bool | Unset = False,
    idempotency_key: str | Unset = UNSET,
) -> ActionProgress:
    """Send messages elsewhere

    Sends the deliveries of all messages that match to another recipient or to another next hop.

    They are due now, except those that are held. Deliveries that are being tried now, or already go there, are
    skipped
    and counted. Nobody gets two copies of one message. The audit log names the new recipient and old ones.

    Role: admin.

    Args:
        dry_run (bool | Unset):  Default: False.
        idempotency_key (str | Unset):
        body (MessageSelectionRedirect): The messages to redirect, and their new target. Exactly one member
            must be given besides the filter.

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        body=body,
        dry_run=dry_run,
        idempotency_key=idempotency_key,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: MessageSelectionRedirect,
    dry_run: bool | Unset = False,
    idempotency_key: str | Unset = UNSET,
) -> Response[ActionProgress]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        body=body,
        dry_run=dry_run,
        idempotency_key=idempotency_key,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    body: MessageSelectionRedirect,
    dry_run: bool | Unset = False,
    idempotency_key: str | Unset = UNSET,
) -> ActionProgress:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        body=body,
        dry_run=dry_run,
        idempotency_key=idempotency_key,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
