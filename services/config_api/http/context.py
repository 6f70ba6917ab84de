"""Gives endpoints access to the objects of the process and to the caller, by the request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Header, Query, Request, Security
from fastapi.security import HTTPBearer

from libs.runtime.checks import Checks
from libs.runtime.metrics import Readiness
from services.config_api.changes.check_context import StoredCheckContext
from services.config_api.changes.editor import Editor
from services.config_api.clients import IngressClient, Neighbours, PolicyClient, RelayClient
from services.config_api.events.hub import EventHub
from services.config_api.http.authentication import Access, demand
from services.config_api.problems import FieldError, invalid
from services.config_api.snapshot.configuration_cache import CurrentSnapshots
from services.config_api.snapshot.in_force import Watchers
from services.config_api.snapshot.sharing import Sharing
from services.config_api.storage.audit_log import AuditLog
from services.config_api.storage.documents import Store
from services.config_api.storage.idempotency import IdempotentRequest
from services.config_api.storage.revision import Actor


@dataclass(frozen=True, slots=True)
class Parts:
    """Made once by the process; the middleware puts it into each request's scope."""

    store: Store
    editor: Editor
    access: Access
    audit: AuditLog
    snapshots: CurrentSnapshots
    watchers: Watchers
    # None on SQLite, which one process alone can use.
    sharing: Sharing | None
    policy: PolicyClient
    relay: RelayClient
    check_context_for: Callable[[str], StoredCheckContext]
    readiness: Readiness
    neighbours: Neighbours
    own_checks: Checks
    events: EventHub
    ingress: IngressClient
    # Empty: there is none.
    console_url: str = ""


_BEARER = HTTPBearer(auto_error=False, description="An API key: `Authorization: Bearer KEY`.", scheme_name="key")


def parts(request: Request) -> Parts:
    found: Parts = request.scope["posthouse.parts"]
    return found


def actor(request: Request) -> Actor:
    found: Actor = request.scope["posthouse.actor"]
    return found


def needs(role: str) -> Callable[..., Coroutine[Any, Any, Actor]]:
    """A dependency: the caller, who must have the role. The middleware has checked the key already."""

    async def caller(request: Request, _: object = Security(_BEARER)) -> Actor:
        found = actor(request)
        demand(found, role)
        return found

    # The middleware asks for it before it reads a body.
    caller.required_role = role  # type: ignore[attr-defined]
    return caller


IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Repeating the request with the same key within a day gives the first answer again, and does "
        "nothing.",
    ),
]
DryRun = Annotated[bool, Query(description="Only show what would be done. Idempotency-Key has no meaning then.")]


async def repetition(request: Request, caller: Actor, key: str | None) -> IdempotentRequest | None:
    """The request as one that may come again; None without a key."""
    return None if key is None else repetition_of(request, caller, key, await request.body())


def repetition_of(request: Request, caller: Actor, key: str | None, content: bytes) -> IdempotentRequest | None:
    """As `repetition`. `content`: octets that are the same for equal bodies."""
    if key is None:
        return None
    if len(set(request.headers.getlist("idempotency-key"))) > 1:
        raise invalid([FieldError("/Idempotency-Key", "twice", "It is given more than once.", "header")])
    what = request.url.path.removeprefix("/v1/") + ("?" + request.url.query if request.url.query else "")
    fingerprint = hashlib.sha256(what.encode() + b"\0" + content).digest()
    found = parts(request)
    return IdempotentRequest(found.store.database, found.editor.secret_fields.sealer, caller.key_id, key, fingerprint)


def acted(request: Request, target: str) -> None:
    """Notes for the audit log what this request does, and to what. Changes of settings note it themselves."""
    request.scope["posthouse.acted"] = True
    request.scope["posthouse.target"] = target


def leave_share(request: Request) -> None:
    """Call it for an answer without an end: the request no longer counts among those of its key."""
    leave: Callable[[], None] = request.scope["posthouse.leave_share"]
    leave()


def still_valid(request: Request) -> bool:
    """Whether the key that the request came with may still call."""
    return parts(request).access.is_valid(request.headers.get("authorization"), actor(request))
