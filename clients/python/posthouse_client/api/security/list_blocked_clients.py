from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.blocked_client_page import BlockedClientPage
from ...types import UNSET, Response, Unset


def _get_kwargs(
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
        "url": "/v1/blocked-clients",
        "params": params,
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> BlockedClientPage:
    if response.status_code == 200:
        response_200 = BlockedClientPage.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[BlockedClientPage]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
) -> Response[BlockedClientPage]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
) -> BlockedClientPage:
    """List the blocked clients

    Shows a page of the clients that policy refuses for a while.

    Role: reader.

    Args:
        limit (int | Unset):  Default: 100.
        cursor (str | Unset):

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
) -> Response[BlockedClientPage]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
) -> BlockedClientPage:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
