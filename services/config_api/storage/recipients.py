"""Stores the listed recipients, of which there may be a million. They have a separate table, and are not stored as
documents with terms and differences.

For each revision that changes the list, the count and digest before and after the change are stored, and the numbers of
the changed buckets of the snapshot.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.smtp.address_set import bucket, bucket_of
from services.config_api.problems import FieldError, conflict, stale
from services.config_api.resources.description import Body
from services.config_api.resources.fields import address_key
from services.config_api.storage.diff import dump, load
from services.config_api.storage.tables import changes, documents, recipient_changes, recipients

KIND = "recipients"
# The document with the present count and digest.
_SUMMARY_KIND = "internal/recipients"
_NOTHING: Body = {"count": 0, "digest": "0" * 64}
_IN_LIMIT = 500
_MANY_ERRORS = 20
_STREAM_ROWS = 5000
# If more buckets than this have changed, all buckets are read in one query.
_MANY_BUCKETS = 4000
# Selects the recipient with the id b_id.
FIND = select(recipients).where(recipients.c.id == bindparam("b_id"))


@dataclass(frozen=True, slots=True)
class RecipientWrite:
    """A change of one recipient, which is made, replaced or removed. `address` is None when it is removed."""

    id: str
    address: str | None
    is_new: bool
    # The versions that the stored recipient may have. None means any version.
    expected: frozenset[int] | None
    # The place of the change in the request. Empty means the whole body.
    place: str


async def find(connection: AsyncConnection, recipient_id: str) -> Row[Any] | None:
    return (await connection.execute(FIND, {"b_id": recipient_id})).one_or_none()


async def page(
    connection: AsyncConnection,
    filters: Mapping[str, str],
    after: str | None,
    limit: int,
    updated_after: int | None = None,
) -> Sequence[Row[Any]]:
    """Returns up to `limit` recipients after the given id, in the order of their ids. `filters` may have domain and
    address. With `updated_after`, returns only recipients that were written after this time (microseconds since 1970).
    """
    query = _matching(select(recipients), filters, updated_after)
    if after is not None:
        query = query.where(recipients.c.id > after)
    rows: Sequence[Row[Any]] = (await connection.execute(query.order_by(recipients.c.id).limit(limit))).all()
    return rows


async def count(connection: AsyncConnection, filters: Mapping[str, str], updated_after: int | None) -> int:
    """Returns the number of recipients that match, in all pages together."""
    query = _matching(select(func.count()).select_from(recipients), filters, updated_after)
    return int((await connection.execute(query)).scalar_one())


async def find_all(connection: AsyncConnection, ids: Sequence[str]) -> Sequence[Row[Any]]:
    """Returns the recipients with these ids. Unknown ids are left out."""
    found: list[Row[Any]] = []
    for start in range(0, len(ids), _IN_LIMIT):
        query = select(recipients).where(recipients.c.id.in_(ids[start : start + _IN_LIMIT]))
        found += await connection.execute(query)
    return found


def _matching(query: Select[Any], filters: Mapping[str, str], updated_after: int | None) -> Select[Any]:
    for name, value in filters.items():
        query = query.where((recipients.c.domain if name == "domain" else recipients.c.key) == value)
    return query if updated_after is None else query.where(recipients.c.updated_at > updated_after)


async def apply(connection: AsyncConnection, revision: int, at: int, writes: Sequence[RecipientWrite]) -> None:
    """Writes the changed recipients of a revision, and the row of the revision in `changes`. Raises Problem 412 when
    `expected` does not match, and 409 when an address is already listed.
    """
    removed = await _removed(connection, [write for write in writes if not write.is_new])
    if removed:
        where = recipients.c.id == bindparam("b_id")
        await connection.execute(delete(recipients).where(where), [{"b_id": recipient_id} for recipient_id in removed])
    rows = await _rows(connection, writes, removed, revision, at)
    if rows:
        await connection.execute(insert(recipients), list(rows.values()))
    before = await summary(connection)
    gone, made = [row.key for row in removed.values()], list(rows)
    digest = int(before["digest"], 16) + sum(map(_number, made)) - sum(map(_number, gone))
    after = {"count": before["count"] + len(made) - len(gone), "digest": f"{digest % (1 << 256):064x}"}
    await _keep_summary(connection, after, revision, at)
    await connection.execute(
        insert(changes).values(revision=revision, kind=KIND, document_id=KIND, before=dump(before), after=dump(after))
    )
    numbers = array("H", sorted({bucket_of(key.encode()) for key in (*gone, *made)}))
    await connection.execute(insert(recipient_changes).values(revision=revision, buckets=numbers.tobytes()))


async def summary(connection: AsyncConnection) -> Body:
    """Returns the count and the digest of the list. The digest is a sum of hashes, so that the work of its update
    depends only on the size of the change.
    """
    query = select(documents.c.body).where(documents.c.kind == _SUMMARY_KIND)
    return load((await connection.execute(query)).scalar_one_or_none()) or _NOTHING


async def changed_buckets(connection: AsyncConnection, after: int, newest: int) -> frozenset[int]:
    """Returns the numbers of the buckets that the revisions after `after`, up to `newest`, have changed."""
    query = select(recipient_changes.c.buckets).where(
        recipient_changes.c.revision > after, recipient_changes.c.revision <= newest
    )
    numbers: set[int] = set()
    for octets in (await connection.execute(query)).scalars():
        numbers.update(array("H", octets))
    return frozenset(numbers)


async def buckets(
    connection: AsyncConnection, numbers: Collection[int] | None = None
) -> AsyncIterator[tuple[int, bytes]]:
    """Yields the number and the octets (`address_set.bucket`) of these buckets, or of all buckets if `numbers` is None.
    Empty buckets are left out.
    """
    if numbers is None or len(numbers) > _MANY_BUCKETS:
        async for found in _buckets_of(connection, None):
            yield found
        return
    ordered = sorted(numbers)
    for start in range(0, len(ordered), _IN_LIMIT):
        async for found in _buckets_of(connection, ordered[start : start + _IN_LIMIT]):
            yield found


async def _buckets_of(connection: AsyncConnection, numbers: Sequence[int] | None) -> AsyncIterator[tuple[int, bytes]]:
    query = select(recipients.c.bucket, recipients.c.key).order_by(recipients.c.bucket, recipients.c.key)
    if numbers is not None:
        query = query.where(recipients.c.bucket.in_(numbers))
    current, keys = -1, list[bytes]()
    async with connection.stream(query, execution_options={"yield_per": _STREAM_ROWS}) as rows:
        async for batch in rows.partitions(_STREAM_ROWS):
            for number, key in batch:
                if number != current:
                    if keys:
                        yield current, bucket(keys)
                    current, keys = number, []
                keys.append(key.encode())
    if keys:
        yield current, bucket(keys)


async def _removed(connection: AsyncConnection, writes: Sequence[RecipientWrite]) -> dict[str, Row[Any]]:
    """Returns the stored rows that the writes replace or remove, by id. Raises Problem 412."""
    found: dict[str, Row[Any]] = {}
    for start in range(0, len(writes), _IN_LIMIT):
        ids = [write.id for write in writes[start : start + _IN_LIMIT]]
        query = select(recipients).where(recipients.c.id.in_(ids))
        found.update((row.id, row) for row in await connection.execute(query))
    for write in writes:
        row = found.get(write.id)
        if row is None or (write.expected is not None and row.version not in write.expected):
            raise stale()
    return found


async def _rows(
    connection: AsyncConnection,
    writes: Sequence[RecipientWrite],
    removed: Mapping[str, Row[Any]],
    revision: int,
    at: int,
) -> dict[str, dict[str, Any]]:
    """Returns the rows to insert, by key. Raises Problem 409 for an address that is already listed, or occurs twice in
    the request.
    """
    rows: dict[str, dict[str, Any]] = {}
    pointers: dict[str, str] = {}
    errors: list[FieldError] = []
    for write in writes:
        if write.address is None:
            continue
        key, pointer = address_key(write.address), f"{write.place}/address"
        if key in rows:
            errors.append(_listed_already(pointer))
        rows[key] = {
            "id": write.id,
            "key": key,
            "domain": key.rpartition("@")[2],
            "bucket": bucket_of(key.encode()),
            "address": write.address,
            "version": revision,
            "created_at": at if write.is_new else removed[write.id].created_at,
            "updated_at": at,
        }
        pointers[key] = pointer
    keys = list(rows)
    for start in range(0, len(keys), _IN_LIMIT):
        query = select(recipients.c.key).where(recipients.c.key.in_(keys[start : start + _IN_LIMIT]))
        errors += [_listed_already(pointers[key]) for key in (await connection.execute(query)).scalars()]
    if errors:
        raise conflict(errors[:_MANY_ERRORS])
    return rows


def _listed_already(pointer: str) -> FieldError:
    return FieldError(pointer, "taken", "This address is already listed.")


async def _keep_summary(connection: AsyncConnection, body: Body, revision: int, at: int) -> None:
    values = {"body": dump(body), "version": revision, "updated_at": at}
    where = documents.c.kind == _SUMMARY_KIND
    if (await connection.execute(update(documents).where(where).values(values))).rowcount == 0:
        await connection.execute(insert(documents).values(kind=_SUMMARY_KIND, id=KIND, created_at=at, **values))


def _number(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest(), "big")
