"""The clients that policy has blocked, with the reasons."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from services.console.navigation import Entry
from services.console.page import Page, needs

ENTRIES = (Entry("Blocked", "/blocked-clients"),)
router = APIRouter()
ReaderPage = Annotated[Page, Depends(needs("reader"))]
OperatorPage = Annotated[Page, Depends(needs("operator"))]

_ON_A_PAGE = 100


@router.get("/blocked-clients")
async def show(page: ReaderPage, cursor: str = "") -> Response:
    clients = await page.api.get("/v1/blocked-clients", limit=_ON_A_PAGE, cursor=cursor)
    return page.show("blocked_clients.html", clients=clients["items"], next_cursor=clients["next_cursor"])


@router.post("/blocked-clients/lift")
async def lift(page: OperatorPage) -> Response:
    client = page.form.get("client")
    await page.api.call("DELETE", f"/v1/blocked-clients/{quote(client, safe='')}")
    return page.redirect("/blocked-clients", f"{client} is not blocked any more.")
