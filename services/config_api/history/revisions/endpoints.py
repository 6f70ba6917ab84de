"""The endpoints of `/v1/revisions`: list, show and compare revisions, and roll back to a revision."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from services.config_api.changes.editor import time_text
from services.config_api.changes.entity_tags import entity_tag, require_newest
from services.config_api.history.revisions.repository import Change, Revisions
from services.config_api.http import pagination
from services.config_api.http.context import DryRun, IdempotencyKey, app_context, needs, repetition
from services.config_api.http.pagination import PageQuery
from services.config_api.http.parsed_body import Route
from services.config_api.http.paths import BEFORE_COLON
from services.config_api.http.resource_routes import IfMatch
from services.config_api.http.responses import ETAG_HEADER, Answer, Time, as_kept, kept, problem_responses
from services.config_api.resources.fields import DIGITS, Decimal
from services.config_api.storage.idempotency import StoredResponse
from services.config_api.storage.revision import Actor

Reader = Annotated[Actor, Depends(needs("reader"))]
_LARGEST = (1 << 53) - 1
Number = Annotated[int, Field(ge=1, le=_LARGEST), DIGITS, Path(description="The number of a revision.")]

router = APIRouter(tags=["configuration"], route_class=Route)


class RevisionSummary(Answer):
    """One change of the configuration."""

    number: int = Field(description="The number of the revision.")
    created_at: Time = Field(description="When it was made.")
    actor: str = Field(description="The name of the API key.")
    actor_id: str | None = Field(description="The id of the API key. null means that the service itself did it.")
    action: str = Field(description="The operationId.", examples=["updateGeneralSettings"])
    summary: str = Field(description="A summary in one line.")


class Difference(Answer):
    """The change of one member. Of a secret it tells only that it was set, changed or removed."""

    pointer: str = Field(description="The JSON pointer of the member. Empty means the whole object.")
    before: Any = Field(default=None, description="The value before. Absent means that there was none.")
    after: Any = Field(default=None, description="The value after. Absent means that there is none.")
    secret: Literal["set", "changed", "removed"] | None = Field(default=None, description="What happened to a secret.")


class ObjectChange(Answer):
    """The change of one object."""

    kind: str = Field(description="The kind of the object.", examples=["relay-rules"])
    id: str = Field(description="Its id.")
    event: Literal["made", "changed", "removed"] = Field(description="What happened.")
    differences: list[Difference] = Field(description="The changes of its members.")


class RevisionDetails(RevisionSummary):
    """One change of the configuration, with all the objects that it changed."""

    changes: list[ObjectChange] = Field(description="The objects that differ.")


class RevisionPage(Answer):
    """A page of revisions."""

    items: list[RevisionSummary] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="The cursor of the next page. null means that this is the last page.")


class Comparison(Answer):
    """The differences between the states after two revisions."""

    changes: list[ObjectChange] = Field(description="The objects that differ.")


class RollbackResult(Answer):
    """The objects that a rollback changed, or would change with dry_run."""

    revision: int = Field(description="The number of the newest revision after it.")
    changes: list[ObjectChange] = Field(description="The objects that differ.")


class TwoRevisions(BaseModel):
    """The two states to compare."""

    model_config = ConfigDict(extra="forbid")

    from_revision: Decimal = Field(ge=1, le=_LARGEST, description="The number of the first revision.")
    to_revision: Decimal = Field(ge=1, le=_LARGEST, description="The number of the second revision.")


@router.get(
    "/v1/revisions",
    operation_id="listRevisions",
    summary="List all changes, newest first",
    responses={200: {"model": RevisionPage}, **problem_responses()},
)
async def list_revisions(request: Request, _: Reader, given: Annotated[PageQuery, Query()]) -> Response:
    """Shows a page of the revisions of the configuration, newest first."""
    before = None
    if given.cursor is not None:
        text = pagination.decode(given.cursor, "revisions", {})
        if not (text.isascii() and text.isdigit() and len(text) <= 16):
            raise pagination.bad_cursor()
        before = int(text)
    rows = list(await Revisions(app_context(request).store).page(before, given.limit + 1))
    more, rows = len(rows) > given.limit, rows[: given.limit]
    cursor = pagination.encode("revisions", {}, str(rows[-1].number)) if more else None
    return JSONResponse({"items": [_summary(row) for row in rows], "next_cursor": cursor})


@router.get(
    "/v1/revisions:diff",
    operation_id="compareRevisions",
    summary="Compare the states after two revisions",
    responses={200: {"model": Comparison}, **problem_responses(404, noun="revision")},
)
async def compare(request: Request, _: Reader, given: Annotated[TwoRevisions, Query()]) -> Response:
    """Shows the differences between the states after two revisions, object by object."""
    differences = await Revisions(app_context(request).store).difference(given.from_revision, given.to_revision)
    return JSONResponse({"changes": _changes(differences)})


@router.get(
    f"/v1/revisions/{{number:{BEFORE_COLON}}}",
    operation_id="getRevision",
    summary="Get one change, with the members that it changed",
    responses={200: {"model": RevisionDetails}, **problem_responses(404, noun="revision")},
)
async def get(request: Request, _: Reader, number: Number) -> Response:
    """Shows one revision with the members that it changed. Of secrets it shows only that they changed."""
    row, found = await Revisions(app_context(request).store).get(number)
    return JSONResponse({**_summary(row), "changes": _changes(found)})


@router.post(
    f"/v1/revisions/{{number:{BEFORE_COLON}}}:rollback",
    operation_id="rollBackRevision",
    summary="Roll the configuration back to a revision, except API keys",
    responses={
        200: {"model": RollbackResult, "headers": ETAG_HEADER},
        **problem_responses(404, 409, 412, 415, 428, noun="revision"),
    },
)
async def roll_back(
    request: Request,
    caller: Annotated[Actor, Depends(needs("admin"))],
    number: Number,
    dry_run: DryRun = False,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Restores the configuration as it was after that revision. The rollback is a new revision itself."""
    revisions = Revisions(app_context(request).store)
    if dry_run:
        newest, changes = await revisions.rollback_changes(number)
        if if_match is not None:
            require_newest(if_match, newest)
        return _rolled_back(newest, changes)
    repeat = await repetition(request, caller, idempotency_key)
    return kept(await revisions.roll_back(number, if_match, caller, repeat, _kept))


def _kept(revision: int, found: list[Change]) -> StoredResponse:
    answer = _rolled_back(revision, found)
    return replace(as_kept(answer), headers={"ETag": answer.headers["ETag"]})


def _rolled_back(revision: int, found: list[Change]) -> JSONResponse:
    return JSONResponse({"revision": revision, "changes": _changes(found)}, headers={"ETag": entity_tag(revision)})


def _summary(row: Any) -> dict[str, Any]:
    return {
        "number": row.number,
        "created_at": time_text(row.created_at),
        "actor": row.actor,
        "actor_id": row.actor_id,
        "action": row.action,
        "summary": row.summary,
    }


def _changes(found: list[Change]) -> list[dict[str, Any]]:
    return [change.as_json() for change in found]
