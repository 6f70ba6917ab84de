"""Redirects of waiting mail: the form, the preview, and the result."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

import httpx
from fastapi import APIRouter, Depends
from fastapi.responses import Response
from posthouse_client import ProblemError

from services.console.message_actions import REDIRECT, REDIRECT_EFFECTS
from services.console.navigation import Entry
from services.console.page import Form, Page, needs
from services.console.pages.queue_many import FILTERS

ENTRIES: tuple[Entry, ...] = ()
router = APIRouter()
AdminPage = Annotated[Page, Depends(needs("admin"))]

_PROTOCOLS = ("smtp", "lmtp")
_TLS_LEVELS = ("may", "encrypt", "verify", "none")
# The fields of the form that name the new target.
_TARGET_FIELDS = ("target", "new_recipient", "protocol", "host", "port", "tls")


@dataclass(frozen=True, slots=True)
class _Selection:
    """The mail to redirect: one message, or the messages that match filters. `path` is the address of its forms, and
    `back` the previous page.
    """

    path: str
    back: str
    filters: Mapping[str, str]
    message: Any = None


@router.get("/messages/{queue_id}/redirect")
async def ask_about_one(page: AdminPage, queue_id: str) -> Response:
    return _form(page, await _one(page, queue_id), ())


@router.post("/messages/{queue_id}/redirect")
async def redirect_one(page: AdminPage, queue_id: str) -> Response:
    return await _next_step(page, await _one(page, queue_id))


@router.post("/queue/redirect")
async def redirect_many(page: AdminPage) -> Response:
    chosen = {name: page.form.get(name) for name in FILTERS if page.form.get(name)}
    if not chosen:
        return page.redirect("/queue#many", "Nothing was done: choose at least one criterion for the messages.")
    return await _next_step(page, _Selection("/queue/redirect", "/queue#many", chosen))


async def _one(page: Page, queue_id: str) -> _Selection:
    segment = quote(queue_id, safe="")
    message = await page.api.get(f"/v1/queue/messages/{segment}")
    return _Selection(f"/messages/{segment}/redirect", f"/messages/{segment}", {"queue_id": queue_id}, message)


async def _next_step(page: Page, subject: _Selection) -> Response:
    """Shows the form while no target is given, then the preview, and after the confirmation makes the redirect."""
    if not page.form.get("target"):
        return _form(page, subject, ())
    target = _target(page.form)
    if target is None:
        return _form(page, subject, ["Choose where the mail goes."])
    try:
        if page.form.get("sure") == "yes":
            return await _redirect(page, subject, target)
        return await _preview(page, subject, target)
    except ProblemError as problem:
        if problem.status != httpx.codes.UNPROCESSABLE_ENTITY:
            raise
        return _form(page, subject, [problem.sentence()])


def _form(page: Page, subject: _Selection, faults: Sequence[str]) -> Response:
    return page.show(
        "redirect.html",
        subject=subject,
        concerned=_concerned(subject),
        names=FILTERS,
        typed={name: page.form.get(name) for name in _TARGET_FIELDS},
        protocols=_PROTOCOLS,
        tls_levels=_TLS_LEVELS,
        faults=faults,
    )


async def _preview(page: Page, subject: _Selection, target: Mapping[str, Any]) -> Response:
    would = await page.api.post(
        "/v1/queue/messages:redirect", {"filter": dict(subject.filters), **target}, dry_run=True
    )
    routes = []
    if "recipient" in target:
        sender = subject.message["sender"] if subject.message else None
        explained = await page.api.post("/v1/explain/route", {"sender": sender, "recipient": target["recipient"]})
        routes = explained["routes"]
    [kind] = target
    return page.show(
        "redirect_preview.html",
        subject=subject,
        concerned=_concerned(subject),
        names=FILTERS,
        typed={name: page.form.get(name) for name in _TARGET_FIELDS},
        target=target,
        effect=REDIRECT_EFFECTS[kind],
        would=would,
        routes=routes,
        once=str(uuid.uuid4()),
    )


async def _redirect(page: Page, subject: _Selection, target: Mapping[str, Any]) -> Response:
    # A form that is sent twice is carried out once.
    headers = {"Idempotency-Key": page.form.get("once") or str(uuid.uuid4())}
    if subject.message is not None:
        path = f"/v1/queue/messages/{quote(subject.filters['queue_id'], safe='')}:redirect"
        await page.api.call("POST", path, body=target, headers=headers)
        return page.redirect(subject.back, f"The message {REDIRECT.done}.")
    body = {"filter": dict(subject.filters), **target}
    answer = await page.api.call("POST", "/v1/queue/messages:redirect", body=body, headers=headers)
    progress = answer.json()
    text = f"{progress['acted']} of {progress['matched']} deliveries {REDIRECT.done_to_many}"
    if progress["skipped"]:
        text += f"; {progress['skipped']} were being tried, or already go there"
    return page.redirect(subject.back, f"{text}.")


def _target(form: Form) -> dict[str, Any] | None:
    """Returns the target in the form of the API, or None when the form names none."""
    kind = form.get("target")
    if kind == "recipient" and form.get("new_recipient"):
        return {"recipient": form.get("new_recipient")}
    if kind == "next_hop" and form.get("host"):
        next_hop: dict[str, Any] = {"kind": form.get("protocol"), "host": form.get("host"), "tls": form.get("tls")}
        port = form.get("port")
        # The API reports all other faults.
        if port:
            next_hop["port"] = int(port) if port.isascii() and port.isdigit() else port
        return {"next_hop": next_hop}
    return {"configured_route": True} if kind == "configured_route" else None


def _concerned(subject: _Selection) -> list[Any]:
    """Returns the deliveries of one message that can be redirected."""
    deliveries = subject.message["deliveries"] if subject.message else []
    return [delivery for delivery in deliveries if delivery["state"] in REDIRECT.states]
