"""The queue: by destination, and by recipient domain and age, with the reasons of delays."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from services.console.message_actions import ACTIONS
from services.console.navigation import Entry
from services.console.page import Page, needs
from services.console.pages.queue_many import FILTERS, STATES

ENTRIES = (Entry("Queue", "/queue"),)
router = APIRouter()
ReaderPage = Annotated[Page, Depends(needs("reader"))]
OperatorPage = Annotated[Page, Depends(needs("operator"))]

_DESTINATIONS = 100
# The largest number of messages that the table of domains and ages counts, the oldest ones first.
_COUNTED = 250
_AGES = (("under 15 min", 15), ("under 1 h", 60), ("under 4 h", 240), ("under 1 d", 1440), ("older", None))
_DOMAINS = 50


@router.get("/queue")
async def show(page: ReaderPage, cursor: str = "") -> Response:
    destinations, waiting = await asyncio.gather(
        page.api.get("/v1/queue/destinations", limit=_DESTINATIONS, cursor=cursor),
        page.api.get("/v1/queue/messages", limit=_COUNTED),
    )
    return page.show(
        "queue.html",
        destinations=destinations["items"],
        next_cursor=destinations["next_cursor"],
        ages=[name for name, _ in _AGES],
        domains=_by_domain_and_age(waiting["items"], datetime.now(UTC)),
        counted=len(waiting["items"]),
        is_part=waiting["next_cursor"] is not None,
        filters=FILTERS,
        states=STATES,
        actions=ACTIONS.values(),
    )


def _by_domain_and_age(messages: Sequence[Mapping[str, Any]], now: datetime) -> list[tuple[str, list[int], int]]:
    """Returns the waiting recipients: their domain, the number for each age, and the total, the largest first."""
    counts: dict[str, Counter[int]] = {}
    for message in messages:
        age = now - datetime.fromisoformat(message["received_at"]) if message["received_at"] else timedelta()
        column = next(
            number for number, (_, limit) in enumerate(_AGES) if limit is None or age < timedelta(minutes=limit)
        )
        for delivery in message["deliveries"]:
            if delivery["state"] in STATES:
                domain = delivery["recipient"].rpartition("@")[2].lower()
                counts.setdefault(domain, Counter())[column] += 1
    rows = [
        (domain, [of_ages[column] for column in range(len(_AGES))], of_ages.total())
        for domain, of_ages in counts.items()
    ]
    return sorted(rows, key=lambda row: -row[2])[:_DOMAINS]


@router.post("/queue/destinations/suspend")
async def suspend(page: OperatorPage) -> Response:
    name, hours = page.form.get("name"), page.form.get("hours")
    until = None
    if hours:
        if not hours.isascii() or not hours.isdigit() or not 1 <= int(hours) <= 720:
            return page.redirect("/queue", "Nothing was changed: the hours must be a number from 1 to 720.")
        until = (datetime.now(UTC) + timedelta(hours=int(hours))).isoformat()
    if not name:
        raise HTTPException(404)
    await page.api.post(f"/v1/queue/destinations/{quote(name, safe='')}:suspend", {"until": until})
    return page.redirect("/queue", f"{name} is suspended: its mail waits.")


@router.post("/queue/destinations/resume")
async def resume(page: OperatorPage) -> Response:
    name = page.form.get("name")
    if not name:
        raise HTTPException(404)
    await page.api.post(f"/v1/queue/destinations/{quote(name, safe='')}:resume")
    return page.redirect("/queue", f"{name} is resumed: its mail is tried again.")
