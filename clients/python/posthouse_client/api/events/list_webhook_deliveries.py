from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.webhook_delivery_page import WebhookDeliveryPage
from ...types import UNSET, Response, Unset


def _get_kwargs(
    id: str,
    *,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["limit"] = limit

    params["cursor"] = cursor

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/webhooks/{id}/deliveries".format(
            id=quote(str(id), safe=""),
        ),
        "params": params,
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> WebhookDeliveryPage:
    if response.status_code == 200:
        response_200 = WebhookDeliveryPage.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[WebhookDeliveryPage]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    id: str,
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
) -> Response[WebhookDeliveryPage]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        id=id,
        limit=limit,
        cursor=cursor,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    id: str,
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
) -> WebhookDeliveryPage:
    """List the events that were sent to a webhook, with the last attempt of each

    Shows the events that were sent to a webhook, each with its last attempt, newest first.

    Role: reader.

    Args:
        id (str):
        limit (int | Unset):  Default: 100.
        cursor (str | Unset):

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        id=id,
        limit=limit,
        cursor=cursor,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    id: str,
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
) -> Response[WebhookDeliveryPage]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        id=id,
        limit=limit,
        cursor=cursor,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    id: str,
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
) -> WebhookDeliveryPage:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        id=id,
        limit=limit,
        cursor=cursor,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
