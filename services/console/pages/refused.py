"""Refused mail: by reason and by client, each refusal with an explanation rule by rule, and the rule that would allow
it.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from posthouse_client import ProblemError
from starlette.exceptions import HTTPException

from services.console.navigation import Entry
from services.console.page import Page, needs
from services.console.statistics import PERIODS, PeriodCounts

ENTRIES = (Entry("Refused", "/refused"),)
router = APIRouter()
ReaderPage = Annotated[Page, Depends(needs("reader"))]
AdminPage = Annotated[Page, Depends(needs("admin"))]

_SHOWN = 50
# The number of newest refusals whose clients are counted.
_COUNTED = 500
_CLIENTS = 10


@router.get("/refused")
async def show(page: ReaderPage, period: str = "day", reason: str = "", client: str = "", cursor: str = "") -> Response:
    chosen = PERIODS.get(period, PERIODS["day"])
    starts = chosen.starts(datetime.now(UTC))
    after = starts[0].isoformat()
    refused = functools.partial(page.api.get, "/v1/messages", state="rejected", received_after=after, reason_id=reason)
    statistics, messages = await asyncio.gather(
        page.api.get("/v1/statistics", bucket=chosen.bucket, after=after),
        refused(client_address=client, limit=_SHOWN, cursor=cursor),
    )
    # When few messages were refused, the API reads every message to find them. So one search is made for the page and
    # for the clients, if possible.
    is_whole = not client and not cursor and messages["next_cursor"] is None
    newest = messages if is_whole else await refused(limit=_COUNTED)
    figures = PeriodCounts(chosen, starts, statistics["buckets"])
    return page.show(
        "refused.html",
        period=chosen.name,
        periods=list(PERIODS),
        reason=reason,
        client=client,
        reasons=figures.refused(),
        shadow=figures.shadow(),
        clients=_clients(newest["items"]),
        counted=len(newest["items"]),
        messages=messages["items"],
        next_cursor=messages["next_cursor"],
    )


def _clients(messages: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    counts = Counter(message["origin"]["client_address"] for message in messages if message["origin"]["client_address"])
    return counts.most_common(_CLIENTS)


@router.get("/refused/{queue_id}")
async def explain(page: ReaderPage, queue_id: str) -> Response:
    message = await page.api.get(f"/v1/queue/messages/{quote(queue_id, safe='')}")
    then, now = await asyncio.gather(_explain_past(page, message), _explain_now(page, message))
    drafts = _possible_allow_rules(message)
    rules = await _allow_rules(page, drafts)
    return page.show("refusal.html", message=message, then=then, now=now, drafts=drafts, rules=rules)


@router.get("/refused/{queue_id}/allow")
async def draft(page: ReaderPage, queue_id: str, criterion: str = "") -> Response:
    """Shows the effect of an allow rule before it is made."""
    message = await page.api.get(f"/v1/queue/messages/{quote(queue_id, safe='')}")
    chosen = _draft(message, criterion)
    now = proposed = None
    if chosen is not None:
        rule = _allow_rule(message, chosen)
        now, proposed = await asyncio.gather(_explain_now(page, message), _explain_now(page, message, rule))
    return page.show(
        "refusal_allow.html",
        message=message,
        draft=chosen,
        now=now,
        proposed=proposed,
        changes=_changes(now, proposed) if now and proposed else [],
    )


@router.post("/refused/{queue_id}/allow")
async def allow(page: AdminPage, queue_id: str) -> Response:
    """Makes the proposed allow rule."""
    path = f"/refused/{quote(queue_id, safe='')}"
    message = await page.api.get(f"/v1/queue/messages/{quote(queue_id, safe='')}")
    chosen = _draft(message, page.form.get("criterion"))
    if chosen is None:
        raise HTTPException(404)
    await page.api.post("/v1/access-rules", _allow_rule(message, chosen))
    return page.redirect(
        path, f"The rule allows {chosen['criterion']} {chosen['value']}. The explanation below is made with it."
    )


@router.post("/refused/{queue_id}/take-back")
async def take_back(page: AdminPage, queue_id: str) -> Response:
    """Deletes the allow rule again."""
    path = f"/v1/access-rules/{quote(page.form.get('rule'), safe='')}"
    rule = await page.api.call("GET", path)
    await page.api.call("DELETE", path, headers={"If-Match": rule.headers["etag"]})
    return page.redirect(f"/refused/{quote(queue_id, safe='')}", "The allow rule is deleted.")


async def _explain_past(page: Page, message: Mapping[str, Any]) -> Any:
    """Returns policy's decisions in the session, or None when the session is unknown or policy has forgotten it."""
    session = message["origin"]["session_id"]
    return await _explained(page, {"kind": "past", "session_id": session}) if session else None


