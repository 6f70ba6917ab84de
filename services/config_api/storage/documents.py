"""Reads documents from the database (single ones, pages, or all of a kind) and the number of the newest revision, and
begins new revisions.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.config_api.resources.catalogue import RESOURCES
from services.config_api.resources.defaults import complete
from services.config_api.resources.description import Body
from services.config_api.storage import recipients
from services.config_api.storage.database import Database
from services.config_api.storage.diff import load
from services.config_api.storage.idempotency import IdempotentRequest
from services.config_api.storage.identifiers import Identifiers
from services.config_api.storage.revision import TAKEN, Actor, Revision
from services.config_api.storage.tables import documents, head, key_uses, rule_hits, terms, unique_keys

# Frequent statements are made once, because making a statement costs about as much as its execution.
_NEWEST = select(head.c.revision)
_FIND = select(documents).where(documents.c.kind == bindparam("b_kind"), documents.c.id == bindparam("b_id"))
_ALL = select(documents).where(documents.c.kind == bindparam("b_kind")).order_by(documents.c.id)
_STREAM_ROWS = 1000
# The largest number of rows that a short statement may read.
_SHORT_ROWS = 100
_IN_LIMIT = 500


@dataclass(frozen=True)
class Document:
    """A stored object. Times are in microseconds since 1970."""

    kind: str
    id: str
    # The stored body: the members that were set, secrets and hidden members.
    stored: Body
    # The number of the revision that last wrote the object.
    version: int
    created_at: int
    updated_at: int

    @functools.cached_property
    def body(self) -> Body:
        """Returns the body with every member. Members that are not set have their present defaults."""
        resource = RESOURCES.get(self.kind)
        return self.stored if resource is None else complete(resource, self.stored)


class Store:
    """Reads and writes documents. `on_change` is called after each commit of a revision."""

    def __init__(self, database: Database, on_change: Callable[[], None] = lambda: None) -> None:
        self.database = database
        self.identifiers = Identifiers()
        self._on_change = on_change

    async def get(self, kind: str, document_id: str) -> Document | None:
        if kind == recipients.KIND:
            found = await self.database.rows(recipients.FIND, {"b_id": document_id})
            return _recipient(found[0]) if found else None
        found = await self.database.rows(_FIND, {"b_kind": kind, "b_id": document_id})
        return document(found[0]) if found else None

    async def page(
        self, kind: str, filters: Mapping[str, str], after: str | None, limit: int, updated_after: int | None = None
    ) -> Sequence[Document]:
        """Returns up to `limit` documents after the given id, in the order of their ids, which is the order of creation
        (C152).

        With `updated_after`, returns only documents that were written after this time (microseconds since 1970).
        """
        if kind == recipients.KIND:
            async with self.database.reading(once=True) as connection:
                found = await recipients.page(connection, filters, after, limit, updated_after)
                return list(map(_recipient, found))
        query = _statement(tuple(filters), is_after=after is not None, is_updated=updated_after is not None)
        values = _values(kind, filters, after=after, updated=updated_after, limit=limit)
        if limit <= _SHORT_ROWS and len(filters) <= 1 and updated_after is None:
            # The statement is short, because one index has exactly these rows in this order.
            return list(map(document, await self.database.rows(query, values)))
        async with self.database.reading(once=True) as connection:
            return [document(row) for row in await connection.execute(query, values)]

    async def count(self, kind: str, filters: Mapping[str, str], updated_after: int | None = None) -> int:
        """Returns the number of documents that match the filters."""
        if kind == recipients.KIND:
            async with self.database.reading(once=True) as connection:
                return await recipients.count(connection, filters, updated_after)
        query = _statement(tuple(filters), counts=True, is_updated=updated_after is not None)
        values = _values(kind, filters, updated=updated_after)
        async with self.database.reading(once=True) as connection:
            return int((await connection.execute(query, values)).scalar_one())

    async def all(self, kind: str) -> Sequence[Document]:
        few = await self.page(kind, {}, None, _SHORT_ROWS)
        if len(few) < _SHORT_ROWS:
            return few
        async with self.database.reading(once=True) as connection:
            return [document(row) for row in await connection.execute(_ALL, {"b_kind": kind})]

    async def taken(self, scope: str, values: Sequence[str], *, other_than: Collection[str] = ()) -> frozenset[str]:
        """Returns those of the values that objects have as unique keys in the scope. Objects of the kinds in
        `other_than` are ignored.
        """
        query = TAKEN.where(unique_keys.c.kind.not_in(sorted(other_than))) if other_than else TAKEN
        found: set[str] = set()
        for start in range(0, len(values), _IN_LIMIT):
            asked = {"b_scope": scope, "b_values": values[start : start + _IN_LIMIT]}
            found.update(row.value for row in await self.database.rows(query, asked))
        return frozenset(found)

    async def hits(self, rule_ids: Sequence[str]) -> dict[str, tuple[int, int | None]]:
        """Returns (hits, time of the last hit) of access rules, by id. Rules without hits are left out."""
        found: dict[str, tuple[int, int | None]] = {}
        async with self.database.reading() as connection:
            for start in range(0, len(rule_ids), _IN_LIMIT):
                query = select(rule_hits).where(rule_hits.c.rule_id.in_(rule_ids[start : start + _IN_LIMIT]))
                found.update({row.rule_id: (row.hits, row.last_hit_at) for row in await connection.execute(query)})
        return found

    async def key_uses(self, key_ids: Sequence[str]) -> dict[str, int]:
        """Returns the time of the last use of API keys, by id. Keys that were never used are left out."""
        async with self.database.reading(once=True) as connection:
            query = select(key_uses).where(key_uses.c.key_id.in_(key_ids))
            return {row.key_id: row.last_used_at for row in await connection.execute(query)}

    async def newest(self) -> int:
        """Returns the number of the newest revision."""
        return int((await self.database.rows(_NEWEST, {}))[0].revision)

    @asynccontextmanager
    async def revision(
        self, actor: Actor, action: str, repeat: IdempotentRequest | None = None, *, short: bool = False
    ) -> AsyncIterator[Revision]:
        """Begins a new revision. It is committed with its audit entry at the end, and an exception rolls all of it
        back.

        `short` has the same meaning as for `Database.writing`. With `repeat`, the answer of the revision is stored too,
        and the errors of `IdempotentRequest.recall` may be raised.

        Only one revision is open at a time, so objects that are read through the revision do not change until the
        commit.
        """
        async with self.database.writing(short=short, in_turn=True) as connection:
            revision = await Revision.begin(connection, actor, action, self.identifiers)
            if repeat is not None:
                await repeat.recall(connection)
            yield revision
            if repeat is not None and revision.answer is not None:
                await repeat.remember(connection, revision.answer)
            await revision.finish()
        actor.revisions.append(revision.newest)
        self._on_change()


@functools.cache
def _statement(
    fields: tuple[str, ...], *, counts: bool = False, is_after: bool = False, is_updated: bool = False
) -> Select[Any]:
    """Returns a statement about the documents of the kind b_kind that match the filters on `fields`. With `counts` it
    selects their number, and otherwise a page of up to b_limit documents in the order of their ids. With `is_after`,
    the ids are after b_after. With `is_updated`, the documents were updated after b_updated. b_0, b_1 ... are the
    values of the fields.
    """
    query: Select[Any] = select(func.count()).select_from(documents) if counts else select(documents)
    query = query.where(documents.c.kind == bindparam("b_kind"))
    by: ColumnElement[str] = documents.c.id
    for number, field in enumerate(fields):
        term = terms.alias()
        found = (
            term.c.kind == bindparam("b_kind"),
            term.c.field == field,
            term.c.value == bindparam(f"b_{number}"),
            term.c.document_id == documents.c.id,
        )
        if number == 0:
            # The primary key of `terms` contains the ids in order, so the query reads only the rows from b_after to the
            # limit.
            query = query.join(term, and_(*found))
            by = term.c.document_id
        else:
            query = query.where(exists().where(*found))
    if is_updated:
        query = query.where(documents.c.updated_at > bindparam("b_updated"))
    if is_after:
        query = query.where(by > bindparam("b_after"))
    return query if counts else query.order_by(by).limit(bindparam("b_limit"))


def _values(kind: str, filters: Mapping[str, str], **more: str | int | None) -> dict[str, str | int]:
    """Returns the parameters of a statement that `_statement` made."""
    values = {f"b_{number}": value for number, value in enumerate(filters.values())}
    return {"b_kind": kind, **values, **{f"b_{name}": value for name, value in more.items() if value is not None}}


async def newest_revision(connection: AsyncConnection) -> int:
    """Returns the number of the newest revision."""
    return int((await connection.execute(_NEWEST)).scalar_one())


async def find(connection: AsyncConnection, kind: str, document_id: str) -> Document | None:
    if kind == recipients.KIND:
        recipient = await recipients.find(connection, document_id)
        return None if recipient is None else _recipient(recipient)
    row = (await connection.execute(_FIND, {"b_kind": kind, "b_id": document_id})).one_or_none()
    return None if row is None else document(row)


async def find_all(connection: AsyncConnection, kind: str, document_ids: Sequence[str]) -> list[Document]:
    """Returns the documents with these ids. Unknown ids are left out."""
    if kind == recipients.KIND:
        return list(map(_recipient, await recipients.find_all(connection, document_ids)))
    found: list[Document] = []
    for start in range(0, len(document_ids), _IN_LIMIT):
        ids = document_ids[start : start + _IN_LIMIT]
        query = select(documents).where(documents.c.kind == kind, documents.c.id.in_(ids))
        found += [document(row) for row in await connection.execute(query)]
    return found


async def every(connection: AsyncConnection, kinds: Sequence[str]) -> AsyncIterator[Document]:
    """Yields all documents of these kinds, in the order of kind and id. Listed recipients are not documents."""
    query = select(documents).where(documents.c.kind.in_(kinds)).order_by(documents.c.kind, documents.c.id)
    async with connection.stream(query, execution_options={"yield_per": _STREAM_ROWS}) as rows:
        # Rows are read in batches, because each read switches to the thread of the driver.
        async for batch in rows.partitions(_STREAM_ROWS):
            for row in batch:
                yield document(row)


def _recipient(row: Row[Any]) -> Document:
    return Document(recipients.KIND, row.id, {"address": row.address}, row.version, row.created_at, row.updated_at)


def document(row: Row[Any]) -> Document:
    return Document(row.kind, row.id, load(row.body) or {}, row.version, row.created_at, row.updated_at)
