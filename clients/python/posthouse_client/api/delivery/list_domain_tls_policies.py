import datetime
from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.domain_tls_policy_page import DomainTlsPolicyPage
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    updated_after: datetime.datetime | Unset = UNSET,
    with_total: bool | Unset = False,
    domain: str | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["limit"] = limit

    params["cursor"] = cursor

    json_updated_after: str | Unset = UNSET
    if not isinstance(updated_after, Unset):
        json_updated_after = updated_after.isoformat()
    params["updated_after"] = json_updated_after

    params["with_total"] = with_total

    params["domain"] = domain

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/tls-policies",
        "params": params,
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> DomainTlsPolicyPage:
    if response.status_code == 200:
        response_200 = DomainTlsPolicyPage.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[DomainTlsPolicyPage]:
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
    updated_after: datetime.datetime | Unset = UNSET,
    with_total: bool | Unset = False,
    domain: str | Unset = UNSET,
) -> Response[DomainTlsPolicyPage]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
        updated_after=updated_after,
        with_total=with_total,
        domain=domain,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    updated_after: datetime.datetime | Unset = UNSET,
    with_total: bool | Unset = False,
    domain: str | Unset = UNSET,
) -> DomainTlsPolicyPage:
    """List TLS policies

    Shows a page of the TLS policies that match every filter.

    Role: reader.

    Args:
        limit (int | Unset):  Default: 100.
        cursor (str | Unset):
        updated_after (datetime.datetime | Unset):
        with_total (bool | Unset):  Default: False.
        domain (str | Unset):

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
        updated_after=updated_after,
        with_total=with_total,
        domain=domain,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    updated_after: datetime.datetime | Unset = UNSET,
    with_total: bool | Unset = False,
    domain: str | Unset = UNSET,
) -> Response[DomainTlsPolicyPage]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
        updated_after=updated_after,
        with_total=with_total,
        domain=domain,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    updated_after: datetime.datetime | Unset = UNSET,
    with_total: bool | Unset = False,
    domain: str | Unset = UNSET,
) -> DomainTlsPolicyPage:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
        updated_after=updated_after,
        with_total=with_total,
        domain=domain,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
