"""One change of the configuration. It writes objects, unique keys, filter terms, the revision and its audit entry in
one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.config_api.problems import FieldError, conflict, stale
from services.config_api.resources.defaults import complete
from services.config_api.resources.description import Body, Collection, Resource
from services.config_api.storage import recipients
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

_IN_LIMIT = 500
_SUMMARY_LIMIT = 500
_MANY_ERRORS = 20


@dataclass(frozen=True, slots=True)
class Actor:
    """The caller of a request, and its address."""

    name: str
    # One of admin, operator, reader, sender; empty when unknown.
    role: str
    client_address: str = ""
    request_id: str = ""
    # The id of the API key, because another key may later get its name. Empty means that there is no key.
    key_id: str = ""
    # The login of the account to which the key belongs. Empty means none.
    account: str = ""
    # The revisions that the request made, or the newest revision if it changed nothing.
    revisions: list[int] = field(default_factory=list, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Write:
    """A change of one object: made (`before` is None), replaced, or removed (`after` is None). Bodies are in their
    stored form.
    """

    resource: Resource
    id: str
    before: Body | None
    after: Body | None
    # The stored version must be one of these (If-Match). None means any version.
    expected: frozenset[int] | None = None
    # The place of the object in the request. Empty means the whole body.
    place: str = ""


class Revision:
    """The open transaction of one change. Store.revision makes it."""

    def __init__(self, connection: AsyncConnection, number: int, actor: Actor, action: str, ids: Identifiers) -> None:
        self.connection = connection
        self.number = number
        self.at = now_us()
        self.actor = actor
        self.action = action
        self.summary = ""
        self.target = ""
        self.status = 200
        # Set if the request has an Idempotency-Key.
        self.answer: StoredResponse | None = None
        self._ids = ids
        self._changed = False

    @property
    def newest(self) -> int:
        """The number of the newest revision after the commit. It is this one, unless nothing has changed."""
        return self.number if self._changed else self.number - 1

    @classmethod
    async def begin(cls, connection: AsyncConnection, actor: Actor, action: str, ids: Identifiers) -> Revision:
        """Takes the next number, and the lock that all writers share."""
        taken = await connection.execute(update(head).values(revision=head.c.revision + 1).returning(head.c.revision))
        return cls(connection, int(taken.scalar_one()), actor, action, ids)

    async def apply(self, writes: Sequence[Write]) -> None:
        """Writes the objects. Raises Problem 412 when `expected` does not match, and 409 when another object has a
        unique key.
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
        await self.connection.execute(
            insert(changes),
            [
                {
                    "revision": self.number,
                    "kind": write.resource.kind,
                    "document_id": write.id,
                    "before": None if write.before is None else dump(write.before),
                    "after": None if write.after is None else dump(write.after),
                }
                for write in writes
            ],
        )

    async def finish(self) -> None:
        """Writes the row of the revision and its audit entry. The caller commits. When nothing changes, no revision
        number is used.
        """
        if self._changed:
            await self.connection.execute(
                insert(revisions).values(
                    number=self.number,
                    created_at=self.at,
                    actor=self.actor.name,
                    actor_id=self.actor.key_id or None,
                    action=self.action,
                    summary=self.summary[:_SUMMARY_LIMIT],
                )
            )
        else:
            await self.connection.execute(update(head).values(revision=head.c.revision - 1))
        if not self._changed and not self.actor.request_id:
            # The service's own start, which changed nothing, needs no audit entry.
            return
        await self.connection.execute(
            insert(audit_log).values(
                audit_row(
                    self._ids.new(),
                    self.actor,
                    self.action,
                    self.target,
                    self.status,
                    "",
                    self.number if self._changed else None,
                )
            )
        )

    async def _conditionally(self, write: Write) -> None:
        """Checks and writes in one statement. So of several writers with the same version, only one succeeds (C150)."""
        expected = write.expected or frozenset()
        found = (
            documents.c.kind == write.resource.kind,
            documents.c.id == write.id,
            documents.c.version.in_(sorted(expected)),
        )
        if write.after is None:
            result = await self.connection.execute(delete(documents).where(*found))
        else:
            values = {"body": dump(write.after), "version": self.number, "updated_at": self.at}
            result = await self.connection.execute(update(documents).where(*found).values(values))
        if result.rowcount != 1:
            raise stale()

    async def _in_bulk(self, writes: Sequence[Write]) -> None:
        removed = [_key(write) for write in writes if write.after is None]
        made = [self._row(write) for write in writes if write.before is None and write.after is not None]
        replaced = [
            {**_key(write), "b_body": dump(write.after), "b_version": self.number, "b_updated": self.at}
            for write in writes
            if write.before is not None and write.after is not None
        ]
        found = (documents.c.kind == bindparam("b_kind"), documents.c.id == bindparam("b_id"))
        if removed:
            await self.connection.execute(delete(documents).where(*found), removed)
        if replaced:
            statement = (
                update(documents)
                .where(*found)
                .values(body=bindparam("b_body"), version=bindparam("b_version"), updated_at=bindparam("b_updated"))
            )
            await self.connection.execute(statement, replaced)
        if made:
            await self.connection.execute(insert(documents), made)

    def _row(self, write: Write) -> dict[str, Any]:
        return {
            "kind": write.resource.kind,
            "id": write.id,
            "body": dump(write.after or {}),
            "version": self.number,
            "created_at": self.at,
            "updated_at": self.at,
        }

    async def _index(self, writes: Sequence[Write]) -> None:
        """Replaces unique keys and filter terms by those of the new bodies."""
        old = [_key(write) for write in writes if write.before is not None and isinstance(write.resource, Collection)]
        if old:
            for table in (unique_keys, terms):
                where = (table.c.kind == bindparam("b_kind"), table.c.document_id == bindparam("b_id"))
                await self.connection.execute(delete(table).where(*where), old)
        keys: dict[tuple[str, str], tuple[Write, str]] = {}
        term_rows: dict[tuple[str, str, str, str], None] = {}
        errors: list[FieldError] = []
        for write in writes:
            if write.after is None or not isinstance(write.resource, Collection):
                continue
            body = complete(write.resource, write.after)
            for key in write.resource.unique(body):
                holder = keys.setdefault((key.scope, key.value), (write, key.pointer))
                if holder[0] is not write:
                    errors.append(_taken(write, key.pointer))
            for name, of_field in write.resource.filters.items():
                for value in of_field.terms(body):
                    term_rows[(write.resource.kind, name, value, write.id)] = None
        errors += await self._conflicts(keys)
        if errors:
            raise conflict(errors[:_MANY_ERRORS])
        if keys:
            await self.connection.execute(
                insert(unique_keys),
                [
                    {"scope": scope, "value": value, "kind": write.resource.kind, "document_id": write.id}
                    for (scope, value), (write, _) in keys.items()
                ],
            )
        if term_rows:
            await self.connection.execute(
                insert(terms),
                [dict(zip(("kind", "field", "value", "document_id"), row, strict=True)) for row in term_rows],
            )

    async def _conflicts(self, keys: dict[tuple[str, str], tuple[Write, str]]) -> list[FieldError]:
        errors: list[FieldError] = []
        for scope, of_scope in groupby(sorted(keys), key=lambda key: key[0]):
            values = [value for _, value in of_scope]
            for start in range(0, len(values), _IN_LIMIT):
                query = select(unique_keys.c.value).where(
                    unique_keys.c.scope == scope, unique_keys.c.value.in_(values[start : start + _IN_LIMIT])
                )
                taken = (await self.connection.execute(query)).scalars()
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
