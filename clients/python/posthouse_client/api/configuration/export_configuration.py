from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.configuration_document import ConfigurationDocument
from ...models.export_configuration_format import (
    ExportConfigurationFormat,
)
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    format_: ExportConfigurationFormat | Unset = UNSET,
    if_none_match: str | Unset = UNSET,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if not isinstance(if_none_match, Unset):
        headers["If-None-Match"] = if_none_match

    params: dict[str, Any] = {}

    json_format_: str | Unset = UNSET
    if not isinstance(format_, Unset):
        json_format_ = format_

    params["format"] = json_format_

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/config:export",
        "params": params,
    }

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> ConfigurationDocument:
    if response.status_code == 200:
        response_200 = ConfigurationDocument.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[ConfigurationDocument]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    format_: ExportConfigurationFormat | Unset = UNSET,
    if_none_match: str | Unset = UNSET,
) -> Response[ConfigurationDocument]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        format_=format_,
        if_none_match=if_none_match,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
    format_: ExportConfigurationFormat | Unset = UNSET,
    if_none_match: str | Unset = UNSET,
) -> ConfigurationDocument:
    """Export the whole configuration, without API keys and secrets

    Returns every setting and object as one document, which an import accepts.

    Role: reader.

    Args:
        format_ (ExportConfigurationFormat | Unset): The format of the text.
        if_none_match (str | Unset):

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        format_=format_,
        if_none_match=if_none_match,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    format_: ExportConfigurationFormat | Unset = UNSET,
    if_none_match: str | Unset = UNSET,
) -> Response[ConfigurationDocument]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        format_=format_,
        if_none_match=if_none_match,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    format_: ExportConfigurationFormat | Unset = UNSET,
    if_none_match: str | Unset = UNSET,
) -> ConfigurationDocument:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        format_=format_,
        if_none_match=if_none_match,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
