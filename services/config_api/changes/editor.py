"""Makes the changes of single objects: validates them, encrypts secrets, writes a revision, and finds warnings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from services.config_api.changes.entity_tags import required_versions
from services.config_api.changes.last_admin_key import require_one
from services.config_api.problems import Problem, from_pydantic, invalid_field, not_found, stale
from services.config_api.resources import webhooks
from services.config_api.resources.api_keys import API_KEYS, rotated
from services.config_api.resources.defaults import without_repeated_defaults
from services.config_api.resources.description import (
    Body,
    Check,
    CheckContext,
    Collection,
    Created,
    Finding,
    Resource,
    Secret,
    shown_body,
    without_read_only,
)
from services.config_api.resources.merge_patch import merge, patch_model
from services.config_api.secrets.stored_secrets import SecretFields, merge_stored
from services.config_api.storage.documents import Document, Store, find
from services.config_api.storage.idempotency import IdempotentRequest, StoredResponse
from services.config_api.storage.revision import Actor, Revision, Write

# The time-out of one check in seconds. A check that takes longer gives no warnings.
_CHECK_SECONDS = 4
# The largest number of attempts of a write with `If-Match: *`, while other writers change the same object.
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Preconditions:
    """If-Match and If-None-Match as the client sent them."""

    if_match: str | None
    if_none_match: str | None


@dataclass(frozen=True, slots=True)
class Changed:
    """The result of a change: the object after the change, warnings, and the members that only this answer shows."""

    document: Document
    findings: Sequence[Finding] = ()
    shown_once: Mapping[str, Any] | None = None


class Editor:
    """Makes changes of single objects."""

    def __init__(
        self,
        store: Store,
        secret_fields: SecretFields,
        check_context_for: Callable[[str], CheckContext],
        *,
        environment_key: bool = False,
    ) -> None:
        """`environment_key` says whether the environment has an admin's API key, which is not a stored object."""
        self.store = store
        self.secret_fields = secret_fields
        self._check_context_for = check_context_for
        self._environment_key = environment_key

    async def create(
        self,
        resource: Collection,
        given: object,
        actor: Actor,
        repeat: IdempotentRequest | None,
        answer: Callable[[Changed], Awaitable[StoredResponse]],
    ) -> StoredResponse:
        """Makes an object, and returns the answer. With `repeat`, the answer is stored in the same transaction, in case
        the request is repeated.
        """
        given = without_read_only(resource, given)
        model = validate(resource, given)
        extracted = await self.secret_fields.extract(resource, model)
        body = extracted.body
        created = await resource.create(model) if resource.create is not None else Created()
        document_id = self.store.identifiers.new()
        check_context = self._check_context_for(document_id)
        await resource.refuse(body, check_context)
        findings = await self._findings(resource, body, check_context)
        async with self.store.revision(actor, f"create{resource.noun}", repeat, short=True) as revision:
            made_members = self.secret_fields.seal_hidden(resource, created.hidden)
            made_secrets = {
                secret: made_members.pop(secret.path[0])
                for secret in resource.secrets
                if secret.path[0] in made_members
            }
            secrets = {**made_secrets, **extracted.secrets}
            stored = merge_stored(resource, extracted.was_set, secrets, given, None) | made_members
            await revision.apply([Write(resource, document_id, None, stored)])
            describe(revision, resource, document_id, 201)
            document = Document(resource.kind, document_id, stored, revision.number, revision.at, revision.at)
            given_names = {secret.path[0] for secret in extracted.secrets}
            shown_once = {name: value for name, value in created.shown_once.items() if name not in given_names}
            revision.answer = made = await answer(Changed(document, findings, shown_once))
        return made

    def check_context(self) -> CheckContext:
        """Returns the context for the check of an object that is not stored."""
        return self._check_context_for("")

    async def replace(
        self, resource: Resource, document_id: str, given: object, preconditions: Preconditions, actor: Actor
    ) -> Changed:
        """Replaces an object by the body of a PUT."""
        given = without_read_only(resource, given)
        validate(resource, given)

        def whole(before: Document) -> object:
            # The client may have read this body, edited it, and sent it back.
            return without_repeated_defaults(given, before.stored, before.body) if isinstance(given, dict) else given

        return await self._write(resource, document_id, whole, preconditions, actor, f"replace{resource.noun}")

    async def update(
        self, resource: Resource, document_id: str, patch: object, preconditions: Preconditions, actor: Actor
    ) -> Changed:
        """Applies a merge patch. The merged object is validated. Secrets that the patch does not name do not change."""
        patch = without_read_only(resource, patch)
        _validated(patch_model(resource.model), patch)

        def merged(before: Document) -> object:
            return merge(shown_body(resource, before.stored), patch)

        return await self._write(
            resource, document_id, merged, preconditions, actor, f"update{resource.noun}", named=patch
        )

    async def rotate_key(
        self,
        document_id: str,
        overlap_minutes: int,
        actor: Actor,
        repeat: IdempotentRequest | None,
        answer: Callable[[Changed], Awaitable[StoredResponse]],
    ) -> StoredResponse:
        """Gives an API key a new secret value. The id stays the same, and the previous value works until the overlap
        ends.
        """
        async with self.store.revision(actor, "rotateApiKey", repeat, short=True) as revision:
            before = await self._present(revision, API_KEYS, document_id)
            hidden, key = rotated(before.stored, overlap_minutes)
            kept = {name: value for name, value in before.stored.items() if name not in API_KEYS.hidden}
            stored = {**kept, **hidden}
            await revision.apply([Write(API_KEYS, document_id, before.stored, stored)])
            describe(revision, API_KEYS, document_id, 200)
            document = Document(API_KEYS.kind, document_id, stored, revision.number, before.created_at, revision.at)
            revision.answer = made = await answer(Changed(document, (), {"key": key}))
        return made

    async def rotate_webhook_secret(
        self,
        document_id: str,
        overlap_minutes: int,
        actor: Actor,
        repeat: IdempotentRequest | None,
        answer: Callable[[Changed], Awaitable[StoredResponse]],
    ) -> StoredResponse:
        """Makes a new secret of a webhook. The previous secret stays valid until the overlap ends."""
        secret = webhooks.make_secret()
        async with self.store.revision(actor, "rotateWebhookSecret", repeat, short=True) as revision:
            before = await self._present(revision, webhooks.WEBHOOKS, document_id)
            stored = webhooks.rotated(before.stored, self.secret_fields.sealer.seal(secret), overlap_minutes)
            await revision.apply([Write(webhooks.WEBHOOKS, document_id, before.stored, stored)])
            describe(revision, webhooks.WEBHOOKS, document_id, 200)
            document = Document(
                webhooks.WEBHOOKS.kind, document_id, stored, revision.number, before.created_at, revision.at
            )
            revision.answer = made = await answer(Changed(document, (), {"secret": secret}))
        return made

    async def delete(
        self, resource: Collection, document_id: str, preconditions: Preconditions, actor: Actor
    ) -> Sequence[Finding]:
        """Removes an object. Returns the warnings about objects that still refer to it."""
        stored_document = await self.store.get(resource.kind, document_id)
        findings: Sequence[Finding] = ()
        if stored_document is not None:
            findings = await self._found_in_time(
                resource.references, stored_document.body, self._check_context_for(document_id)
            )
        async with self.store.revision(actor, f"delete{resource.noun}", short=True) as revision:
            before = await self._present(revision, resource, document_id)
            expected = required_versions(preconditions.if_match, preconditions.if_none_match, before.version)
            await revision.apply([Write(resource, document_id, before.stored, None, expected)])
            await self._require_admin_key(revision, resource)
            describe(revision, resource, document_id, 200 if findings else 204)
        return findings

    async def _write(
        self,
        resource: Resource,
        document_id: str,
        wanted: Callable[[Document], object],
        preconditions: Preconditions,
        actor: Actor,
        action: str,
        named: object = None,
    ) -> Changed:
        # `*` matches any version. So if another writer has changed the object meanwhile, it is read again, and the
        # change is repeated.
        attempts = _ATTEMPTS if (preconditions.if_match or "").strip() == "*" else 1
        while True:
            attempts -= 1
            try:
                return await self._attempt(resource, document_id, wanted, preconditions, actor, action, named)
            except Problem as problem:
                if problem.status != stale().status or not attempts:
                    raise

    async def _attempt(
        self,
        resource: Resource,
        document_id: str,
        wanted: Callable[[Document], object],
        preconditions: Preconditions,
        actor: Actor,
        action: str,
        named: object,
    ) -> Changed:
        before = await self.store.get(resource.kind, document_id)
        if before is None:
            raise not_found(resource.label)
        expected = required_versions(preconditions.if_match, preconditions.if_none_match, before.version)
        given = wanted(before)
        model = validate(resource, given)
        extracted = await self.secret_fields.extract(resource, model)
        body = extracted.body
        _refuse_fixed(resource, before.body, body)
        check_context = self._check_context_for(document_id)
        await resource.refuse(body, check_context)
        findings = await self._findings(resource, body, check_context, before.body)
        # The change was validated against this version. If the document is changed or removed before it is written, the
        # write raises an error.
        expected &= {before.version}
        stored = _joined(resource, extracted.was_set, extracted.secrets, given if named is None else named, before.body)
        async with self.store.revision(actor, action, short=True) as revision:
            describe(revision, resource, document_id, 200)
            if stored == before.stored and expected:
                # Nothing has changed, so no revision is made, and the ETag stays the same. A request with a plain
                # secret always makes a revision, because its encrypted or hashed form is different each time.
                document = before
            else:
                await revision.apply([Write(resource, document_id, before.stored, stored, expected)])
                await self._require_admin_key(revision, resource)
                document = Document(resource.kind, document_id, stored, revision.number, before.created_at, revision.at)
        return Changed(document, findings)

    async def _present(self, revision: Revision, resource: Resource, document_id: str) -> Document:
        document = await find(revision.connection, resource.kind, document_id)
        if document is None:
            raise not_found(resource.label)
        return document

    async def _require_admin_key(self, revision: Revision, resource: Resource) -> None:
        if resource.kind == API_KEYS.kind and not self._environment_key:
            await require_one(revision.connection)

    async def _findings(
        self, resource: Resource, body: Body, check_context: CheckContext, before: Body | None = None
    ) -> Sequence[Finding]:
        findings = await self._found_in_time(resource.check, body, check_context)
        if before is not None and isinstance(resource, Collection):
            lost = taken_away(resource, before, body)
            if lost is not None:
                findings = [*findings, *await self._found_in_time(resource.references, lost, check_context)]
        return findings

    async def _found_in_time(self, check: Check, body: Body, check_context: CheckContext) -> Sequence[Finding]:
        """Returns the findings of a check, or none when the check takes too long. When the caller is cancelled, the
        check still ends by itself, because the cancellation of a query may cost the database a connection (F54). Only a
        check that exceeds its time is cancelled, so that it does not run on without limit.
        """
        looking = asyncio.ensure_future(check(body, check_context))
        done, _ = await asyncio.wait({looking}, timeout=_CHECK_SECONDS)
        if looking in done:
            return looking.result()
        looking.cancel()
        return ()


