"""Makes many changes of one collection as one revision: either all of them or none."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from services.config_api.changes.check_context import StoredCheckContext
from services.config_api.changes.editor import taken_away, validate
from services.config_api.changes.entity_tags import required_versions
from services.config_api.problems import FieldError, Problem, from_pydantic, invalid, stale
from services.config_api.resources.defaults import without_repeated_defaults
from services.config_api.resources.description import (
    MOST_MATCHES,
    Body,
    Collection,
    Finding,
    no_findings,
    without_read_only,
)
from services.config_api.resources.fields import Model
from services.config_api.secrets.stored_secrets import ExtractedSecrets, SecretFields, merge_stored
from services.config_api.storage.documents import Document, Store, find_all
from services.config_api.storage.idempotency import IdempotentRequest, StoredResponse
from services.config_api.storage.revision import Actor, Revision, Write

Action = Literal["create", "replace", "delete"]

# Hashing a plain password takes about 25 ms of CPU time. A password that is already hashed costs nothing.
MOST_PASSWORDS = 200
_MOST_ERRORS = 50
# Warnings are only a help, so a batch does not wait until all of them are found. The search for warnings about the
# first _PATIENT_OPERATIONS operations may take _PATIENT_SECONDS, as long as one check of a single write. Later
# operations are checked only within the first _WARNINGS_SECONDS of the search.
_PATIENT_OPERATIONS = 20
_PATIENT_SECONDS = 4.0
_WARNINGS_SECONDS = 0.3
_MOST_WARNINGS = 100
# After this number of operations, the event loop may run other tasks.
_TURN = 200
# The number of objects that are checked at the same time, because a check may wait for name servers.
_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Operation:
    """One validated operation of a batch. `place` is the JSON pointer of the operation in the request."""

    place: str
    action: Action
    # The id of the object that is replaced or deleted. None for a new object.
    id: str | None
    if_match: str | None
    # None means that the object is deleted.
    model: BaseModel | None
    # The object as the client sent it.
    given: Any


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a batch: (id, new version) of each operation in order. The version of a deleted object is None."""

    revision: int
    objects: Sequence[tuple[str, int | None]]
    warnings_found: Sequence[Finding]


class _Operation(Model):
    """The members of an operation in a request, for any kind of object."""

    action: Action
    id: str | None = None
    if_match: str | None = None
    object: Any = None


class _Operations(Model):
    operations: list[_Operation]


def read(resource: Collection, content: object) -> list[Operation]:
    """Reads the operations of a request. A long request may take a second. Raises Problem 422 with pointers to the
    faults, of which at most _MOST_ERRORS are listed.
    """
    try:
        model = _Operations.model_validate(content)
    except ValidationError as error:
        raise from_pydantic(_as_dicts(error), content, where="body") from None
    if len(model.operations) > resource.most_in_batch:
        detail = f"A batch takes at most {resource.most_in_batch} operations."
        raise invalid([FieldError("/operations", "too_long", detail)])
    operations: list[Operation] = []
    errors: list[FieldError] = []
    for number, each in enumerate(model.operations):
        place = f"/operations/{number}"
        errors += _shape(each, place)
        validated = None
        given = without_read_only(resource, each.object)
        if given is not None:
            try:
                validated = validate(resource, given)
            except Problem as problem:
                errors += [FieldError(f"{place}/object{e.pointer}", e.code, e.detail) for e in problem.errors]
        operations.append(Operation(place, each.action, each.id, each.if_match, validated, given))
        if len(errors) >= _MOST_ERRORS:
            break
    errors += _twice(operations)
    if errors:
        raise invalid(errors[:_MOST_ERRORS])
    return operations


def _as_dicts(error: ValidationError) -> list[dict[str, Any]]:
    return [dict(entry) for entry in error.errors(include_input=False, include_url=False)]


def _shape(operation: _Operation, place: str) -> Iterator[FieldError]:
    """Yields an error for each member that the action needs but the operation lacks, and for each that it must not
    have.
    """
    is_new, is_gone = operation.action == "create", operation.action == "delete"
    for name, is_wanted in (("id", not is_new), ("if_match", not is_new), ("object", not is_gone)):
        is_present = getattr(operation, name) is not None
        if is_wanted and not is_present:
            yield FieldError(f"{place}/{name}", "missing", f"{operation.action} needs this member.")
        elif is_present and not is_wanted:
            yield FieldError(f"{place}/{name}", "unknown_member", f"{operation.action} must not have this member.")


