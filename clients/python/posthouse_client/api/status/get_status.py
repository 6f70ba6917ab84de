from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.status import Status
from ...types import Response


def _get_kwargs() -> dict[str, Any]:

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/status",
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> Status:
    if response.status_code == 200:
        response_200 = Status.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[Status]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
) -> Response[Status]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs()
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
) -> Status:
    """Get services, replicas, versions, and warnings

    Asks every replica that config_api knows for its state, and searches for settings that are probably a mistake.

    Role: reader.

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs()
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
) -> Response[Status]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs()
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
) -> Status:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs()
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
