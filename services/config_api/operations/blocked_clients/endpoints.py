"""The endpoints of `/v1/blocked-clients`: list the blocked clients with the reasons, and lift blocks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from libs.smtp.network import IPV6_CLIENT_PREFIX, parse_network
from services.config_api.http import pagination
from services.config_api.http.context import app_context, needs, note_action
from services.config_api.http.pagination import PageQuery
from services.config_api.http.parsed_body import Route
from services.config_api.http.responses import problem_responses
from services.config_api.operations.blocked_clients import wire
from services.config_api.operations.blocked_clients.schemas import BlockedClientPage
from services.config_api.problems import not_found
from services.config_api.storage.revision import Actor

_BLOCKED = "blocked-clients"

router = APIRouter(tags=["security"], route_class=Route)


@router.get(
    "/v1/blocked-clients",
    operation_id="listBlockedClients",
    summary="List the blocked clients",
    responses={200: {"model": BlockedClientPage}, **problem_responses()},
)
async def list_blocked(
    request: Request, _: Annotated[Actor, Depends(needs("reader"))], given: Annotated[PageQuery, Query()]
) -> Response:
    """Shows a page of the clients that policy refuses for a while."""
    page = await app_context(request).policy.blocked(given.limit, pagination.page_token(_BLOCKED, given))
    items = [wire.blocked_client(client) for client in page.clients]
    return JSONResponse({"items": items, "next_cursor": pagination.next_cursor(_BLOCKED, given, page.next_page_token)})


@router.delete(
    # The parameter may have a slash, because an IPv6 client is written as a network.
    "/v1/blocked-clients/{client:path}",
    status_code=204,
    operation_id="deleteBlockedClient",
    summary="Lift a block",
    responses={204: {"description": "Lifted."}, **problem_responses(404, 415, noun="blocked client")},
)
async def unblock(request: Request, _: Annotated[Actor, Depends(needs("operator"))], client: str) -> Response:
    """Lifts the block of one client at once, and resets its counters."""
    try:
        network = parse_network(client)
    except ValueError:
        raise not_found("blocked client") from None
    if network.prefixlen not in (network.max_prefixlen, *((IPV6_CLIENT_PREFIX,) if network.version == 6 else ())):
        # A block always concerns one client, so there is no block of a wider range.
        raise not_found("blocked client")
    key = str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
    note_action(request, f"blocked-clients/{key}")
    await app_context(request).policy.unblock(key)
    return Response(status_code=204)
