from http import HTTPStatus
from typing import Any

import httpx

from ...client import AuthenticatedClient, Client
from ...errors import refusal
from ...models.configured_relay_host import ConfiguredRelayHost
from ...models.proposed_relay_host import ProposedRelayHost
from ...models.relay_host_test_result import RelayHostTestResult
from ...types import Response


def _get_kwargs(
    *,
    body: ConfiguredRelayHost | ProposedRelayHost,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/v1/relay-hosts:test",
    }

    if isinstance(body, ConfiguredRelayHost):
        _kwargs["json"] = body.to_dict()
    else:
        _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(response: httpx.Response) -> RelayHostTestResult:
    if response.status_code == 200:
        response_200 = RelayHostTestResult.from_dict(response.json())

        return response_200

    raise refusal(response)


def _build_response(response: httpx.Response) -> Response[RelayHostTestResult]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: ConfiguredRelayHost | ProposedRelayHost,
) -> Response[RelayHostTestResult]:
    """Like `sync`, with status and headers."""
    kwargs = _get_kwargs(
        body=body,
    )
    return _build_response(client.get_httpx_client().request(**kwargs))


def sync(
    *,
    client: AuthenticatedClient | Client,
    body: ConfiguredRelayHost | ProposedRelayHost,
) -> RelayHostTestResult:
    """Test a relay host, step by step

    Connects, starts TLS and logs in as for a delivery, and shows each step. It sends no mail.

    Role: operator.

    Args:
        body (ConfiguredRelayHost | ProposedRelayHost): The relay host to test.

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
    body: ConfiguredRelayHost | ProposedRelayHost,
) -> Response[RelayHostTestResult]:
    """Like `asyncio`, with status and headers."""
    kwargs = _get_kwargs(
        body=body,
    )
    return _build_response(await client.get_async_httpx_client().request(**kwargs))


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    body: ConfiguredRelayHost | ProposedRelayHost,
) -> RelayHostTestResult:
    """Like `sync`, for an event loop."""
    kwargs = _get_kwargs(
        body=body,
    )
    return _parse_response(await client.get_async_httpx_client().request(**kwargs))