def _twice(operations: Sequence[Operation]) -> Iterator[FieldError]:
    seen: set[str] = set()
    for operation in operations:
        if operation.id is not None and operation.id in seen:
            yield FieldError(f"{operation.place}/id", "twice", "Another operation of the batch has this object.")
        if operation.id is not None:
            seen.add(operation.id)


class BatchEditor:
    """Makes the changes of a batch."""

    def __init__(
        self, store: Store, secret_fields: SecretFields, check_context_for: Callable[[str], StoredCheckContext]
    ) -> None:
        self._store = store
        self._secret_fields = secret_fields
        self._check_context_for = check_context_for

    async def run(
        self,
        resource: Collection,
        operations: Sequence[Operation],
        actor: Actor,
        repeat: IdempotentRequest | None,
        answer: Callable[[Done], StoredResponse],
    ) -> StoredResponse:
        """Makes all changes, and returns the answer. Raises Problem 404, 409, 412 and 422, with pointers to faults."""
        _refuse_passwords(resource, operations)
        taken = [await self._take_in(resource, number, each) for number, each in enumerate(operations)]
        await self._refuse(resource, operations, taken)
        warnings_found = await self._find_warnings(resource, operations, taken)
        async with self._store.revision(actor, f"batch{resource.plural}", repeat) as revision:
            writes = await self._writes(revision, resource, operations, taken)
            await revision.apply([write for write, _ in writes if write.before != write.after])
            revision.target = f"{resource.kind}:batch"
            revision.summary = f"batch of {len(operations)} {resource.label} operations"
            objects = [(write.id, _version(write, before, revision.number)) for write, before in writes]
            revision.answer = made = answer(Done(revision.newest, objects, warnings_found))
        return made

    async def _take_in(self, resource: Collection, number: int, operation: Operation) -> ExtractedSecrets | None:
        if number % _TURN == _TURN - 1:
            await asyncio.sleep(0)
        return None if operation.model is None else await self._secret_fields.extract(resource, operation.model)

    async def _refuse(
        self, resource: Collection, operations: Sequence[Operation], taken: Sequence[ExtractedSecrets | None]
    ) -> None:
        """Checks the objects, and raises Problem 422 for a forbidden value. This is done before the transaction,
        because it may ask name servers.
        """
        if resource.refuse is no_findings:
            return
        errors: list[FieldError] = []
        places = asyncio.Semaphore(_AT_ONCE)

        async def refuse(operation: Operation, body: Body) -> None:
            try:
                async with places:
                    await resource.refuse(body, self._check_context_for(operation.id or ""))
            except Problem as problem:
                errors.extend(_placed(operation, problem))

        await asyncio.gather(
            *(refuse(each, of.body) for each, of in zip(operations, taken, strict=True) if of is not None)
        )
        if errors:
            raise invalid(errors[:_MOST_ERRORS])

    async def _find_warnings(
        self, resource: Collection, operations: Sequence[Operation], taken: Sequence[ExtractedSecrets | None]
    ) -> Sequence[Finding]:
        """Returns the warnings that single writes would give, each with the place of its operation.

        Some warnings are missing when the search takes too long or finds more than _MOST_WARNINGS.
        """
        if resource.check is no_findings and resource.references is no_findings:
            return ()
        ids = [each.id for each in operations if each.id is not None]
        async with self._store.database.reading() as connection:
            stored = {document.id: document.body for document in await find_all(connection, resource.kind, ids)}
        after = {each.place: of.body for each, of in zip(operations, taken, strict=True) if of is not None}
        check_context = _BatchCheckContext(self._check_context_for(""), resource, stored, after)
        warnings_found: list[Finding] = []
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        for number, operation in enumerate(operations):
            seconds = _PATIENT_SECONDS if number < _PATIENT_OPERATIONS else _WARNINGS_SECONDS
            remaining = began_at + seconds - loop.time()
            if remaining <= 0 or len(warnings_found) >= _MOST_WARNINGS:
                break
            check_context.about = operation
            looking = asyncio.ensure_future(_found(resource, check_context))
            # When the caller is cancelled, this task still ends by itself, because the cancellation of a query may cost
            # the database a connection (F54). Only a task that exceeds its time is cancelled, so that it does not run
            # on without limit.
            await asyncio.wait((looking,), timeout=remaining)
            if not looking.done():
                looking.cancel()
                break
            place = operation.place if operation.action == "delete" else f"{operation.place}/object"
            warnings_found += [Finding(place + each.pointer, each.code, each.detail) for each in looking.result()]
        return warnings_found[:_MOST_WARNINGS]

    async def _writes(
        self,
        revision: Revision,
        resource: Collection,
        operations: Sequence[Operation],
        taken: Sequence[ExtractedSecrets | None],
    ) -> list[tuple[Write, int]]:
        """Returns each write with the version that its object had before. The version is 0 for a new object."""
        ids = [each.id for each in operations if each.id is not None]
        present = {document.id: document for document in await find_all(revision.connection, resource.kind, ids)}
        _refuse_absent_and_stale(operations, present, resource.label)
        writes: list[tuple[Write, int]] = []
        errors: list[FieldError] = []
        for number, (operation, of) in enumerate(zip(operations, taken, strict=True)):
            if number % _TURN == _TURN - 1:
                await asyncio.sleep(0)
            document = None if operation.id is None else present[operation.id]
            try:
                write = await self._write(resource, operation, of, document)
                writes.append((write, 0 if document is None else document.version))
            except Problem as problem:
                errors += _placed(operation, problem)
        if errors:
            raise invalid(errors[:_MOST_ERRORS])
        return writes

    async def _write(
        self, resource: Collection, operation: Operation, taken: ExtractedSecrets | None, document: Document | None
    ) -> Write:
        place = f"{operation.place}/object"
        if taken is None:
            assert document is not None  # noqa: S101 - `_shape` demands an id for a deletion
            return Write(resource, document.id, document.stored, None, place=place)
        if document is None:
            stored = merge_stored(resource, taken.was_set, taken.secrets, operation.given, None)
            if resource.create is not None:
                stored |= self._secret_fields.seal_hidden(resource, (await resource.create(taken.model)).hidden)
            return Write(resource, self._store.identifiers.new(), None, stored, place=place)
        was_set = without_repeated_defaults(taken.was_set, document.stored, document.body)
        stored = merge_stored(resource, was_set, taken.secrets, operation.given, document.body)
        for name in resource.fixed:
            if taken.body[name] != document.body[name]:
                raise invalid([FieldError(f"/{name}", "fixed", "This cannot be changed: make another object instead.")])
        stored |= {name: document.stored[name] for name in resource.hidden if name in document.stored}
        return Write(resource, document.id, document.stored, stored, place=place)


