"""Lists the revisions of the configuration, compares two revisions, and rolls back to a revision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.config_api.changes.entity_tags import require_newest
from services.config_api.problems import FieldError, invalid, not_found
from services.config_api.resources.catalogue import RESOURCES
from services.config_api.resources.defaults import complete
from services.config_api.resources.description import Body, Collection, Resource, member
from services.config_api.storage.database import Database
from services.config_api.storage.diff import difference, load
from services.config_api.storage.documents import Store, newest_revision
from services.config_api.storage.idempotency import IdempotentRequest, StoredResponse
from services.config_api.storage.revision import Actor, Write
from services.config_api.storage.tables import changes, revisions

_MOST_ERRORS = 50
_BATCH = 100


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one object between two revisions. `before` and `after` are bodies in their stored form."""

    resource: Resource
    id: str
    before: Body | None
    after: Body | None

    def as_json(self) -> dict[str, Any]:
        event = "made" if self.before is None else "removed" if self.after is None else "changed"
        return {
            "kind": self.resource.kind,
            "id": self.id,
            "event": event,
            "differences": difference(self.resource, self.before, self.after),
        }


class Revisions:
    """Reads revisions, and makes the revision of a rollback."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(self, before: int | None, limit: int) -> Sequence[Row[Any]]:
        """Returns revisions before the given number, the newest first."""
        query = select(revisions).order_by(revisions.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(revisions.c.number < before)
        async with self._store.database.reading() as connection:
            return (await connection.execute(query)).all()

    async def get(self, number: int) -> tuple[Row[Any], list[Change]]:
        """Returns the row of a revision and its changes. Raises Problem 404."""
        async with self._store.database.reading() as connection:
            row = (await connection.execute(select(revisions).where(revisions.c.number == number))).one_or_none()
            if row is None:
                raise not_found("revision")
            return row, await _between(connection, number - 1, number)

    async def difference(self, first: int, second: int) -> list[Change]:
        """Returns the changes between the states after two revisions. Raises Problem 404."""
        async with self._store.database.reading() as connection:
            for number in (first, second):
                await _known(connection, number)
            changes_between = await _between(connection, min(first, second), max(first, second))
        if first <= second:
            return changes_between
        return [Change(change.resource, change.id, change.after, change.before) for change in changes_between]

    async def rollback_changes(self, number: int) -> tuple[int, list[Change]]:
        """Returns (the newest revision, the changes that a rollback would make). Raises Problem 404 and 422."""
        async with self._store.database.reading() as connection:
            await _known(connection, number)
            newest = await newest_revision(connection)
            return newest, await _rollback_changes(connection, number, newest)

    async def roll_back(
        self,
        number: int,
        if_match: str | None,
        actor: Actor,
        repeat: IdempotentRequest | None,
        answer: Callable[[int, list[Change]], StoredResponse],
    ) -> StoredResponse:
        """Restores the portable configuration as it was after that revision. Returns the answer to the request."""
        async with self._store.revision(actor, "rollBackRevision", repeat) as revision:
            await _known(revision.connection, number)
            require_newest(if_match, revision.number - 1)
            rollback_changes = await _rollback_changes(revision.connection, number, revision.number)
            await revision.apply(
                [Write(change.resource, change.id, change.before, change.after) for change in rollback_changes]
            )
            revision.target = f"revisions/{number}"
            revision.summary = f"back to revision {number}"
            revision.answer = made = answer(
                revision.number if rollback_changes else revision.number - 1, rollback_changes
            )
        return made


class RevisionRetention:
    """Removes old revisions, the oldest first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def forget(self, before: int) -> int:
        """Removes revisions that are older than this time (microseconds since 1970), except the newest one. Returns the
        number of removed revisions.

        Each transaction removes one batch, so that other writers do not wait long.
        """
        count = 0
        while True:
            async with self._database.writing() as connection:
                newest = await newest_revision(connection)
                old = (
                    select(revisions.c.number)
                    .where(revisions.c.created_at < before, revisions.c.number < newest)
                    .order_by(revisions.c.number)
                    .limit(_BATCH)
                )
                numbers = list((await connection.execute(old)).scalars())
                if numbers:
                    await connection.execute(delete(changes).where(changes.c.revision <= numbers[-1]))
                    await connection.execute(delete(revisions).where(revisions.c.number <= numbers[-1]))
            count += len(numbers)
            if len(numbers) < _BATCH:
                return count


async def _known(connection: AsyncConnection, number: int) -> None:
    query = select(revisions.c.number).where(revisions.c.number == number)
    if (await connection.execute(query)).first() is None:
        raise not_found("revision")


async def _between(connection: AsyncConnection, first: int, last: int) -> list[Change]:
    """Returns the change of each object that differs between the states after the revisions `first` and `last`."""
    query = (
        select(changes)
        .where(changes.c.revision > first, changes.c.revision <= last)
        .order_by(changes.c.revision, changes.c.kind, changes.c.document_id)
    )
    ends: dict[tuple[str, str], tuple[str | None, str | None]] = {}
    for row in await connection.execute(query):
        key = (row.kind, row.document_id)
        ends[key] = (ends[key][0] if key in ends else row.before, row.after)
    return [
        Change(RESOURCES[kind], document_id, load(before), load(after))
        for (kind, document_id), (before, after) in ends.items()
        if before != after and kind in RESOURCES
    ]


async def _rollback_changes(connection: AsyncConnection, number: int, newest: int) -> list[Change]:
    """Returns the changes that a rollback makes. Raises Problem 422 when TLS would then protect a password less than it
    does now (F42).
    """
    rollback_changes = [
        Change(change.resource, change.id, change.after, change.before)
        for change in await _between(connection, number, newest)
        if _is_rolled_back(change)
    ]
    errors = [error for change in rollback_changes for error in _weakened(change)]
    if errors:
        raise invalid(errors[:_MOST_ERRORS])
    return rollback_changes


def _weakened(change: Change) -> Iterator[FieldError]:
    if change.before is None or change.after is None:
        return
    before, after = complete(change.resource, change.before), complete(change.resource, change.after)
    for secret in change.resource.secrets:
        if member(before, secret.path) is None or member(after, secret.path) is None:
            continue
        if secret.is_weakened(before, after):
            place = f"/{change.id}" if isinstance(change.resource, Collection) else ""
            yield FieldError(
                f"/{change.resource.kind}{place}{secret.pointer}",
                "secret_needed",
                f"TLS would protect the {secret.path[-1]} less than it does now. Change this object first, and give "
                f"the {secret.path[-1]} again.",
            )


def _is_rolled_back(change: Change) -> bool:
    """Whether a rollback makes this change. It does not change collections that are not portable, such as API keys, and
    does not remove settings that a later release introduced.
    """
    if isinstance(change.resource, Collection):
        return change.resource.portable
    return change.before is not None
