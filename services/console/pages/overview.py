"""The first page: the state of the suite, and everything that needs attention."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from operator import itemgetter
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from services.console.graphs import bar_chart
from services.console.navigation import Entry
from services.console.page import Page, needs
from services.console.statistics import PERIODS, PeriodCounts, refused_in

ENTRIES = (Entry("Overview", "/"),)
router = APIRouter()
ReaderPage = Annotated[Page, Depends(needs("reader"))]
OperatorPage = Annotated[Page, Depends(needs("operator"))]

_DESTINATIONS = 200
_IN_TROUBLE = 10


@router.get("/")
async def show(page: ReaderPage, period: str = "day") -> Response:
    chosen = PERIODS.get(period, PERIODS["day"])
    starts = chosen.starts(datetime.now(UTC))
    status, statistics, destinations, checks = await asyncio.gather(
        page.api.get("/v1/status"),
        page.api.get("/v1/statistics", bucket=chosen.bucket, after=starts[0].isoformat()),
        page.api.get("/v1/queue/destinations", limit=_DESTINATIONS),
        page.api.get("/v1/checks"),
    )
    figures = PeriodCounts(chosen, starts, statistics["buckets"])
    return page.show(
        "overview.html",
        status=status,
        period=chosen.name,
        periods=list(PERIODS),
        graphs=_graphs(figures),
        refused=figures.refused(),
        shadow=figures.shadow(),
        oldest=_oldest(destinations["items"]),
        queued=sum(destination["queued"] for destination in destinations["items"]),
        is_part=destinations["next_cursor"] is not None,
        troubles=_with_failures(destinations["items"]),
        findings=_distinct([check for check in checks["items"] if check["level"] != "ok"]),
        passed=sum(check["level"] == "ok" for check in checks["items"]),
    )


@router.post("/checks")
async def run_checks(page: OperatorPage) -> Response:
    await page.api.post("/v1/checks:run")
    return page.redirect("/#checks", "Every check was made again.")


def _distinct(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns each finding once, with the names of all services that have it: the services of one machine find the
    same.
    """
    services: dict[tuple[str, ...], list[str]] = {}
    for check in checks:
        key = (check["level"], check["id"], check["text"], check["remedy"])
        services.setdefault(key, []).append(check["service"])
    return [
        {"level": level, "id": name, "text": text, "remedy": remedy, "services": list(dict.fromkeys(of_finding))}
        for (level, name, text, remedy), of_finding in services.items()
    ]


def _graphs(figures: PeriodCounts) -> list[dict[str, Any]]:
    """Returns the graphs, each with its name and its total."""
    graphs = []
    for name, text, kind in (
        ("accepted", "Messages accepted", "plain"),
        ("refused", "Refused", "bad"),
        ("delivered", "Recipients delivered", "good"),
        ("deferred", "Attempts deferred", "warn"),
        ("bounced", "Recipients bounced", "bad"),
    ):
        bars = figures.bars(refused_in if name == "refused" else itemgetter(name))
        graphs.append({"text": text, "total": sum(bar.value for bar in bars), "svg": bar_chart(text, bars, kind)})
    return graphs


def _oldest(destinations: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Returns the destination with the oldest waiting message, or None when no message waits."""
    waiting = [destination for destination in destinations if destination["oldest_at"]]
    return min(waiting, key=lambda destination: str(destination["oldest_at"]), default=None)


def _with_failures(destinations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns destinations that are suspended, or whose mail waits after a failure, those with the most mail first."""
    troubled = [each for each in destinations if each["suspended"] or (each["last_error"] and each["queued"])]
    return sorted(troubled, key=lambda each: -int(each["queued"]))[:_IN_TROUBLE]
