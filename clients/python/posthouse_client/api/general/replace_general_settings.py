from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.general_settings import GeneralSettings
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    body: GeneralSettings,
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
        "method": "put",
        "url": "/v1/settings/general",
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> GeneralSettings:
    if response.status_code == 200:
        response_200 = GeneralSettings.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[GeneralSettings]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: GeneralSettings,
    if_match: str,
    if_none_match: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> Response[GeneralSettings]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        body=body,
        if_match=if_match,
        if_none_match=if_none_match,
        prefer=prefer,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
    body: GeneralSettings,
    if_match: str,
    if_none_match: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> GeneralSettings:
    """Replace the general settings

    Replaces the general settings. Members that are left out get their defaults. Secrets that are left out are
    kept. Read-only members are ignored.

    Role: admin.

    Args:
        if_match (str):
        if_none_match (str | Unset):
        prefer (str | Unset):
        body (GeneralSettings): SMTP AUTH, the session profile, the external postmasters.

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        body=body,
        if_match=if_match,
        if_none_match=if_none_match,
        prefer=prefer,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: GeneralSettings,
    if_match: str,
    if_none_match: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> Response[GeneralSettings]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        body=body,
        if_match=if_match,
        if_none_match=if_none_match,
        prefer=prefer,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    body: GeneralSettings,
    if_match: str,
    if_none_match: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> GeneralSettings:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        body=body,
        if_match=if_match,
        if_none_match=if_none_match,
        prefer=prefer,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
