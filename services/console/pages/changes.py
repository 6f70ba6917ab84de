"""The changes of the configuration, with their authors, and the rollback to an earlier state."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from posthouse_client import ProblemError
from starlette.exceptions import HTTPException

from services.console.forms.document import ApiDocument
from services.console.forms.facts import plain
from services.console.navigation import Entry
from services.console.page import Page, needs
from services.console.pages.object_forms import entity_tag_of, in_force

ENTRIES = (Entry("Changes", "/changes"),)
router = APIRouter()
ReaderPage = Annotated[Page, Depends(needs("reader"))]
AdminPage = Annotated[Page, Depends(needs("admin"))]

_ON_A_PAGE = 50
# The largest number of objects of one change whose differences are shown. A rollback may change all objects.
_MOST_OBJECTS = 100
_EVENTS = {"made": "good", "removed": "bad"}


@router.get("/changes")
async def list_changes(page: ReaderPage, cursor: str = "") -> Response:
    found = await page.api.get("/v1/revisions", limit=_ON_A_PAGE, cursor=cursor)
    return page.show("changes.html", revisions=found["items"], next_cursor=found["next_cursor"])


@router.get("/changes/compare")
async def compare(page: ReaderPage) -> Response:
    """Compares the states after two revisions."""
    asked = page.request.query_params
    numbers = [_number(asked.get(name, "")) for name in ("from", "to")]
    found = await page.api.get("/v1/revisions:diff", from_revision=numbers[0], to_revision=numbers[1])
    return page.show(
        "changes_compared.html",
        numbers=numbers,
        **_shown(await page.document(), found["changes"]),
    )


@router.get("/changes/{number}")
async def show_change(page: ReaderPage, number: str) -> Response:
    revision = await page.api.get(f"/v1/revisions/{_number(number)}")
    return page.show("change.html", revision=revision, **_shown(await page.document(), revision["changes"]))


@router.get("/changes/{number}/roll-back")
async def preview(page: AdminPage, number: str) -> Response:
    return await _preview(page, _number(number))


@router.post("/changes/{number}/roll-back")
async def roll_back(page: AdminPage, number: str) -> Response:
    """Makes the rollback, only from the state of the preview, because the form contains the ETag of that state."""
    wanted = _number(number)
    once = page.form.get("once")
    headers = {"If-Match": entity_tag_of(page), "Idempotency-Key": once if once.isalnum() else uuid.uuid4().hex}
    try:
        answer = await page.api.call("POST", f"/v1/revisions/{wanted}:rollback", headers=headers)
    except ProblemError as problem:
        if problem.status not in (409, 412):
            raise
        return await _preview(page, wanted, problem)
    if not answer.json()["changes"]:
        return page.redirect("/changes", "Nothing was changed, because the configuration already has these values.")
    revision = answer.json()["revision"]
    return page.redirect(
        f"/changes/{revision}", f"The configuration is what it was after revision {wanted}. {in_force(answer)}"
    )


async def _preview(page: Page, number: int, problem: ProblemError | None = None) -> Response:
    answer = await page.api.call("POST", f"/v1/revisions/{number}:rollback", query={"dry_run": True})
    return page.show(
        "roll_back.html",
        problem.status if problem else 200,
        number=number,
        problem=problem,
        etag=answer.headers["etag"],
        once=uuid.uuid4().hex,
        **_shown(await page.document(), answer.json()["changes"]),
    )


def _number(text: str) -> int:
    """Reads a revision's number. Raises HTTPException 404 for another text."""
    if not re.fullmatch("[1-9][0-9]{0,14}", text):
        raise HTTPException(404)
    return int(text)


def _shown(document: ApiDocument, changes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the objects of a change for a template. Only the first objects have their differences."""
    return {
        "count": len(changes),
        "rest": max(0, len(changes) - _MOST_OBJECTS),
        "objects": [_object(document, change) for change in changes[:_MOST_OBJECTS]],
    }


def _object(document: ApiDocument, change: Mapping[str, Any]) -> dict[str, Any]:
    resource = document.resources.get(change["kind"])
    is_there = resource is not None and change["event"] != "removed"
    own = f"/configuration/{change['kind']}"
    return {
        "label": resource.singular if resource else change["kind"],
        "id": "" if change["id"] == change["kind"] else change["id"],
        "address": (own if change["id"] == change["kind"] else f"{own}/{quote(change['id'], safe='')}")
        if is_there
        else "",
        "event": change["event"],
        "level": _EVENTS.get(change["event"], ""),
        "differences": [
            {
                "pointer": difference["pointer"],
                "secret": difference.get("secret"),
                "before": _text(difference, "before"),
                "after": _text(difference, "after"),
            }
            for difference in change["differences"]
        ],
    }


def _text(difference: Mapping[str, Any], side: str) -> str:
    """Returns a value as text. The result is empty when this side has no value."""
    if side not in difference:
        return ""
    return plain(difference[side])