def validate(resource: Resource, given: object) -> BaseModel:
    """Returns the body as the model of the resource. Raises Problem 422."""
    return _validated(resource.model, given)


def _validated(model: type[BaseModel], given: object) -> BaseModel:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        errors = error.errors(include_input=False, include_url=False)
        raise from_pydantic([dict(entry) for entry in errors], given, where="body") from None


def describe(revision: Revision, resource: Resource, document_id: str, status: int) -> None:
    revision.target = resource.kind if document_id == resource.kind else f"{resource.kind}/{document_id}"
    revision.summary = f"{revision.action} {revision.target}"
    revision.status = status


def _joined(resource: Resource, was_set: Body, secrets: Mapping[Secret, str], given: object, before: Body) -> Body:
    stored = merge_stored(resource, was_set, secrets, given, before)
    hidden = resource.hidden if isinstance(resource, Collection) else ()
    return stored | {name: before[name] for name in hidden if name in before}


def _refuse_fixed(resource: Resource, before: Body, body: Body) -> None:
    for name in resource.fixed if isinstance(resource, Collection) else ():
        if body[name] != before[name]:
            raise invalid_field(f"/{name}", "fixed", "This cannot be changed: make another object instead.")


def taken_away(resource: Collection, before: Body, after: Body | None) -> Body | None:
    """Returns what a change removes from an object, as a body for `references`: other objects may refer to it. The
    result is None when nothing is removed.

    `after` is None for an object that is removed. An object that is disabled counts as removed.
    """
    if after is None or (before.get("enabled") is True and after["enabled"] is False):
        return before
    return resource.lost(before, after)


def time_text(microseconds: int) -> str:
    """Returns the time as RFC 3339 in UTC."""
    return (
        datetime.fromtimestamp(microseconds / 1_000_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
