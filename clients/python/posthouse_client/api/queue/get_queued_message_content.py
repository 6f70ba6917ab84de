from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...types import File, Response


def _get_kwargs(
    queue_id: str,
) -> dict[str, Any]:

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/queue/messages/{queue_id}/content".format(
            queue_id=quote(str(queue_id), safe=""),
        ),
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> File:
    if response.status_code == 200:
        response_200 = File(payload=BytesIO(response.content))

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[File]:
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
) -> Response[File]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        queue_id=queue_id,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    queue_id: str,
    *,
    client: AuthenticatedClient | Client,
) -> File:
    """Get the whole content of a message

    Returns the whole message as it is in the queue. The audit log records this.

    Role: admin.

    Args:
        queue_id (str):

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        queue_id=queue_id,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    queue_id: str,
    *,
    client: AuthenticatedClient | Client,
) -> Response[File]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        queue_id=queue_id,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    queue_id: str,
    *,
    client: AuthenticatedClient | Client,
) -> File:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        queue_id=queue_id,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
