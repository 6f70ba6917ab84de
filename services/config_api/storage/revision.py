"""Writes one change of the configuration in one transaction: the objects, unique keys, filter terms, the revision and
its audit entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy import BindParameter, Table, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.config_api.problems import FieldError, conflict, stale
from services.config_api.resources.defaults import complete
from services.config_api.resources.description import Body, Collection, Resource
from services.config_api.storage import recipients
from services.config_api.storage.database import insert_rows
from services.config_api.storage.diff import dump
from services.config_api.storage.idempotency import StoredResponse
from services.config_api.storage.identifiers import Identifiers, now_us
from services.config_api.storage.tables import (
    audit_log,
    changes,
    documents,
    head,
    revisions,
    terms,
    unique_keys,
)

# Statements are made once, because making a statement costs about as much as its execution.
_NEXT_NUMBER = update(head).values(revision=head.c.revision + 1).returning(head.c.revision)
_NUMBER_UNUSED = update(head).values(revision=head.c.revision - 1)
_OBJECT = (documents.c.kind == bindparam("b_kind"), documents.c.id == bindparam("b_id"))
_OBJECT_AS_EXPECTED = (*_OBJECT, documents.c.version.in_(bindparam("b_expected", expanding=True)))
_NEW_BODY: dict[str, Any] = {
    "body": bindparam("b_body"),
    "version": bindparam("b_version"),
    "updated_at": bindparam("b_updated"),
}
_REPLACE = update(documents).where(*_OBJECT).values(_NEW_BODY)
_REPLACE_AS_EXPECTED = update(documents).where(*_OBJECT_AS_EXPECTED).values(_NEW_BODY)
_REMOVE = delete(documents).where(*_OBJECT)
_REMOVE_AS_EXPECTED = delete(documents).where(*_OBJECT_AS_EXPECTED)
_REMOVE_KEYS = delete(unique_keys).where(
    unique_keys.c.kind == bindparam("b_kind"), unique_keys.c.document_id == bindparam("b_id")
)
_REMOVE_TERM = delete(terms).where(
    terms.c.kind == bindparam("b_kind"),
    terms.c.field == bindparam("b_field"),
    terms.c.value == bindparam("b_value"),
    terms.c.document_id == bindparam("b_id"),
)
# Selects the values among b_values that are unique keys in the scope b_scope.
TAKEN = select(unique_keys.c.value).where(
    unique_keys.c.scope == bindparam("b_scope"), unique_keys.c.value.in_(bindparam("b_values", expanding=True))
)
_ADD_REVISION, _ADD_AUDIT_ENTRY = insert(revisions), insert(audit_log)


def _named(table: Table) -> dict[str, BindParameter[Any]]:
    return {column.name: bindparam(f"{table.name}.{column.name}") for column in table.c}


# On PostgreSQL, all rows about a change of one object are added in one statement, because every round trip to the
# server makes all other writers wait.
_ADD_RECORDS = (
    insert(audit_log)
    .values(_named(audit_log))
    .add_cte(
        insert(revisions).values(_named(revisions)).cte("new_revision"),
        insert(changes).values(_named(changes)).cte("new_change"),
    )
)

_IN_LIMIT = 500
_SUMMARY_LIMIT = 500
_MANY_ERRORS = 20


@dataclass(frozen=True, slots=True)
class Actor:
    """The caller of a request, and its address."""

    name: str
    # The role: admin, operator, reader or sender. It is empty when the caller is unknown.
    role: str
    client_address: str = ""
    request_id: str = ""
    # The id of the API key, which identifies it even if another key later gets its name. Empty means that there is no
    # key.
    key_id: str = ""
    # The login of the account to which the key belongs. Empty means that there is none.
    account: str = ""
    # The revisions of the writes of the request. A write that changed nothing adds the newest revision.
    revisions: list[int] = field(default_factory=list, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Write:
    """A change of one object, which is made (`before` is None), replaced, or removed (`after` is None). Bodies are in
    their stored form.
    """

    resource: Resource
    id: str
    before: Body | None
    after: Body | None
    # The versions that the stored object may have (If-Match). None means any version.
    expected: frozenset[int] | None = None
    # The place of the object in the request. Empty means the whole body.
    place: str = ""


@dataclass(frozen=True, slots=True)
class _IndexEntries:
    """The values by which an object is found, and those that no other object may have."""

    # The JSON pointer of each unique key, by (scope, value).
    keys: Mapping[tuple[str, str], str]
    # Pairs of (name of a filter, value).
    terms: frozenset[tuple[str, str]]


_NO_ENTRIES = _IndexEntries({}, frozenset())


def _index_entries(resource: Collection, stored: Body | None) -> _IndexEntries:
    if stored is None:
        return _NO_ENTRIES
    body = complete(resource, stored)
    return _IndexEntries(
        {(key.scope, key.value): key.pointer for key in resource.unique(body)},
        frozenset((name, value) for name, of_field in resource.filters.items() for value in of_field.terms(body)),
    )


class Revision:
    """The open transaction of one change. `Store.revision` makes these objects."""

    def __init__(self, connection: AsyncConnection, number: int, actor: Actor, action: str, ids: Identifiers) -> None:
        self.connection = connection
        self.number = number
        self.at = now_us()
        self.actor = actor
        self.action = action
        self.summary = ""
        self.target = ""
        self.status = 200
        # The answer to store, if the request has an Idempotency-Key.
        self.answer: StoredResponse | None = None
        self._ids = ids
        self._changed = False
        # The row of `changes` that `finish` adds.
        self._change: tuple[Any, ...] | None = None

    @property
    def newest(self) -> int:
        """Returns the number of the newest revision after the commit. It is the number of this revision, unless nothing
        has changed.
        """
        return self.number if self._changed else self.number - 1

    @classmethod
    async def begin(cls, connection: AsyncConnection, actor: Actor, action: str, ids: Identifiers) -> Revision:
        """Begins a revision with the next number. The update of the number also locks out all other writers of
        revisions.
        """
        taken = await connection.execute(_NEXT_NUMBER)
        return cls(connection, int(taken.scalar_one()), actor, action, ids)

    async def apply(self, writes: Sequence[Write]) -> None:
        """Writes the objects. Raises Problem 412 when `expected` does not match, and 409 when another object has one of
        their unique keys.
        """
        if not writes:
            return
        self._changed = True
        listed = [write for write in writes if write.resource.kind == recipients.KIND]
        if listed:
            await recipients.apply(self.connection, self.number, self.at, [_recipient_write(write) for write in listed])
            writes = [write for write in writes if write.resource.kind != recipients.KIND]
        if writes:
            await self._apply_documents(writes)

    async def _apply_documents(self, writes: Sequence[Write]) -> None:
        for write in writes:
            if write.expected is not None:
                await self._conditionally(write)
        await self._in_bulk([write for write in writes if write.expected is None])
        await self._index(writes)
        rows = [
            (
                self.number,
                write.resource.kind,
                write.id,
                None if write.before is None else dump(write.before),
                None if write.after is None else dump(write.after),
            )
            for write in writes
        ]
        if self._change is None and len(rows) == 1 and self.connection.dialect.name == "postgresql":
            self._change = rows[0]
        else:
            await insert_rows(self.connection, changes, rows)

    async def finish(self) -> None:
        """Writes the row of the revision and its audit entry. The caller commits. When nothing has changed, the number
        of the revision is not used.
        """
        number = self.number if self._changed else None
        entry = audit_row(self._ids.new(), self.actor, self.action, self.target, self.status, "", number)
        if number is None:
            await self.connection.execute(_NUMBER_UNUSED)
            # Without a request there is no audit entry, for example when the service starts and changes nothing.
            if self.actor.request_id:
                await self.connection.execute(_ADD_AUDIT_ENTRY, entry)
            return
        of_revision = {
            "number": number,
            "created_at": self.at,
            "actor": self.actor.name,
            "actor_id": self.actor.key_id or None,
            "action": self.action,
            "summary": self.summary[:_SUMMARY_LIMIT],
        }
        if self._change is None:
            await self.connection.execute(_ADD_REVISION, of_revision)
            await self.connection.execute(_ADD_AUDIT_ENTRY, entry)
        else:
            change = dict(zip(changes.c.keys(), self._change, strict=True))
            rows = ((audit_log, entry), (revisions, of_revision), (changes, change))
            values = {f"{table.name}.{name}": value for table, row in rows for name, value in row.items()}
            await self.connection.execute(_ADD_RECORDS, values)

    async def _conditionally(self, write: Write) -> None:
        """Checks the version and writes in one statement. So of several writers that have read the same version, only
        one succeeds (C150).
        """
        expected = {"b_expected": sorted(write.expected or ())}
        if write.after is None:
            result = await self.connection.execute(_REMOVE_AS_EXPECTED, {**_key(write), **expected})
        else:
            result = await self.connection.execute(_REPLACE_AS_EXPECTED, {**self._replaced(write), **expected})
        if result.rowcount != 1:
            raise stale()

    async def _in_bulk(self, writes: Sequence[Write]) -> None:
        removed = [_key(write) for write in writes if write.after is None]
        made = [
            (write.resource.kind, write.id, dump(write.after), self.number, self.at, self.at)
            for write in writes
            if write.before is None and write.after is not None
        ]
        replaced = [self._replaced(write) for write in writes if write.before is not None and write.after is not None]
        for statement, rows in ((_REMOVE, removed), (_REPLACE, replaced)):
            if rows:
                await self.connection.execute(statement, rows)
        await insert_rows(self.connection, documents, made)

    def _replaced(self, write: Write) -> dict[str, Any]:
        return {**_key(write), "b_body": dump(write.after or {}), "b_version": self.number, "b_updated": self.at}

    async def _index(self, writes: Sequence[Write]) -> None:
        """Replaces the unique keys and the filter terms of the written objects, where these differ from the former
        ones.
        """
        keys: dict[tuple[str, str], tuple[Write, str]] = {}
        new_keys: dict[tuple[str, str], tuple[Write, str]] = {}
        new_terms: list[tuple[str, str, str, str]] = []
        old_terms: list[dict[str, str]] = []
        with_old_keys: list[dict[str, str]] = []
        errors: list[FieldError] = []
        for write in writes:
            if not isinstance(write.resource, Collection):
                continue
            before, after = _index_entries(write.resource, write.before), _index_entries(write.resource, write.after)
            for place, pointer in after.keys.items():
                holder = keys.setdefault(place, (write, pointer))
                if holder[0] is not write:
                    errors.append(_taken(write, pointer))
            if before.keys.keys() != after.keys.keys():
                with_old_keys += [_key(write)] if before.keys else []
                new_keys.update((place, (write, pointer)) for place, pointer in after.keys.items())
            gone, new = sorted(before.terms - after.terms), sorted(after.terms - before.terms)
            old_terms += [{**_key(write), "b_field": name, "b_value": value} for name, value in gone]
            new_terms += [(write.resource.kind, name, value, write.id) for name, value in new]
        for statement, rows in ((_REMOVE_KEYS, with_old_keys), (_REMOVE_TERM, old_terms)):
            if rows:
                await self.connection.execute(statement, rows)
        errors += await self._conflicts(new_keys)
        if errors:
            raise conflict(errors[:_MANY_ERRORS])
        keys_with_holders = [(*place, write.resource.kind, write.id) for place, (write, _) in new_keys.items()]
        await insert_rows(self.connection, unique_keys, keys_with_holders)
        await insert_rows(self.connection, terms, new_terms)

    async def _conflicts(self, keys: dict[tuple[str, str], tuple[Write, str]]) -> list[FieldError]:
        errors: list[FieldError] = []
        for scope, of_scope in groupby(sorted(keys), key=lambda key: key[0]):
            values = [value for _, value in of_scope]
            for start in range(0, len(values), _IN_LIMIT):
                asked = {"b_scope": scope, "b_values": values[start : start + _IN_LIMIT]}
                taken = (await self.connection.execute(TAKEN, asked)).scalars()
                errors.extend(_taken(*keys[(scope, value)]) for value in taken)
        return errors


def audit_row(
    entry_id: str, actor: Actor, action: str, target: str, status: int, problem: str, revision: int | None
) -> dict[str, Any]:
    return {
        "id": entry_id,
        "at": now_us(),
        "actor": actor.name,
        "actor_id": actor.key_id or None,
        "role": actor.role,
        "client_address": actor.client_address,
        "action": action,
        "target": target,
        "status": status,
        "problem": problem,
        "revision": revision,
        "request_id": actor.request_id,
    }


def _recipient_write(write: Write) -> recipients.RecipientWrite:
    address = None if write.after is None else write.after["address"]
    return recipients.RecipientWrite(write.id, address, write.before is None, write.expected, write.place)


def _key(write: Write) -> dict[str, str]:
    return {"b_kind": write.resource.kind, "b_id": write.id}


def _taken(write: Write, pointer: str) -> FieldError:
    return FieldError(
        write.place + pointer, "taken", f"Another object has this value already ({write.resource.label})."
    )
