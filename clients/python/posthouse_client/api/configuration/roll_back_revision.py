from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.rollback_result import RollbackResult
from ...types import UNSET, Response, Unset


def _get_kwargs(
    number: int,
    *,
    dry_run: bool | Unset = False,
    if_match: str,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    headers["If-Match"] = if_match

    if not isinstance(idempotency_key, Unset):
        headers["Idempotency-Key"] = idempotency_key

    if not isinstance(prefer, Unset):
        headers["Prefer"] = prefer

    params: dict[str, Any] = {}

    params["dry_run"] = dry_run

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/revisions/{number}:rollback".format(
            number=quote(str(number), safe=""),
        ),
        "params": params,
    }

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> RollbackResult:
    if response.status_code == 200:
        response_200 = RollbackResult.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[RollbackResult]:
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
    dry_run: bool | Unset = False,
    if_match: str,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> Response[RollbackResult]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        number=number,
        dry_run=dry_run,
        if_match=if_match,
        idempotency_key=idempotency_key,
        prefer=prefer,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    number: int,
    *,
    client: AuthenticatedClient | Client,
    dry_run: bool | Unset = False,
    if_match: str,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> RollbackResult:
    """Roll the configuration back to a revision, except API keys

    Restores the configuration as it was after that revision. The rollback is a new revision itself.

    Role: admin.

    Args:
        number (int):
        dry_run (bool | Unset):  Default: False.
        if_match (str):
        idempotency_key (str | Unset):
        prefer (str | Unset):

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        number=number,
        dry_run=dry_run,
        if_match=if_match,
        idempotency_key=idempotency_key,
        prefer=prefer,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    number: int,
    *,
    client: AuthenticatedClient | Client,
    dry_run: bool | Unset = False,
    if_match: str,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> Response[RollbackResult]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        number=number,
        dry_run=dry_run,
        if_match=if_match,
        idempotency_key=idempotency_key,
        prefer=prefer,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    number: int,
    *,
    client: AuthenticatedClient | Client,
    dry_run: bool | Unset = False,
    if_match: str,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> RollbackResult:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        number=number,
        dry_run=dry_run,
        if_match=if_match,
        idempotency_key=idempotency_key,
        prefer=prefer,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
