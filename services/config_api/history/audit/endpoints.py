"""The endpoint `/v1/audit-log`: lists the calls that changed something, and the calls that were refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy import Row

from services.config_api.changes.editor import time_text
from services.config_api.http import pagination
from services.config_api.http.context import app_context, needs
from services.config_api.http.pagination import FilterText, PageQuery
from services.config_api.http.parsed_body import Route
from services.config_api.http.responses import Answer, Time, problem_responses
from services.config_api.resources.fields import DIGITS, Instant, microseconds
from services.config_api.storage.revision import Actor

_COLUMNS = ("actor", "actor_id", "action", "status", "target", "request_id")

router = APIRouter(tags=["configuration"], route_class=Route)


class AuditEntry(Answer):
    """One call that changed something, or was refused."""

    id: str = Field(description="Its id.")
    occurred_at: Time = Field(description="When it happened.")
    actor: str | None = Field(
        description="The name of the API key at that time. null means that there was no valid key."
    )
    actor_id: str | None = Field(
        description="The id of the API key, which never changes. null means that there was no valid key."
    )
    role: Literal["sender", "reader", "operator", "admin"] | None = Field(description="The role of the API key.")
    client_address: str | None = Field(
        description="The IP address of the client. null means that the service itself did it."
    )
    action: str = Field(description="The operationId.", examples=["replaceGeneralSettings"])
    target: str | None = Field(
        description="The object of the call. null when the path names none.", examples=["settings/general"]
    )
    status: int = Field(ge=100, le=599, description="The HTTP status of the answer.")
    problem: str | None = Field(
        description="The reason why it was refused. null means that it was not refused.", examples=["forbidden"]
    )
    revision: int | None = Field(description="The revision that the call made.")
    request_id: str | None = Field(description="X-Request-Id of the answer.")


class AuditPage(Answer):
    """A page of the audit log."""

    items: list[AuditEntry] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="The cursor of the next page. null means that this is the last page.")


class AuditQuery(PageQuery):
    """The query parameters of the audit log: filters, and those of a page."""

    actor: FilterText | None = Field(default=None, description="Name of the API key.")
    actor_id: FilterText | None = Field(default=None, description="Id of the API key.")
    action: FilterText | None = Field(default=None, description="The operationId.")
    status: Annotated[int, Field(ge=100, le=599), DIGITS] | None = Field(default=None, description="The HTTP status.")
    target: FilterText | None = Field(default=None, description="What it was about.", examples=["accounts/0192f3c4…"])
    request_id: FilterText | None = Field(default=None, description="X-Request-Id of the answer.")
    since: Instant | None = Field(default=None, description="Only entries of this time or later.")
    until: Instant | None = Field(default=None, description="Only entries from before this time.")


@router.get(
    "/v1/audit-log",
    operation_id="listAuditEntries",
    summary="List the calls that changed something or were refused, newest first",
    responses={200: {"model": AuditPage}, **problem_responses()},
)
async def list_entries(
    request: Request, _: Annotated[Actor, Depends(needs("admin"))], given: Annotated[AuditQuery, Query()]
) -> Response:
    """Shows a page of the calls that changed something or were refused, newest first."""
    filters: dict[str, str | int] = {name: value for name in _COLUMNS if (value := getattr(given, name)) is not None}
    since, until = (None if time is None else microseconds(time) for time in (given.since, given.until))
    bounds = {"since": since, "until": until}
    shown = {name: str(value) for name, value in {**filters, **bounds}.items() if value is not None}
    before = None if given.cursor is None else pagination.decode(given.cursor, "audit-log", shown)
    rows = list(await app_context(request).audit.page(filters, since, until, before, given.limit + 1))
    more, rows = len(rows) > given.limit, rows[: given.limit]
    items = [_entry(row) for row in rows]
    cursor = pagination.encode("audit-log", shown, rows[-1].id) if more else None
    return JSONResponse({"items": items, "next_cursor": cursor})


def _entry(row: Row[Any]) -> dict[str, Any]:
    members = row._asdict()
    at = members.pop("at")
    shown = {name: None if value == "" else value for name, value in members.items()}
    return {**shown, "occurred_at": time_text(at)}
