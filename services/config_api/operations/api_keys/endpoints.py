"""`/v1/api-keys/{id}:rotate` makes a new key under the same id. `/v1/whoami` shows whose key a request has."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from services.config_api.changes.editor import Changed, time_text
from services.config_api.http import responses
from services.config_api.http.context import IdempotencyKey, app_context, needs, repetition
from services.config_api.http.parsed_body import Route
from services.config_api.http.paths import BEFORE_COLON
from services.config_api.http.responses import problem_responses
from services.config_api.resources.api_keys import API_KEYS
from services.config_api.resources.fields import Model
from services.config_api.storage.idempotency import StoredResponse
from services.config_api.storage.revision import Actor

router = APIRouter(tags=["access"], route_class=Route)

Role = Literal["sender", "reader", "operator", "admin"]
_MONTH_MINUTES = 30 * 24 * 60


class Caller(responses.Answer):
    """The caller, identified by the API key of this request."""

    id: str = Field(description="The id of the API key, as in the audit log.")
    name: str = Field(description="Its name.")
    role: Role = Field(description="The role of the API key.")
    client_address: str = Field(description="The address from which the request comes.", examples=["192.0.2.7"])


@router.get(
    "/v1/whoami",
    operation_id="getCaller",
    summary="Which key this request has, and its role",
    responses={200: {"model": Caller}, **problem_responses()},
)
async def get_caller(caller: Annotated[Actor, Depends(needs("reader"))]) -> Response:
    """Shows the API key of this request as the audit log names it."""
    shown = {"id": caller.key_id, "name": caller.name, "role": caller.role, "client_address": caller.client_address}
    return JSONResponse(shown)


class KeyRotation(Model):
    """Options for the replacement of a key."""

    overlap_minutes: int = Field(
        default=60,
        ge=0,
        le=_MONTH_MINUTES,
        description="The time for which the previous key still works, so that its users can change it. 0 means that "
        "it stops working at once.",
    )


@router.post(
    f"/v1/api-keys/{{id:{BEFORE_COLON}}}:rotate",
    operation_id="rotateApiKey",
    summary="Replace the key itself; name, role and id do not change",
    responses={
        200: {"model": responses.shown_model(API_KEYS.kind), "headers": responses.ETAG_HEADER},
        **problem_responses(404, 409, 415, noun=API_KEYS.label),
    },
)
async def rotate(
    request: Request,
    caller: Annotated[Actor, Depends(needs("admin"))],
    id: str,  # noqa: A002
    given: Annotated[KeyRotation | None, Body()] = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Makes a new key for the same name, role and id. Only this answer shows it."""
    found = app_context(request)
    last_use = {**await found.store.key_uses([id]), **found.access.uses}.get(id)

    async def answer(result: Changed) -> StoredResponse:
        extra = {"last_used_at": None if last_use is None else time_text(last_use)}
        made = responses.changed(API_KEYS, result, extra)
        found.access.changed(id, result.document.version)
        return StoredResponse(200, bytes(made.body).decode(), {"ETag": made.headers["ETag"]}, made_id=id)

    repeat = await repetition(request, caller, idempotency_key)
    overlap_minutes = KeyRotation().overlap_minutes if given is None else given.overlap_minutes
    return responses.kept(await found.editor.rotate_key(id, overlap_minutes, caller, repeat, answer))
