from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.suspended_destination import SuspendedDestination
from ...models.suspension import Suspension
from ...types import UNSET, Response, Unset


def _get_kwargs(
    name: str,
    *,
    body: Suspension,
    idempotency_key: str | Unset = UNSET,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if not isinstance(idempotency_key, Unset):
        headers["Idempotency-Key"] = idempotency_key

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/queue/destinations/{name}:suspend".format(
            name=quote(str(name), safe=""),
        ),
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> SuspendedDestination:
    if response.status_code == 200:
        response_200 = SuspendedDestination.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[SuspendedDestination]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    name: str,
    *,
    client: AuthenticatedClient | Client,
    body: Suspension,
    idempotency_key: str | Unset = UNSET,
) -> Response[SuspendedDestination]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        name=name,
        body=body,
        idempotency_key=idempotency_key,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    name: str,
    *,
    client: AuthenticatedClient | Client,
    body: Suspension,
    idempotency_key: str | Unset = UNSET,
) -> SuspendedDestination:
    """Suspend a destination

    Tries nothing for the destination until the given time. The answer has a warning when no mail is queued for
    this
    destination.

    Role: operator.

    Args:
        name (str):
        idempotency_key (str | Unset):
        body (Suspension): How long a destination is suspended.

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        name=name,
        body=body,
        idempotency_key=idempotency_key,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    name: str,
    *,
    client: AuthenticatedClient | Client,
    body: Suspension,
    idempotency_key: str | Unset = UNSET,
) -> Response[SuspendedDestination]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        name=name,
        body=body,
        idempotency_key=idempotency_key,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    name: str,
    *,
    client: AuthenticatedClient | Client,
    body: Suspension,
    idempotency_key: str | Unset = UNSET,
) -> SuspendedDestination:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        name=name,
        body=body,
        idempotency_key=idempotency_key,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
