from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...types import Response


def _get_kwargs(
    client_path: str,
) -> dict[str, Any]:

    _kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/v1/blocked-clients/{client_path}".format(
            client_path=quote(str(client_path), safe=""),
        ),
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> None:
    if response.status_code == 204:
        return None
    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[None]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    client_path: str,
    *,
    client: AuthenticatedClient | Client,
) -> Response[None]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        client_path=client_path,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    client_path: str,
    *,
    client: AuthenticatedClient | Client,
) -> None:
    """Lift a block

    Lifts the block of one client at once, and resets its counters.

    Role: operator.

    Args:
        client_path (str):

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        client_path=client_path,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    client_path: str,
    *,
    client: AuthenticatedClient | Client,
) -> Response[None]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        client_path=client_path,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    client_path: str,
    *,
    client: AuthenticatedClient | Client,
) -> None:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        client_path=client_path,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
