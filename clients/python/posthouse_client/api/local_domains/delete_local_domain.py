from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.removed import Removed
from ...types import UNSET, Response, Unset


def _get_kwargs(
    id: str,
    *,
    if_match: str,
    if_none_match: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    headers["If-Match"] = if_match

    if not isinstance(if_none_match, Unset):
        headers["If-None-Match"] = if_none_match

    if not isinstance(prefer, Unset):
        headers["Prefer"] = prefer

    _kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/v1/local-domains/{id}".format(
            id=quote(str(id), safe=""),
        ),
    }

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> Removed | None:
    if response.status_code == 200:
        response_200 = Removed.from_dict(response.json())

        return response_200

    if response.status_code == 204:
        return None
    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[Removed | None]:
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
    if_match: str,
    if_none_match: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> Response[Removed | None]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        id=id,
        if_match=if_match,
        if_none_match=if_none_match,
        prefer=prefer,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    id: str,
    *,
    client: AuthenticatedClient | Client,
    if_match: str,
    if_none_match: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> Removed | None:
    """Remove one local domain

    Removes one local domain. If other settings still refer to it, the answer is 200 and names them.

    Role: admin.

    Args:
        id (str):
        if_match (str):
        if_none_match (str | Unset):
        prefer (str | Unset):

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        id=id,
        if_match=if_match,
        if_none_match=if_none_match,
        prefer=prefer,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    id: str,
    *,
    client: AuthenticatedClient | Client,
    if_match: str,
    if_none_match: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> Response[Removed | None]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        id=id,
        if_match=if_match,
        if_none_match=if_none_match,
        prefer=prefer,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    id: str,
    *,
    client: AuthenticatedClient | Client,
    if_match: str,
    if_none_match: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> Removed | None:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        id=id,
        if_match=if_match,
        if_none_match=if_none_match,
        prefer=prefer,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
