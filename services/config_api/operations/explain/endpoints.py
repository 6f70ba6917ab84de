"""The endpoints `/v1/explain/session` and `/v1/explain/route`: show what policy and relay would do, and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from services.config_api.http.context import app_context, needs
from services.config_api.http.parsed_body import Route
from services.config_api.http.responses import problem_responses
from services.config_api.operations.explain import wire
from services.config_api.operations.explain.schemas import (
    RouteExplanation,
    RouteQuery,
    SessionExplanation,
    SessionToExplain,
)
from services.config_api.storage.revision import Actor

Reader = Annotated[Actor, Depends(needs("reader"))]

router = APIRouter(tags=["explain"], route_class=Route)


@router.post(
    "/v1/explain/session",
    operation_id="explainSession",
    summary="Explain every rule and the reply for a session, without any change",
    responses={200: {"model": SessionExplanation}, **problem_responses(404, 409, 415, noun="session")},
)
async def explain_session(request: Request, _: Reader, given: SessionToExplain) -> Response:
    """Shows every rule in order, its result, and the final reply. Nothing is counted or changed."""
    found = await app_context(request).policy.explain(wire.explain_request(given))
    return JSONResponse(wire.session_explained(found))


@router.post(
    "/v1/explain/route",
    operation_id="explainRoute",
    summary="Explain the route that a message would take now",
    responses={200: {"model": RouteExplanation}, **problem_responses(404, 409, 415, noun="route")},
)
async def explain_route(request: Request, _: Reader, given: RouteQuery) -> Response:
    """Shows the route of each recipient after the expansion of aliases, with the rules and hosts that were
    considered.
    """
    found = await app_context(request).relay.resolve_route((given.sender or "").encode(), given.recipient.encode())
    return JSONResponse(wire.route_explained(found))
