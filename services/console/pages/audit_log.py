"""The audit log: each call with the user, the client's address, and the result."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from services.console.forms.document import columns
from services.console.navigation import Entry
from services.console.page import Page, needs
from services.console.pages.object_lists import facts_of_columns, found_in

ENTRIES = (Entry("Audit log", "/audit-log", role="admin"),)
router = APIRouter()


@router.get("/audit-log")
async def show(page: Annotated[Page, Depends(needs("admin"))]) -> Response:
    operation = (await page.document()).operation("listAuditEntries")
    if operation is None:
        raise HTTPException(404)
    found = await found_in(page, operation, "/audit-log")
    shown = columns(found["entry"], most=20)
    rows = [facts_of_columns(shown, record) for record in found["items"]]
    return page.show(
        "audit_log.html",
        422 if found["error"] else 200,
        description=operation.description,
        columns=shown,
        rows=rows,
        **found,
    )
