"""The endpoint `/v1/checks`: shows the checks that each service makes of its own machine and settings."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from services.config_api.http.context import app_context, needs, note_action
from services.config_api.http.parsed_body import Route
from services.config_api.http.responses import problem_responses
from services.config_api.operations.checks.collecting import collect
from services.config_api.operations.checks.schemas import CheckResults
from services.config_api.storage.revision import Actor

router = APIRouter(tags=["status"], route_class=Route)


@router.get(
    "/v1/checks",
    operation_id="listChecks",
    summary="List faults of machines and settings, with their remedies",
    description="Each service checks its own machine every hour, and this shows the last results. Role: reader.",
    responses={200: {"model": CheckResults}, **problem_responses()},
)
async def list_checks(request: Request, _: Annotated[Actor, Depends(needs("reader"))]) -> Response:
    return await _results(request, again=False)


@router.post(
    "/v1/checks:run",
    operation_id="runChecks",
    summary="Check machines and settings now",
    description="Each service makes its checks now. They take up to 20 seconds. Role: operator.",
    responses={200: {"model": CheckResults}, **problem_responses(415)},
)
async def run_checks(request: Request, _: Annotated[Actor, Depends(needs("operator"))]) -> Response:
    note_action(request, "checks:run")
    return await _results(request, again=True)


async def _results(request: Request, *, again: bool) -> Response:
    found = app_context(request)
    results = await collect(found.own_checks, found.neighbours, found.store, again=again)
    return JSONResponse(CheckResults(items=results).model_dump(mode="json"))
