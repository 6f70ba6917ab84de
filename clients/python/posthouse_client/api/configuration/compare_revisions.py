from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.comparison import Comparison
from ...types import UNSET, Response


def _get_kwargs(
    *,
    from_revision: int,
    to_revision: int,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["from_revision"] = from_revision

    params["to_revision"] = to_revision

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/revisions:diff",
        "params": params,
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> Comparison:
    if response.status_code == 200:
        response_200 = Comparison.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[Comparison]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    from_revision: int,
    to_revision: int,
) -> Response[Comparison]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        from_revision=from_revision,
        to_revision=to_revision,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
    from_revision: int,
    to_revision: int,
) -> Comparison:
    """Compare the states after two revisions

    Shows the differences between the states after two revisions, object by object.

    Role: reader.

    Args:
        from_revision (int):
        to_revision (int):

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        from_revision=from_revision,
        to_revision=to_revision,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    from_revision: int,
    to_revision: int,
) -> Response[Comparison]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        from_revision=from_revision,
        to_revision=to_revision,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    from_revision: int,
    to_revision: int,
) -> Comparison:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        from_revision=from_revision,
        to_revision=to_revision,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
