from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.message import Message
from ...types import UNSET, Response, Unset


def _get_kwargs(
    queue_id: str,
    *,
    include_header: bool | Unset = False,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["include_header"] = include_header

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/queue/messages/{queue_id}".format(
            queue_id=quote(str(queue_id), safe=""),
        ),
        "params": params,
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> Message:
    if response.status_code == 200:
        response_200 = Message.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[Message]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    queue_id: str,
    *,
    client: AuthenticatedClient | Client,
    include_header: bool | Unset = False,
) -> Response[Message]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        queue_id=queue_id,
        include_header=include_header,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    queue_id: str,
    *,
    client: AuthenticatedClient | Client,
    include_header: bool | Unset = False,
) -> Message:
    """Get one message with its attempts and timeline

    Shows one message with all its deliveries, their attempts, and its timeline.

    Role: reader.

    Args:
        queue_id (str):
        include_header (bool | Unset):  Default: False.

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        queue_id=queue_id,
        include_header=include_header,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    queue_id: str,
    *,
    client: AuthenticatedClient | Client,
    include_header: bool | Unset = False,
) -> Response[Message]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        queue_id=queue_id,
        include_header=include_header,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    queue_id: str,
    *,
    client: AuthenticatedClient | Client,
    include_header: bool | Unset = False,
) -> Message:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        queue_id=queue_id,
        include_header=include_header,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
