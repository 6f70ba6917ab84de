from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.configuration_document import ConfigurationDocument
from ...models.import_result import ImportResult
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    body: ConfigurationDocument | ConfigurationDocument | Unset = UNSET,
    dry_run: bool | Unset = False,
    only: str | Unset = UNSET,
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

    params["only"] = only

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/config:import",
        "params": params,
    }

    if isinstance(body, ConfigurationDocument):
        _kwargs["json"] = body.to_dict()

        headers["Content-Type"] = "application/json"
    if isinstance(body, ConfigurationDocument):
        _kwargs["json"] = body.to_dict()

        headers["Content-Type"] = "application/yaml"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> ImportResult:
    if response.status_code == 200:
        response_200 = ImportResult.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[ImportResult]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: ConfigurationDocument | ConfigurationDocument | Unset = UNSET,
    dry_run: bool | Unset = False,
    only: str | Unset = UNSET,
    if_match: str,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> Response[ImportResult]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        body=body,
        dry_run=dry_run,
        only=only,
        if_match=if_match,
        idempotency_key=idempotency_key,
        prefer=prefer,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
    body: ConfigurationDocument | ConfigurationDocument | Unset = UNSET,
    dry_run: bool | Unset = False,
    only: str | Unset = UNSET,
    if_match: str,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> ImportResult:
    """Replace the whole configuration, except API keys

    Replaces the configuration by the document, as one revision. Objects that the document does not contain are
    removed. Secrets that it does not contain are kept. With `only`, the import replaces these sections only. If-
    Match
    must be the ETag of an export or of a dry run. A dry run needs no If-Match.

    Role: admin.

    Args:
        dry_run (bool | Unset):  Default: False.
        only (str | Unset):
        if_match (str):
        idempotency_key (str | Unset):
        prefer (str | Unset):
        body (ConfigurationDocument): The whole configuration, without API keys, secrets and listed
            recipients. An import removes objects that the document does not contain.
        body (ConfigurationDocument): The whole configuration, without API keys, secrets and listed
            recipients. An import removes objects that the document does not contain.

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        body=body,
        dry_run=dry_run,
        only=only,
        if_match=if_match,
        idempotency_key=idempotency_key,
        prefer=prefer,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: ConfigurationDocument | ConfigurationDocument | Unset = UNSET,
    dry_run: bool | Unset = False,
    only: str | Unset = UNSET,
    if_match: str,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> Response[ImportResult]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        body=body,
        dry_run=dry_run,
        only=only,
        if_match=if_match,
        idempotency_key=idempotency_key,
        prefer=prefer,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    body: ConfigurationDocument | ConfigurationDocument | Unset = UNSET,
    dry_run: bool | Unset = False,
    only: str | Unset = UNSET,
    if_match: str,
    idempotency_key: str | Unset = UNSET,
    prefer: str | Unset = UNSET,
) -> ImportResult:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        body=body,
        dry_run=dry_run,
        only=only,
        if_match=if_match,
        idempotency_key=idempotency_key,
        prefer=prefer,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
