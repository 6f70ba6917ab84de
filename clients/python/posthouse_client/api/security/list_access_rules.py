import datetime
from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.access_criterion import AccessCriterion
from ...models.access_list import AccessList
from ...models.access_rule_page import AccessRulePage
from ...models.mode import Mode
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    updated_after: datetime.datetime | Unset = UNSET,
    with_total: bool | Unset = False,
    name: str | Unset = UNSET,
    list_: AccessList | Unset = UNSET,
    criterion: AccessCriterion | Unset = UNSET,
    value: str | Unset = UNSET,
    mode: Mode | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["limit"] = limit

    params["cursor"] = cursor

    json_updated_after: str | Unset = UNSET
    if not isinstance(updated_after, Unset):
        json_updated_after = updated_after.isoformat()
    params["updated_after"] = json_updated_after

    params["with_total"] = with_total

    params["name"] = name

    json_list_: str | Unset = UNSET
    if not isinstance(list_, Unset):
        json_list_ = list_

    params["list"] = json_list_

    json_criterion: str | Unset = UNSET
    if not isinstance(criterion, Unset):
        json_criterion = criterion

    params["criterion"] = json_criterion

    params["value"] = value

    json_mode: str | Unset = UNSET
    if not isinstance(mode, Unset):
        json_mode = mode

    params["mode"] = json_mode

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/access-rules",
        "params": params,
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> AccessRulePage:
    if response.status_code == 200:
        response_200 = AccessRulePage.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[AccessRulePage]:
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
    updated_after: datetime.datetime | Unset = UNSET,
    with_total: bool | Unset = False,
    name: str | Unset = UNSET,
    list_: AccessList | Unset = UNSET,
    criterion: AccessCriterion | Unset = UNSET,
    value: str | Unset = UNSET,
    mode: Mode | Unset = UNSET,
) -> Response[AccessRulePage]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
        updated_after=updated_after,
        with_total=with_total,
        name=name,
        list_=list_,
        criterion=criterion,
        value=value,
        mode=mode,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    updated_after: datetime.datetime | Unset = UNSET,
    with_total: bool | Unset = False,
    name: str | Unset = UNSET,
    list_: AccessList | Unset = UNSET,
    criterion: AccessCriterion | Unset = UNSET,
    value: str | Unset = UNSET,
    mode: Mode | Unset = UNSET,
) -> AccessRulePage:
    """List access rules

    Shows a page of the access rules that match every filter.

    Role: reader.

    Args:
        limit (int | Unset):  Default: 100.
        cursor (str | Unset):
        updated_after (datetime.datetime | Unset):
        with_total (bool | Unset):  Default: False.
        name (str | Unset):
        list_ (AccessList | Unset): The list that an access rule belongs to.
        criterion (AccessCriterion | Unset): The criterion of an access rule.
        value (str | Unset):
        mode (Mode | Unset): off: the check is not made. shadow: its outcome is recorded, and nothing is
            refused. enforce: it refuses.

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
        updated_after=updated_after,
        with_total=with_total,
        name=name,
        list_=list_,
        criterion=criterion,
        value=value,
        mode=mode,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    updated_after: datetime.datetime | Unset = UNSET,
    with_total: bool | Unset = False,
    name: str | Unset = UNSET,
    list_: AccessList | Unset = UNSET,
    criterion: AccessCriterion | Unset = UNSET,
    value: str | Unset = UNSET,
    mode: Mode | Unset = UNSET,
) -> Response[AccessRulePage]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
        updated_after=updated_after,
        with_total=with_total,
        name=name,
        list_=list_,
        criterion=criterion,
        value=value,
        mode=mode,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 100,
    cursor: str | Unset = UNSET,
    updated_after: datetime.datetime | Unset = UNSET,
    with_total: bool | Unset = False,
    name: str | Unset = UNSET,
    list_: AccessList | Unset = UNSET,
    criterion: AccessCriterion | Unset = UNSET,
    value: str | Unset = UNSET,
    mode: Mode | Unset = UNSET,
) -> AccessRulePage:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        limit=limit,
        cursor=cursor,
        updated_after=updated_after,
        with_total=with_total,
        name=name,
        list_=list_,
        criterion=criterion,
        value=value,
        mode=mode,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
