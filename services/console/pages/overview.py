"""The first page: how the suite is, and what needs attention."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from services.console.navigation import Entry
from services.console.page import Page, needs

ENTRIES = (Entry("Overview", "/"),)
router = APIRouter()
ReaderPage = Annotated[Page, Depends(needs("reader"))]


@router.get("/")
async def show(page: ReaderPage) -> Response:
    status = await page.api.get("/v1/status")
    return page.show("overview.html", status=status)
