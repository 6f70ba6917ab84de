from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.dkim_key import DkimKey
from ...models.dkim_key_patch import DkimKeyPatch
from ...types import UNSET, Response, Unset


def _get_kwargs(
    id: str,
    *,
    body: DkimKeyPatch,
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
        "method": "patch",
        "url": "/v1/dkim-keys/{id}".format(
            id=quote(str(id), safe=""),
        ),
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/merge-patch+json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> DkimKey:
    if response.status_code == 200:
        response_200 = DkimKey.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[DkimKey]:
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
    body: DkimKeyPatch,
    if_match: str,
    if_none_match: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> Response[DkimKey]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        id=id,
        body=body,
        if_match=if_match,
        if_none_match=if_none_match,
        prefer=prefer,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    id: str,
    *,
    client: AuthenticatedClient | Client,
    body: DkimKeyPatch,
    if_match: str,
    if_none_match: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> DkimKey:
    """Change one DKIM key

    Changes one DKIM key. Members that the merge patch (RFC 7396) does not contain are kept. null gives a member
    its default.

    Role: admin.

    Args:
        id (str):
        if_match (str):
        if_none_match (str | Unset):
        prefer (str | Unset):
        body (DkimKeyPatch): A merge patch (RFC 7396) of DkimKey: absent members do not change, and null
            sets the default.

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        id=id,
        body=body,
        if_match=if_match,
        if_none_match=if_none_match,
        prefer=prefer,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    id: str,
    *,
    client: AuthenticatedClient | Client,
    body: DkimKeyPatch,
    if_match: str,
    if_none_match: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> Response[DkimKey]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        id=id,
        body=body,
        if_match=if_match,
        if_none_match=if_none_match,
        prefer=prefer,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    id: str,
    *,
    client: AuthenticatedClient | Client,
    body: DkimKeyPatch,
    if_match: str,
    if_none_match: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> DkimKey:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        id=id,
        body=body,
        if_match=if_match,
        if_none_match=if_none_match,
        prefer=prefer,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
