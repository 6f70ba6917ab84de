"""The rules with their effects: the number of refusals of each, and those that each rule in shadow mode would have
made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import httpx
from fastapi import APIRouter, Depends
from fastapi.responses import Response
from posthouse_client import ProblemError

from services.console.navigation import Entry
from services.console.page import Page, needs
from services.console.statistics import PERIODS, PeriodCounts

ENTRIES = (Entry("Rules", "/rules"),)
router = APIRouter()

_ACCESS_RULES = 100
# The largest number of rules whose names are looked up one by one, because they are not in the list.
_NAMED = 20


@router.get("/rules")
async def show(page: Annotated[Page, Depends(needs("reader"))], period: str = "day") -> Response:
    chosen = PERIODS.get(period, PERIODS["day"])
    starts = chosen.starts(datetime.now(UTC))
    statistics, in_shadow = await asyncio.gather(
        page.api.get("/v1/statistics", bucket=chosen.bucket, after=starts[0].isoformat()),
        page.api.get("/v1/access-rules", mode="shadow", limit=_ACCESS_RULES),
    )
    figures = PeriodCounts(chosen, starts, statistics["buckets"])
    refused = figures.refused()
    judged = figures.total("accepted") + sum(count for _, count in refused)
    rules = {rule["id"]: rule for rule in in_shadow["items"]}
    rules |= await _others(page, [rule for _, rule, _ in figures.shadow() if rule and rule not in rules])
    return page.show(
        "rules.html",
        period=chosen.name,
        periods=list(PERIODS),
        judged=judged,
        shadow=_outcomes(figures.shadow(), rules, judged),
        refused=[{"reason": reason, "count": count, "share": _share(count, judged)} for reason, count in refused],
    )


def _outcomes(
    counted: Sequence[tuple[str, str | None, int]], rules: Mapping[str, Mapping[str, Any]], judged: int
) -> list[dict[str, Any]]:
    """Returns the refusals that each rule in shadow mode would have made, including access rules without matches."""
    seen = {rule for _, rule, _ in counted}
    idle = [("", rule_id, 0) for rule_id in rules if rule_id not in seen]
    outcomes = []
    for reason, rule_id, count in (*counted, *idle):
        rule = rules.get(rule_id or "")
        outcomes.append(
            {
                "reason": reason,
                "rule": rule_id,
                "title": _title(rule) if rule else "",
                "hits": rule["hits"] if rule else None,
                "count": count,
                "share": _share(count, judged),
            }
        )
    return outcomes


def _title(rule: Mapping[str, Any]) -> str:
    text = f"{rule['list']} {rule['criterion']} {rule['value']}"
    return f"{rule['name']}: {text}" if rule["name"] else text


def _share(count: int, judged: int) -> str:
    return f"{count / judged:.1%}" if judged else ""


async def _others(page: Page, ids: Sequence[str]) -> dict[str, Any]:
    """Returns the access rules with these ids, by id. They have counts, and most are no longer in shadow mode."""

    async def one(rule_id: str) -> Any:
        try:
            return await page.api.get(f"/v1/access-rules/{quote(rule_id, safe='')}")
        except ProblemError as problem:
            if problem.status == httpx.codes.NOT_FOUND:
                return None
            raise

    found = await asyncio.gather(*(one(rule_id) for rule_id in dict.fromkeys(ids[:_NAMED])))
    return {rule["id"]: rule for rule in found if rule is not None}