def _version(write: Write, before: int, number: int) -> int | None:
    """Returns the version of the object after the revision `number`, or None for a deleted object."""
    if write.after is None:
        return None
    return before if write.before == write.after else number


async def _found(resource: Collection, check_context: _BatchCheckContext) -> list[Finding]:
    """Returns the findings about the operation in `check_context.about`."""
    before, after = check_context.before, check_context.after
    findings = [] if after is None else list(await resource.check(after, check_context))
    lost = None if before is None else taken_away(resource, before, after)
    if lost is not None:
        findings += await resource.references(lost, check_context)
    return findings


class _BatchCheckContext(StoredCheckContext):
    """The context in which the objects of a batch are checked one after the other. The other objects are as they will
    be after the batch.

    Each question about other objects is asked only once for the whole batch.
    """

    def __init__(
        self,
        stored_context: StoredCheckContext,
        resource: Collection,
        stored: Mapping[str, Body],
        after: Mapping[str, Body],
    ) -> None:
        """`stored` has the objects that the batch replaces or deletes, by id. `after` has the objects that it writes,
        by place.
        """
        super().__init__(*stored_context.place)
        self._resource = resource
        self._stored = stored
        self._after = after
        self._answers: dict[tuple[str, ...], Any] = {}
        self._indexes: dict[str, dict[str, list[tuple[str, Body]]]] = {}
        # The operation whose object is checked.
        self.about: Operation | None = None

    @property
    def before(self) -> Body | None:
        """Returns the object that is checked, as it is stored, or None for a new object."""
        return None if self.about is None else self._stored.get(self.about.id or "")

    @property
    def after(self) -> Body | None:
        """Returns the object that is checked, as the batch writes it, or None when the batch deletes it."""
        return None if self.about is None else self._after.get(self.about.place)

    async def present(self, kind: str) -> Body | None:  # noqa: ARG002
        return self.before

    async def settings(self, kind: str) -> Body:
        answer: Body = await self._once(("settings", kind), super().settings(kind))
        return answer

    async def others(self, kind: str) -> Sequence[Body]:
        if kind != self._resource.kind:
            answer: Sequence[Body] = await self._once(("others", kind), super().others(kind))
            return answer
        untouched = await self._once(("others", kind), self._untouched())
        return [*untouched, *(body for place, body in self._after.items() if not self._is_about(place))]

    async def _untouched(self) -> Sequence[Body]:
        """Returns the objects of the collection that the batch does not change."""
        return [found.body for found in await self._store.all(self._resource.kind) if found.id not in self._stored]

    async def matching(self, kind: str, member: str, value: str) -> Sequence[Body]:
        question = ("matching", kind, member, value)
        if kind != self._resource.kind:
            answer: Sequence[Body] = await self._once(question, super().matching(kind, member, value))
            return answer
        untouched = await self._once(question, self._untouched_matching(member, value))
        written = self._index(member).get(value, ())
        return [*untouched, *(body for place, body in written if not self._is_about(place))]

    async def _untouched_matching(self, member: str, value: str) -> Sequence[Body]:
        page = await self._store.page(self._resource.kind, {member: value}, None, MOST_MATCHES)
        return [document.body for document in page if document.id not in self._stored]

    def _index(self, member: str) -> Mapping[str, Sequence[tuple[str, Body]]]:
        """Returns the objects that the batch writes, by the values by which the filter finds them."""
        if member not in self._indexes:
            index = self._indexes[member] = defaultdict(list)
            terms = self._resource.filters[member].terms
            for place, body in self._after.items():
                for term in terms(body):
                    index[term].append((place, body))
        return self._indexes[member]

    def _is_about(self, place: str) -> bool:
        return self.about is not None and self.about.place == place

    async def taken(self, scope: str, values: Sequence[str]) -> frozenset[str]:
        answer: frozenset[str] = await self._once(("taken", scope, *values), super().taken(scope, values))
        return answer

    async def _once(self, question: tuple[str, ...], asking: Coroutine[Any, Any, Any]) -> Any:
        if question in self._answers:
            asking.close()
        else:
            self._answers[question] = await asking
        return self._answers[question]


