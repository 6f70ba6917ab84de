from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.webhook_delivery import WebhookDelivery
from ...types import Response


def _get_kwargs(
    id: str,
    event_id: str,
) -> dict[str, Any]:

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/webhooks/{id}/deliveries/{event_id}:resend".format(
            id=quote(str(id), safe=""),
            event_id=quote(str(event_id), safe=""),
        ),
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> WebhookDelivery:
    if response.status_code == 200:
        response_200 = WebhookDelivery.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[WebhookDelivery]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    id: str,
    event_id: str,
    *,
    client: AuthenticatedClient | Client,
) -> Response[WebhookDelivery]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        id=id,
        event_id=event_id,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    id: str,
    event_id: str,
    *,
    client: AuthenticatedClient | Client,
) -> WebhookDelivery:
    """Send an event to a webhook once more

    Sends an event of the history to a webhook once more, and shows the result.

    Role: operator.

    Args:
        id (str):
        event_id (str):

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        id=id,
        event_id=event_id,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    id: str,
    event_id: str,
    *,
    client: AuthenticatedClient | Client,
) -> Response[WebhookDelivery]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        id=id,
        event_id=event_id,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    id: str,
    event_id: str,
    *,
    client: AuthenticatedClient | Client,
) -> WebhookDelivery:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        id=id,
        event_id=event_id,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
