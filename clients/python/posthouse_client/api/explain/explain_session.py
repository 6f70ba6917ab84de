from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.hypothetical_session import HypotheticalSession
from ...models.past_session import PastSession
from ...models.session_explanation import SessionExplanation
from ...types import Response


def _get_kwargs(
    *,
    body: HypotheticalSession | PastSession,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/explain/session",
    }

    if isinstance(body, HypotheticalSession):
        _kwargs["json"] = body.to_dict()
    else:
        _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> SessionExplanation:
    if response.status_code == 200:
        response_200 = SessionExplanation.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[SessionExplanation]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: HypotheticalSession | PastSession,
) -> Response[SessionExplanation]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        body=body,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
    body: HypotheticalSession | PastSession,
) -> SessionExplanation:
    """Explain every rule and the reply for a session, without any change

    Shows every rule in order, its result, and the final reply. Nothing is counted or changed.

    Role: reader.

    Args:
        body (HypotheticalSession | PastSession): The session to explain.

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        body=body,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: HypotheticalSession | PastSession,
) -> Response[SessionExplanation]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        body=body,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    body: HypotheticalSession | PastSession,
) -> SessionExplanation:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        body=body,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