async def _explain_now(page: Page, message: Mapping[str, Any], rule: Mapping[str, str] | None = None) -> Any:
    """Returns the decisions for the same session now, or None when too few facts are known, or policy cannot use them.
    `rule` is an access rule that is tried as if it existed.
    """
    origin = message["origin"]
    if not origin["client_address"]:
        return None
    facts = {
        "client_address": origin["client_address"],
        "helo_name": origin["helo_name"],
        "listener": origin["listener"],
        "tls": origin["tls"],
        "account_login": origin["account_login"],
        "sender": message["sender"],
        "recipient": message["deliveries"][0]["recipient"] if message["deliveries"] else None,
    }
    facts = {name: value for name, value in facts.items() if value is not None}
    facts["stage"] = "rcpt" if "recipient" in facts else "connect"
    return await _explained(page, {"kind": "hypothetical", "facts": facts, "proposed_rule": rule})


async def _explained(page: Page, session: Mapping[str, Any]) -> Any:
    try:
        return await page.api.post("/v1/explain/session", session)
    except ProblemError as problem:
        # Policy has forgotten the session, or cannot use its facts, for example an invalid address.
        if problem.status in (404, 409, 422):
            return None
        raise


def _draft(message: Mapping[str, Any], criterion: str) -> dict[str, str] | None:
    return next((each for each in _possible_allow_rules(message) if each["criterion"] == criterion), None)


def _allow_rule(message: Mapping[str, Any], chosen: Mapping[str, str]) -> dict[str, str]:
    return {"list": "allow", "name": f"Allowed after refusal {message['queue_id']}", **chosen}


def _changes(now: Mapping[str, Any], proposed: Mapping[str, Any]) -> list[dict[str, str]]:
    """Returns the rules whose result the proposed rule would change, in their order. A rule may be tried several times
    at a stage.
    """
    before = _numbered(now["rules"])
    return [
        {"stage": rule["stage"], "reason_id": rule["reason_id"], "now": before[place], "proposed": rule["outcome"]}
        for place, rule in zip(_numbered(proposed["rules"]), proposed["rules"], strict=True)
        if place in before and before[place] != rule["outcome"]
    ]


def _numbered(rules: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, int], str]:
    """Returns the result of each rule. The key has the stage, the name, and the number among the rules with the same
    stage and name.
    """
    counts: Counter[tuple[str, str]] = Counter()
    outcomes = {}
    for rule in rules:
        name = rule["stage"], rule["reason_id"]
        outcomes[*name, counts[name]] = rule["outcome"]
        counts[name] += 1
    return outcomes


def _possible_allow_rules(message: Mapping[str, Any]) -> list[dict[str, str]]:
    """Returns the allow rules that would match this mail, the narrowest first."""
    sender, client = message["sender"], message["origin"]["client_address"]
    drafts = []
    if sender and "@" in sender:
        drafts.append({"criterion": "sender", "value": sender})
        drafts.append({"criterion": "domain", "value": sender.rpartition("@")[2]})
    if client:
        drafts.append({"criterion": "ip", "value": client})
    return drafts


async def _allow_rules(page: Page, drafts: Sequence[Mapping[str, str]]) -> list[Any]:
    """Returns the existing allow rules for one of these criteria."""
    pages = await asyncio.gather(
        *(page.api.get("/v1/access-rules", list="allow", **draft, limit=5) for draft in drafts)
    )
    return [rule for found in pages for rule in found["items"]]
