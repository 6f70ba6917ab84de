"""Tests that change nothing: whether mail would be accepted, which route it would take, and whether a relay host
accepts mail.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from posthouse_client import ProblemError

from services.console.navigation import Entry
from services.console.page import Page, needs

ENTRIES = (Entry("Try", "/try"),)
router = APIRouter()
ReaderPage = Annotated[Page, Depends(needs("reader"))]
OperatorPage = Annotated[Page, Depends(needs("operator"))]

LISTENERS = ("smtp", "submission", "submissions")
_RULES = 100


@router.get("/try")
async def show(
    page: ReaderPage,
    client: str = "",
    sender: str = "",
    recipient: str = "",
    helo: str = "",
    login: str = "",
    listener: str = "smtp",
) -> Response:
    asked = {
        "client": client.strip(),
        "sender": sender.strip(),
        "recipient": recipient.strip(),
        "helo": helo.strip(),
        "login": login.strip(),
        "listener": listener if listener in LISTENERS else "smtp",
    }
    session, routes = None, None
    troubles: list[str] = []
    if asked["recipient"]:
        session, routes, troubles = await _tried(page, asked)
    return page.show(
        "trials.html",
        asked=asked,
        listeners=LISTENERS,
        session=session,
        routes=routes,
        troubles=troubles,
        relay_hosts=await _relay_hosts(page),
        result=None,
        tested="",
    )


async def _tried(page: Page, asked: dict[str, str]) -> tuple[Any, Any, list[str]]:
    """Returns the answers of policy and relay, and the errors of the request."""
    troubles: list[str] = []
    session = routes = None
    facts = {
        "client_address": asked["client"],
        "sender": asked["sender"] or None,
        "recipient": asked["recipient"],
        "listener": asked["listener"],
        "account_login": asked["login"],
    }
    if asked["helo"]:
        facts["helo_name"] = asked["helo"]
    if asked["client"]:
        try:
            session = await page.api.post("/v1/explain/session", {"kind": "hypothetical", "facts": facts})
        except ProblemError as problem:
            troubles.append(_trouble(problem))
    try:
        route = {"sender": asked["sender"] or None, "recipient": asked["recipient"]}
        routes = await page.api.post("/v1/explain/route", route)
    except ProblemError as problem:
        troubles.append(_trouble(problem))
    return session, routes, troubles


@router.post("/try/relay-host")
async def test_relay_host(page: OperatorPage) -> Response:
    rule = page.form.get("rule")
    try:
        result = await page.api.post("/v1/relay-hosts:test", {"kind": "configured", "rule_id": rule})
        troubles: list[str] = []
    except ProblemError as problem:
        result, troubles = None, [_trouble(problem)]
    hosts = await _relay_hosts(page)
    return page.show(
        "trials.html",
        asked={"client": "", "sender": "", "recipient": "", "helo": "", "login": "", "listener": "smtp"},
        listeners=LISTENERS,
        session=None,
        routes=None,
        troubles=troubles,
        relay_hosts=hosts,
        result=result,
        tested=next((host["title"] for host in hosts if host["id"] == rule), ""),
    )


async def _relay_hosts(page: Page) -> list[dict[str, str]]:
    """Returns the configured relay hosts, with their names in the API. The result is empty for a user who may not test
    them.
    """
    if not page.may("operator"):
        return []
    delivery = await page.api.get("/v1/settings/delivery")
    rules = await page.api.get("/v1/relay-rules", limit=_RULES)
    hosts = []
    if delivery.get("relay_host"):
        hosts.append({"id": "delivery", "title": _title("All other mail", delivery["relay_host"])})
    return hosts + [{"id": rule["id"], "title": _title(rule["name"], rule["relay_host"])} for rule in rules["items"]]


def _title(name: str, host: dict[str, Any]) -> str:
    return f"{name}: {host['host']}, port {host['port']}"


def _trouble(problem: ProblemError) -> str:
    return problem.sentence()
