"""Imports a document: compares it with the stored configuration, and writes the changes as one revision."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from services.config_api.changes.check_context import DocumentCheckContext, StoredCheckContext
from services.config_api.changes.entity_tags import require_newest
from services.config_api.history.revisions.repository import Change
from services.config_api.history.transfer.document import PORTABLE, Item, Scope
from services.config_api.problems import FieldError, Problem, conflict, invalid
from services.config_api.resources.defaults import complete, without_repeated_defaults
from services.config_api.resources.description import Body, Collection, Finding, Resource, shown_body
from services.config_api.secrets.stored_secrets import ExtractedSecrets, SecretFields, merge_stored
from services.config_api.storage.documents import Document, Store, every
from services.config_api.storage.idempotency import IdempotentRequest, StoredResponse
from services.config_api.storage.revision import Actor, Revision, Write

# After this number of objects, the event loop may run other tasks.
_TURN = 500
_MOST_ERRORS = 50
# The longest time for the search for warnings, in seconds. Warnings are only a help, so an import does not wait until
# all are found.
_CHECK_SECONDS = 4
_MOST_CHECKS = 500
_MOST_WARNINGS = 100

AnswerOf = Callable[[int, Sequence[Change], Sequence[Finding]], StoredResponse]


@dataclass(frozen=True, slots=True)
class _Wanted:
    item: Item
    taken: ExtractedSecrets

    @property
    def body(self) -> Body:
        return self.taken.body


class Importer:
    """Makes one import. Each import has its own Importer."""

    def __init__(self, store: Store, secret_fields: SecretFields, stored: StoredCheckContext, scope: Scope) -> None:
        """`scope` is the part of the configuration that the import replaces."""
        self._scope = scope
        self._store = store
        self._secret_fields = secret_fields
        self._stored_context = stored

    async def run(
        self,
        items: Sequence[Item],
        if_match: str | None,
        actor: Actor,
        repeat: IdempotentRequest | None,
        answer: AnswerOf,
        *,
        dry_run: bool,
    ) -> StoredResponse:
        """Makes the import. Returns the answer, which contains the changes, warnings about them, and the newest
        revision after the import.

        A dry run makes the whole import and rolls it back, so it finds the same faults and changes. Raises Problem 409,
        412, 422 and 428; a dry run needs no If-Match.
        """
        wanted = [await self._take_in(item) for item in items]
        check_context = _document_check_context(self._stored_context, wanted, self._scope)
        warnings_found = await self._find_warnings(wanted, check_context)
        changes: list[Change] = []
        try:
            async with self._store.revision(actor, "importConfiguration", repeat) as revision:
                if not dry_run or if_match is not None:
                    require_newest(if_match, revision.number - 1)
                placed = await self._changes(revision, wanted, check_context)
                changes = [change for change, _ in placed]
                await revision.apply(
                    [
                        Write(change.resource, change.id, change.before, change.after, place=place)
                        for change, place in placed
                    ]
                )
                revision.target = "config:import"
                revision.summary = f"import: {len(changes)} objects"
                if dry_run:
                    raise _DryRunEnded
                number = revision.number if changes else revision.number - 1
                revision.answer = made = answer(number, changes, warnings_found)
        except _DryRunEnded:
            made = answer(await self._store.newest(), changes, warnings_found)
        return made

    async def _find_warnings(self, wanted: Sequence[_Wanted], check_context: DocumentCheckContext) -> list[Finding]:
        """Returns warnings about objects that will change. This is done before the transaction, because the DNS may be
        slow.
        """
        async with self._store.database.reading() as connection:
            present = {(found.kind, found.id): found async for found in every(connection, self._scope.kinds)}
        by_key, claimed = _natural_keys(present), _claimed(wanted)
        warnings_found: list[Finding] = []
        checked = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CHECK_SECONDS):
                for want in wanted:
                    document = _match(want, present, by_key, claimed)
                    if document is not None and shown_body(want.item.resource, document.body) == want.body:
                        continue
                    check_context.about = want.body
                    check_context.before = None if document is None else document.body
                    found = await want.item.resource.check(want.body, check_context)
                    warnings_found += [
                        Finding(want.item.pointer + warning.pointer, warning.code, warning.detail) for warning in found
                    ]
                    checked += 1
                    if checked == _MOST_CHECKS or len(warnings_found) >= _MOST_WARNINGS:
                        break
                    await asyncio.sleep(0)
        return warnings_found

    async def _take_in(self, item: Item) -> _Wanted:
        return _Wanted(item, await self._secret_fields.extract(item.resource, item.model))

    async def _changes(
        self, revision: Revision, wanted: Sequence[_Wanted], check_context: DocumentCheckContext
    ) -> list[tuple[Change, str]]:
        """Returns the changes to write, with the place of each object in the document."""
        present = {(found.kind, found.id): found async for found in every(revision.connection, self._scope.kinds)}
        by_key, claimed = _natural_keys(present), _claimed(wanted)
        changes: list[tuple[Change, str]] = []
        errors: list[FieldError] = []
        matched: set[tuple[str, str]] = set()
        for number, want in enumerate(wanted):
            if number % _TURN == _TURN - 1:
                await asyncio.sleep(0)
            resource = want.item.resource
            document = _match(want, present, by_key, claimed)
            document_id = document.id if document is not None else want.item.id or self._store.identifiers.new()
            if (resource.kind, document_id) in matched:
                errors.append(FieldError(want.item.pointer, "twice", "The document contains this object twice."))
                continue
            matched.add((resource.kind, document_id))
            before = document.stored if document is not None else None
            try:
                check_context.about = want.body
                check_context.before = None if document is None else document.body
                after = await self._stored(resource, want, document, check_context)
            except Problem as problem:
                errors += [FieldError(want.item.pointer + e.pointer, e.code, e.detail) for e in problem.errors]
                continue
            if after != before:
                changes.append((Change(resource, document_id, before, after), want.item.pointer))
        if errors:
            raise invalid(errors[:_MOST_ERRORS])
        resources: dict[str, Resource] = {resource.kind: resource for resource in self._scope.collections}
        changes += [
            (Change(resources[kind], document_id, document.stored, None), "")
            for (kind, document_id), document in present.items()
            if kind in resources and (kind, document_id) not in matched
        ]
        return changes

    async def _stored(
        self, resource: Resource, want: _Wanted, document: Document | None, check_context: DocumentCheckContext
    ) -> Body:
        was_set, before = want.taken.was_set, None
        if document is not None:
            before = document.body
            was_set = without_repeated_defaults(was_set, document.stored, before)
        stored = merge_stored(resource, was_set, want.taken.secrets, want.item.given, before)
        if isinstance(resource, Collection):
            if before is not None:
                for name in resource.fixed:
                    if want.body[name] != before[name]:
                        raise conflict([FieldError(f"/{name}", "fixed", "This can't be changed: give another id.")])
                stored |= {name: before[name] for name in resource.hidden if name in before}
            elif resource.create is not None:
                stored |= self._secret_fields.seal_hidden(resource, (await resource.create(want.item.model)).hidden)
        if document is None or stored != document.stored:
            await resource.refuse(complete(resource, stored), check_context)
        return stored


def _document_check_context(
    stored: StoredCheckContext, wanted: Sequence[_Wanted], scope: Scope
) -> DocumentCheckContext:
    settings: dict[str, Body] = {}
    collections: dict[str, list[Body]] = {collection.kind: [] for collection in scope.collections}
    taken_keys: set[tuple[str, str]] = set()
    for want in wanted:
        resource = want.item.resource
        if isinstance(resource, Collection):
            collections[resource.kind].append(want.body)
            taken_keys |= {(key.scope, key.value) for key in resource.unique(want.body)}
        else:
            settings[resource.kind] = want.body
    return DocumentCheckContext(stored, settings, collections, frozenset(taken_keys))


class _DryRunEnded(Exception):  # noqa: N818 - no error, but it ends the transaction
    """Ends a dry run, so that its transaction is rolled back."""


def _natural_keys(present: Mapping[tuple[str, str], Document]) -> dict[tuple[str, str, str], Document]:
    """Returns the stored objects by their first unique key, by which an object without a known id is found."""
    resources = {resource.kind: resource for resource in PORTABLE}
    documents = {}
    for (kind, _), document in present.items():
        if kind in resources:
            for key in list(resources[kind].unique(document.body))[:1]:
                documents[(kind, key.scope, key.value)] = document
    return documents


def _claimed(wanted: Sequence[_Wanted]) -> frozenset[tuple[str, str]]:
    """Returns the pairs of kind and id of all items that have an id."""
    return frozenset((want.item.resource.kind, want.item.id) for want in wanted if want.item.id is not None)


def _match(
    want: _Wanted,
    present: Mapping[tuple[str, str], Document],
    by_key: Mapping[tuple[str, str, str], Document],
    claimed: frozenset[tuple[str, str]],
) -> Document | None:
    """Returns the stored object for an item: the object with the id of the item, or else the object with its first
    unique key, for example its name, unless an item has the id of that object. Returns None when the item is a new
    object.

    So a new object may have the name of an object that the same document renames.
    """
    resource = want.item.resource
    if want.item.id is not None and (resource.kind, want.item.id) in present:
        return present[(resource.kind, want.item.id)]
    if isinstance(resource, Collection):
        for key in list(resource.unique(want.body))[:1]:
            document = by_key.get((resource.kind, key.scope, key.value))
            return None if document is None or (resource.kind, document.id) in claimed else document
    return None
