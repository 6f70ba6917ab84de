import datetime
from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.audit_page import AuditPage
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    actor: str | Unset = UNSET,
    actor_id: str | Unset = UNSET,
    action: str | Unset = UNSET,
    status: int | Unset = UNSET,
    target: str | Unset = UNSET,
    request_id: str | Unset = UNSET,
    since: datetime.datetime | Unset = UNSET,
    until: datetime.datetime | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["limit"] = limit

    params["cursor"] = cursor

    params["actor"] = actor

    params["actor_id"] = actor_id

    params["action"] = action

    params["status"] = status

    params["target"] = target

    params["request_id"] = request_id

    json_since: str | Unset = UNSET
    if not isinstance(since, Unset):
        json_since = since.isoformat()
    params["since"] = json_since

    json_until: str | Unset = UNSET
    if not isinstance(until, Unset):
        json_until = until.isoformat()
    params["until"] = json_until

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/audit-log",
        "params": params,
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> AuditPage:
    if response.status_code == 200:
        response_200 = AuditPage.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[AuditPage]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    actor: str | Unset = UNSET,
    actor_id: str | Unset = UNSET,
    action: str | Unset = UNSET,
    status: int | Unset = UNSET,
    target: str | Unset = UNSET,
    request_id: str | Unset = UNSET,
    since: datetime.datetime | Unset = UNSET,
    until: datetime.datetime | Unset = UNSET,
) -> Response[AuditPage]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
        actor=actor,
        actor_id=actor_id,
        action=action,
        status=status,
        target=target,
        request_id=request_id,
        since=since,
        until=until,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    actor: str | Unset = UNSET,
    actor_id: str | Unset = UNSET,
    action: str | Unset = UNSET,
    status: int | Unset = UNSET,
    target: str | Unset = UNSET,
    request_id: str | Unset = UNSET,
    since: datetime.datetime | Unset = UNSET,
    until: datetime.datetime | Unset = UNSET,
) -> AuditPage:
    """List the calls that changed something or were refused, newest first

    Shows a page of the calls that changed something or were refused, newest first.

    Role: admin.

    Args:
        limit (int | Unset):  Default: 100.
        cursor (str | Unset):
        actor (str | Unset):
        actor_id (str | Unset):
        action (str | Unset):
        status (int | Unset):
        target (str | Unset):
        request_id (str | Unset):
        since (datetime.datetime | Unset):
        until (datetime.datetime | Unset):

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
        actor=actor,
        actor_id=actor_id,
        action=action,
        status=status,
        target=target,
        request_id=request_id,
        since=since,
        until=until,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    actor: str | Unset = UNSET,
    actor_id: str | Unset = UNSET,
    action: str | Unset = UNSET,
    status: int | Unset = UNSET,
    target: str | Unset = UNSET,
    request_id: str | Unset = UNSET,
    since: datetime.datetime | Unset = UNSET,
    until: datetime.datetime | Unset = UNSET,
) -> Response[AuditPage]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
        actor=actor,
        actor_id=actor_id,
        action=action,
        status=status,
        target=target,
        request_id=request_id,
        since=since,
        until=until,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    actor: str | Unset = UNSET,
    actor_id: str | Unset = UNSET,
    action: str | Unset = UNSET,
    status: int | Unset = UNSET,
    target: str | Unset = UNSET,
    request_id: str | Unset = UNSET,
    since: datetime.datetime | Unset = UNSET,
    until: datetime.datetime | Unset = UNSET,
) -> AuditPage:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
        actor=actor,
        actor_id=actor_id,
        action=action,
        status=status,
        target=target,
        request_id=request_id,
        since=since,
        until=until,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
