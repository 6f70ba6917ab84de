from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.revision_details import RevisionDetails
from ...types import Response


def _get_kwargs(
    number: int,
) -> dict[str, Any]:

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/revisions/{number}".format(
            number=quote(str(number), safe=""),
        ),
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> RevisionDetails:
    if response.status_code == 200:
        response_200 = RevisionDetails.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[RevisionDetails]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    number: int,
    *,
    client: AuthenticatedClient | Client,
) -> Response[RevisionDetails]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        number=number,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    number: int,
    *,
    client: AuthenticatedClient | Client,
) -> RevisionDetails:
    """Get one change, with the members that it changed

    Shows one revision with the members that it changed. Of secrets it shows only that they changed.

    Role: reader.

    Args:
        number (int):

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        number=number,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    number: int,
    *,
    client: AuthenticatedClient | Client,
) -> Response[RevisionDetails]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        number=number,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    number: int,
    *,
    client: AuthenticatedClient | Client,
) -> RevisionDetails:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        number=number,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
