from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.domain_tls_policy import DomainTlsPolicy
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    body: DomainTlsPolicy,
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
        "url": "/v1/tls-policies",
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> DomainTlsPolicy:
    if response.status_code == 201:
        response_201 = DomainTlsPolicy.from_dict(response.json())

        return response_201

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[DomainTlsPolicy]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: DomainTlsPolicy,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> Response[DomainTlsPolicy]:
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
    body: DomainTlsPolicy,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> DomainTlsPolicy:
    """Make a new TLS policy

    Makes a new TLS policy and shows it with its id and its ETag. Read-only members are ignored.

    Role: admin.

    Args:
        idempotency_key (str | Unset):
        prefer (str | Unset):
        body (DomainTlsPolicy): The lowest security that connections for direct mail to the domain may have.

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
    body: DomainTlsPolicy,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> Response[DomainTlsPolicy]:
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
    body: DomainTlsPolicy,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> DomainTlsPolicy:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        body=body,
        idempotency_key=idempotency_key,
        prefer=prefer,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
