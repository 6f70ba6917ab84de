from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.message import Message
from ...types import Response


def _get_kwargs(
    queue_id: str,
) -> dict[str, Any]:

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/messages/{queue_id}".format(
            queue_id=quote(str(queue_id), safe=""),
        ),
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
) -> Response[Message]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        queue_id=queue_id,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    queue_id: str,
    *,
    client: AuthenticatedClient | Client,
) -> Message:
    """Get one message, queued or finished

    Shows one message without its header, as long as it is in the history. A sender sees only messages of its own
    account.

    Role: sender.

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
) -> Response[Message]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        queue_id=queue_id,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    queue_id: str,
    *,
    client: AuthenticatedClient | Client,
) -> Message:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        queue_id=queue_id,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