def _refuse_passwords(resource: Collection, operations: Sequence[Operation]) -> None:
    names = [secret.path[0] for secret in resource.secrets if secret.kept_as == "argon2id"]
    plain = [
        operation for operation in operations if any(getattr(operation.model, name, None) is not None for name in names)
    ]
    if len(plain) > MOST_PASSWORDS:
        place = f"{plain[MOST_PASSWORDS].place}/object/{names[0]}"
        detail = f"A batch takes at most {MOST_PASSWORDS} plain passwords; password_hash is not limited."
        raise invalid([FieldError(place, "too_many_passwords", detail)])


def _refuse_absent_and_stale(operations: Sequence[Operation], present: dict[str, Document], label: str) -> None:
    absent = [operation for operation in operations if operation.id is not None and operation.id not in present]
    if absent:
        errors = [FieldError(f"{each.place}/id", "not_found", f"There is no such {label}.") for each in absent]
        raise Problem(404, "not-found", f"There is no such {label}.", errors=errors[:_MOST_ERRORS])
    old = [
        operation
        for operation in operations
        if operation.id is not None and not _is_current(operation, present[operation.id])
    ]
    if old:
        problem = stale()
        detail = "The object has changed since you read it."
        problem.errors = tuple(FieldError(f"{each.place}/if_match", "stale", detail) for each in old[:_MOST_ERRORS])
        raise problem


def _is_current(operation: Operation, document: Document) -> bool:
    try:
        return document.version in required_versions(operation.if_match, None, document.version)
    except Problem:
        return False


def _placed(operation: Operation, problem: Problem) -> list[FieldError]:
    return [FieldError(f"{operation.place}/object{each.pointer}", each.code, each.detail) for each in problem.errors]
