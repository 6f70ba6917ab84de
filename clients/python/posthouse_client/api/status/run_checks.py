from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.check_results import CheckResults
from ...types import Response


def _get_kwargs() -> dict[str, Any]:

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/checks:run",
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> CheckResults:
    if response.status_code == 200:
        response_200 = CheckResults.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[CheckResults]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
) -> Response[CheckResults]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs()
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
) -> CheckResults:
    """Check machines and settings now

    Each service makes its checks now. They take up to 20 seconds.

    Role: operator.

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs()
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
) -> Response[CheckResults]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs()
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
) -> CheckResults:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs()
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
