"""Gives endpoints access to the objects of the process and to the caller of a request."""

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
class AppContext:
    """The objects of the process that endpoints use. They are made once, and the middleware adds them to the scope of
    each request.
    """

    store: Store
    editor: Editor
    access: Access
    audit: AuditLog
    snapshots: CurrentSnapshots
    watchers: Watchers
    # None on SQLite, because only one process can use an SQLite file.
    sharing: Sharing | None
    policy: PolicyClient
    relay: RelayClient
    check_context_for: Callable[[str], StoredCheckContext]
    readiness: Readiness
    neighbours: Neighbours
    own_checks: Checks
    events: EventHub
    ingress: IngressClient
    # Empty means that there is no console.
    console_url: str = ""


_BEARER = HTTPBearer(auto_error=False, description="An API key: `Authorization: Bearer KEY`.", scheme_name="key")


def app_context(request: Request) -> AppContext:
    found: AppContext = request.scope["posthouse.app_context"]
    return found


def actor(request: Request) -> Actor:
    found: Actor = request.scope["posthouse.actor"]
    return found


def needs(role: str) -> Callable[..., Coroutine[Any, Any, Actor]]:
    """Makes a dependency that checks the role of the caller, and returns the caller. The middleware has checked the
    key.
    """

    async def caller(request: Request, _: object = Security(_BEARER)) -> Actor:
        found = actor(request)
        demand(found, role)
        return found

    # From this attribute, the middleware learns the role that it checks before it reads a body.
    caller.required_role = role  # type: ignore[attr-defined]
    return caller


IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="If the request is repeated within a day with the same key, it does nothing and gets the first "
        "answer again.",
    ),
]
DryRun = Annotated[bool, Query(description="Only show what would be done. Idempotency-Key is ignored then.")]


async def repetition(request: Request, caller: Actor, key: str | None) -> IdempotentRequest | None:
    """Returns the request with its Idempotency-Key, or None without a key."""
    return None if key is None else repetition_of(request, caller, key, await request.body())


def repetition_of(request: Request, caller: Actor, key: str | None, content: bytes) -> IdempotentRequest | None:
    """Does the same as `repetition` for an endpoint that reads the body itself. `content` identifies the body, for
    example its digest.
    """
    if key is None:
        return None
    if len(set(request.headers.getlist("idempotency-key"))) > 1:
        raise invalid([FieldError("/Idempotency-Key", "twice", "This is given more than once.", "header")])
    what = request.url.path.removeprefix("/v1/") + ("?" + request.url.query if request.url.query else "")
    fingerprint = hashlib.sha256(what.encode() + b"\0" + content).digest()
    found = app_context(request)
    return IdempotentRequest(found.store.database, found.editor.secret_fields.sealer, caller.key_id, key, fingerprint)


def note_action(request: Request, target: str) -> None:
    """Stores for the audit log that this request acts on an object. Changes of settings need no such note, because
    their revision has an audit entry.
    """
    request.scope["posthouse.acted"] = True
    request.scope["posthouse.target"] = target


def leave_share(request: Request) -> None:
    """Stops counting this request among the concurrent ones of its key. Call this before an answer that never ends."""
    leave: Callable[[], None] = request.scope["posthouse.leave_share"]
    leave()


def still_valid(request: Request) -> bool:
    """Whether the key of the request is still valid."""
    return app_context(request).access.is_valid(request.headers.get("authorization"), actor(request))
