import datetime
from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.bucket_width import BucketWidth
from ...models.statistics import Statistics
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    after: datetime.datetime | Unset = UNSET,
    before: datetime.datetime | Unset = UNSET,
    bucket: BucketWidth | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    json_after: str | Unset = UNSET
    if not isinstance(after, Unset):
        json_after = after.isoformat()
    params["after"] = json_after

    json_before: str | Unset = UNSET
    if not isinstance(before, Unset):
        json_before = before.isoformat()
    params["before"] = json_before

    json_bucket: str | Unset = UNSET
    if not isinstance(bucket, Unset):
        json_bucket = bucket

    params["bucket"] = json_bucket

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/v1/statistics",
        "params": params,
    }

    return _kwargs


def _parse_response(response: httpx.Response) -> Statistics:
    if response.status_code == 200:
        response_200 = Statistics.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[Statistics]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    after: datetime.datetime | Unset = UNSET,
    before: datetime.datetime | Unset = UNSET,
    bucket: BucketWidth | Unset = UNSET,
) -> Response[Statistics]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        after=after,
        before=before,
        bucket=bucket,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
    after: datetime.datetime | Unset = UNSET,
    before: datetime.datetime | Unset = UNSET,
    bucket: BucketWidth | Unset = UNSET,
) -> Statistics:
    """Count messages and recipients by time

    Counts messages that were accepted and refused, and recipients that were delivered, deferred and bounced, for
    as long as finished messages stay searchable (`retention_days`).

    Role: reader.

    Args:
        after (datetime.datetime | Unset):
        before (datetime.datetime | Unset):
        bucket (BucketWidth | Unset): The length of each bucket.

    Raises:
        ProblemError: the API refused it.
        httpx.TransportError: no answer came.
    """

    kwargs = _get_kwargs(
        after=after,
        before=before,
        bucket=bucket,
    )
    return _parse_response(client.get_httpx_client().request(**kwargs))


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    after: datetime.datetime | Unset = UNSET,
    before: datetime.datetime | Unset = UNSET,
    bucket: BucketWidth | Unset = UNSET,
) -> Response[Statistics]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        after=after,
        before=before,
        bucket=bucket,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    after: datetime.datetime | Unset = UNSET,
    before: datetime.datetime | Unset = UNSET,
    bucket: BucketWidth | Unset = UNSET,
) -> Statistics:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        after=after,
        before=before,
        bucket=bucket,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
