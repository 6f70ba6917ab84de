"""The endpoint `/v1/relay-hosts:test`: tests a relay host step by step with the code of real deliveries, but sends no
mail.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from services.config_api.http.context import app_context, needs, note_action
from services.config_api.http.parsed_body import Route
from services.config_api.http.responses import problem_responses
from services.config_api.operations.relay_hosts import wire
from services.config_api.operations.relay_hosts.schemas import ConfiguredRelayHost, RelayHostTestResult, RelayHostToTest
from services.config_api.storage.revision import Actor

router = APIRouter(tags=["delivery"], route_class=Route)


def _target(given: RelayHostToTest) -> str:
    """Returns a description of the tested relay host for the audit log: the rule, or host, port and login, but never
    the password.
    """
    if isinstance(given, ConfiguredRelayHost):
        return f"relay-hosts:test {given.rule_id}"
    host = given.relay_host
    login = "" if host.auth is None else f" as {host.auth.username}"
    return f"relay-hosts:test {host.host}:{host.port}{login}"


@router.post(
    "/v1/relay-hosts:test",
    operation_id="testRelayHost",
    summary="Test a relay host, step by step",
    responses={200: {"model": RelayHostTestResult}, **problem_responses(404, 415, noun="relay rule")},
)
async def test(request: Request, _: Annotated[Actor, Depends(needs("operator"))], given: RelayHostToTest) -> Response:
    """Connects, starts TLS and logs in as for a delivery, and shows each step. It sends no mail."""
    note_action(request, _target(given))
    steps = [wire.step(step) async for step in app_context(request).relay.test_relay_host(wire.request(given))]
    return JSONResponse({"ok": bool(steps) and all(step["ok"] for step in steps), "steps": steps})
