from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.event_type import EventType
from ...models.mail_event import MailEvent
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    type_: list[EventType] | Unset = UNSET,
    last_event_id: str | Unset = UNSET,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if not isinstance(last_event_id, Unset):
        headers["Last-Event-Id"] = last_event_id

    params: dict[str, Any] = {}

    json_type_: list[str] | Unset = UNSET
    if not isinstance(type_, Unset):
        json_type_ = []
        for type_item_data in type_:
            type_item: str = type_item_data
            json_type_.append(type_item)

    params["type"] = json_type_

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/events",
        "params": params,
    }

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> MailEvent:
    if response.status_code == 200:
        response_200 = MailEvent.from_dict(response.text)

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[MailEvent]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    type_: list[EventType] | Unset = UNSET,
    last_event_id: str | Unset = UNSET,
) -> Response[MailEvent]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        type_=type_,
        last_event_id=last_event_id,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
    type_: list[EventType] | Unset = UNSET,
    last_event_id: str | Unset = UNSET,
) -> MailEvent:
    """Stream the events about messages as they happen

    Server-sent events: `id` is sent as Last-Event-ID to continue after this event, `event` is the type, and
    `data` is a MailEvent. Without Last-Event-ID the stream begins now. Events can be read as far back as the
    history reaches.

    Role: reader.

    Args:
        type_ (list[EventType] | Unset):
        last_event_id (str | Unset):

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        type_=type_,
        last_event_id=last_event_id,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    type_: list[EventType] | Unset = UNSET,
    last_event_id: str | Unset = UNSET,
) -> Response[MailEvent]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        type_=type_,
        last_event_id=last_event_id,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    type_: list[EventType] | Unset = UNSET,
    last_event_id: str | Unset = UNSET,
) -> MailEvent:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        type_=type_,
        last_event_id=last_event_id,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
