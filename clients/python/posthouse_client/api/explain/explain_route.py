from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.route_explanation import RouteExplanation
from ...models.route_query import RouteQuery
from ...types import Response


def _get_kwargs(
    *,
    body: RouteQuery,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/explain/route",
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> RouteExplanation:
    if response.status_code == 200:
        response_200 = RouteExplanation.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[RouteExplanation]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: RouteQuery,
) -> Response[RouteExplanation]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        body=body,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
    body: RouteQuery,
) -> RouteExplanation:
    """Explain the route that a message would take now

    Shows the route of each recipient after the expansion of aliases, with the rules and hosts that were
    considered.

    Role: reader.

    Args:
        body (RouteQuery): A sender and a recipient, whose route is explained.

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        body=body,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: RouteQuery,
) -> Response[RouteExplanation]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        body=body,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    body: RouteQuery,
) -> RouteExplanation:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        body=body,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
