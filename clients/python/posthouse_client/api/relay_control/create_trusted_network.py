from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.trusted_network import TrustedNetwork
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    body: TrustedNetwork,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if not isinstance(idempotency_key, Unset):
        headers["Idempotency-Key"] = idempotency_key

    if not isinstance(prefer, Unset):
        headers["Prefer"] = prefer

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/trusted-networks",
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> TrustedNetwork:
    if response.status_code == 201:
        response_201 = TrustedNetwork.from_dict(response.json())

        return response_201

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[TrustedNetwork]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: TrustedNetwork,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> Response[TrustedNetwork]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        body=body,
        idempotency_key=idempotency_key,
        prefer=prefer,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
    body: TrustedNetwork,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> TrustedNetwork:
    """Make a new trusted network

    Makes a new trusted network and shows it with its id and its ETag. Read-only members are ignored.

    Role: admin.

    Args:
        idempotency_key (str | Unset):
        prefer (str | Unset):
        body (TrustedNetwork): Clients in these networks may send anywhere without a login.

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        body=body,
        idempotency_key=idempotency_key,
        prefer=prefer,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: TrustedNetwork,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> Response[TrustedNetwork]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        body=body,
        idempotency_key=idempotency_key,
        prefer=prefer,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    body: TrustedNetwork,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> TrustedNetwork:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        body=body,
        idempotency_key=idempotency_key,
        prefer=prefer,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
