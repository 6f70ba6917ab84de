"""Holds the whole configuration in memory, encoded for policy and relay, and follows changes in the database."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.runtime.metrics import fingerprint
from libs.runtime.snapshot_pages import PAGE_OCTETS, SnapshotPages, serialised
from services.config_api.metrics import SNAPSHOT_DIGEST
from services.config_api.resources.catalogue import RESOURCES
from services.config_api.resources.defaults import complete
from services.config_api.resources.description import Body
from services.config_api.secrets.sealing import Sealer
from services.config_api.snapshot import encoding
from services.config_api.storage import recipients
from services.config_api.storage.diff import load
from services.config_api.storage.documents import Store, every, newest_revision
from services.config_api.storage.tables import changes

_CHANGES = (
    select(changes.c.kind, changes.c.document_id, changes.c.after)
    .where(changes.c.revision > bindparam("b_after"), changes.c.revision <= bindparam("b_newest"))
    .order_by(changes.c.revision)
)
# After this number of changed objects, the event loop may run other tasks.
_TURN = 500
_SOME_CHANGES = _CHANGES.limit(_TURN)
# The largest number of octets of the changes that are stored for each consumer (policy and relay). A consumer whose
# snapshot is older than the stored changes gets the whole snapshot.
_REMEMBERED_OCTETS = 8 * 1024 * 1024
_REMEMBERED_CHANGES = 10_000


@dataclass(frozen=True, slots=True)
class Change:
    """The change from the snapshot with the digest `base` to the next snapshot. `parts` are serialised SnapshotParts,
    without the part that ends a revision.
    """

    base: bytes
    parts: tuple[bytes, ...]


class ConsumerSnapshot:
    """The snapshot of one consumer, policy or relay, and the changes that led to it."""

    def __init__(self) -> None:
        self.pages = SnapshotPages()
        self.digest = b""
        self.revision = -1
        self._changes: deque[Change] = deque()
        self._octets = 0
        # The pieces that have changed since the last publication, by key.
        self._touched: dict[str, bytes] = {}
        self._whole: list[bytes] = []

    def put(self, key: str, content: bytes) -> None:
        """Stores a piece. An empty piece removes it."""
        if self.pages.put(key, content) != content:
            self._touched[key] = content

    def publish(self, revision: int) -> bool:
        """Publishes the pieces that were stored since the last publication as one change. Returns False when nothing is
        new.
        """
        digest = self.pages.digest()
        if (revision, digest) == (self.revision, self.digest):
            return False
        if self.revision >= 0:
            parts = tuple(_joined([serialised(key, content) for key, content in self._touched.items()]))
            self._remember(Change(self.digest, parts))
        self._touched = {}
        # The parts are stored separately, because changes are read in steps, so `pages` may be newer than the published
        # snapshot.
        self._whole = self.pages.parts()
        self.revision, self.digest = revision, digest
        return True

    def parts_after(self, digest: bytes) -> list[bytes]:
        """Returns the parts that change the snapshot with this digest to the present snapshot. Returns all parts of the
        present snapshot when these changes are not stored.
        """
        ending = encoding.ending(self.revision, self.digest)
        if digest == self.digest:
            return [ending]
        way: list[tuple[bytes, ...]] = []
        for change in reversed(self._changes):
            way.append(change.parts)
            if change.base == digest:
                return list(_joined([*(part for parts in reversed(way) for part in parts), ending]))
        return [encoding.WHOLE, *self._whole, ending]

    def _remember(self, change: Change) -> None:
        self._changes.append(change)
        self._octets += sum(map(len, change.parts))
        while self._octets > _REMEMBERED_OCTETS or len(self._changes) > _REMEMBERED_CHANGES:
            self._octets -= sum(map(len, self._changes.popleft().parts))


def _joined(parts: Sequence[bytes]) -> Iterator[bytes]:
    """Yields the same content in fewer parts, which are at most about the size of a page."""
    gathered: list[bytes] = []
    octets = 0
    for part in parts:
        if gathered and octets + len(part) > PAGE_OCTETS:
            yield b"".join(gathered)
            gathered, octets = [], 0
        gathered.append(part)
        octets += len(part)
    if gathered:
        yield b"".join(gathered)


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """The facts about an API key that are needed to check a request."""

    id: str
    name: str
    role: str
    key_hash: str
    expires_at: datetime | None
    # The login of the account to which the key belongs. Empty means that there is none.
    account: str = ""


class ConfigurationCache:
    """Follows the configuration in the database. `revision` is the newest revision that the cache contains."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self.revision = -1
        # API keys by their prefix.
        self.keys: dict[str, KeyRecord] = {}
        # The complete bodies of webhooks, with encrypted secrets, by id.
        self.webhooks: dict[str, Body] = {}
        self._store = store
        self._sealer = sealer
        self.of_policy = ConsumerSnapshot()
        self.of_relay = ConsumerSnapshot()
        # The time at which each access rule ends, by the key of the rule in policy's snapshot.
        self._ends: dict[str, datetime] = {}
        self._key_prefixes: dict[str, tuple[str, ...]] = {}

    async def load(self) -> None:
        """Reads the whole configuration. Raises SealError when secrets are encrypted under another key."""
        async with self._store.database.reading() as connection:
            revision = await newest_revision(connection)
            number = 0
            async for document in every(connection, list(RESOURCES)):
                self._take(document.kind, document.id, document.body)
                number += 1
                if number % _TURN == 0:
                    await asyncio.sleep(0)
            await self._take_buckets(connection, None)
        self.revision = revision

    async def catch_up(self, on_answer: Callable[[], None] = lambda: None) -> bool:
        """Reads the changes since the last call. Returns False when there were none. `on_answer` is called after the
        first answer of the database, because reading many changes takes a while.
        """
        newest = await self._store.newest()
        on_answer()
        if newest == self.revision:
            return False
        # No transaction is needed for several queries, because a revision never changes after it is committed.
        asked = {"b_after": self.revision, "b_newest": newest}
        few = await self._store.database.rows(_SOME_CHANGES, asked)
        if len(few) < _TURN:
            kinds = self._take_changes(few)
        else:
            kinds = set()
            async with (
                self._store.database.reading() as connection,
                connection.stream(_CHANGES, asked, execution_options={"yield_per": _TURN}) as rows,
            ):
                async for batch in rows.partitions(_TURN):
                    kinds |= self._take_changes(batch)
                    await asyncio.sleep(0)
        if recipients.KIND in kinds:
            async with self._store.database.reading() as connection:
                numbers = await recipients.changed_buckets(connection, self.revision, newest)
                await self._take_buckets(connection, numbers)
        self.revision = newest
        return True

    def _take_changes(self, rows: Sequence[Row[Any, Any, Any]]) -> set[str]:
        """Encodes the changed objects again. Returns the kinds of these objects."""
        for kind, document_id, after in rows:
            if kind in RESOURCES and kind != recipients.KIND:
                stored = load(after)
                self._take(kind, document_id, None if stored is None else complete(RESOURCES[kind], stored))
        return {row.kind for row in rows}

    def publish(self, now: datetime) -> bool:
        """Makes the present state the newest revision of both snapshots. Returns False when nothing is new."""
        self._drop_ended(now)
        of_policy, of_relay = self.of_policy.publish(self.revision), self.of_relay.publish(self.revision)
        return of_policy or of_relay

    def _drop_ended(self, now: datetime) -> None:
        for key in [key for key, end in self._ends.items() if end <= now]:
            del self._ends[key]
            self.of_policy.put(key, b"")

    def _take(self, kind: str, document_id: str, body: Body | None) -> None:
        if kind == "api-keys":
            self._take_key(document_id, body)
            return
        if kind == "webhooks":
            if body is None:
                self.webhooks.pop(document_id, None)
            else:
                self.webhooks[document_id] = body
            return
        key = kind if document_id == kind else f"{kind}/{document_id}"
        made = encoding.NOTHING if body is None else encoding.pieces(kind, document_id, body, self._sealer)
        self.of_policy.put(key, made.policy)
        self.of_relay.put(key, made.relay)
        self._ends.pop(key, None)
        if made.policy and kind == "access-rules" and body is not None and body["expires_at"] is not None:
            self._ends[key] = datetime.fromisoformat(body["expires_at"])

    async def _take_buckets(self, connection: AsyncConnection, numbers: frozenset[int] | None) -> None:
        """Reads these buckets of the listed recipients, or all buckets if `numbers` is None."""
        empty = set(numbers or ())
        taken = 0
        async for number, keys in recipients.buckets(connection, numbers):
            self._take_bucket(number, keys)
            empty.discard(number)
            taken += 1
            if taken % _TURN == 0:
                await asyncio.sleep(0)
        for number in empty:
            self._take_bucket(number, b"")

    def _take_bucket(self, number: int, keys: bytes) -> None:
        key = f"{recipients.KIND}/{number:05}"
        made = encoding.recipient_bucket(number, keys)
        self.of_policy.put(key, made.policy)
        self.of_relay.put(key, made.relay)

    def _take_key(self, key_id: str, body: Body | None) -> None:
        for prefix in self._key_prefixes.pop(key_id, ()):
            self.keys.pop(prefix, None)
        if body is not None:
            records = key_records(key_id, body)
            self.keys.update(records)
            self._key_prefixes[key_id] = tuple(records)


def key_records(key_id: str, body: Body) -> dict[str, KeyRecord]:
    """Returns the records for an API key, by prefix: that of its present value, and after a rotation also that of its
    previous value.
    """
    ends_at = None if body["expires_at"] is None else datetime.fromisoformat(body["expires_at"])
    name, role, account = body["name"], body["role"], body.get("account") or ""
    records = {body["prefix"]: KeyRecord(key_id, name, role, body["key_hash"], ends_at, account)}
    if "previous_prefix" in body:
        overlap_ends_at = datetime.fromisoformat(body["previous_key_ends_at"])
        first_end = overlap_ends_at if ends_at is None else min(ends_at, overlap_ends_at)
        previous_hash = body["previous_key_hash"]
        records[body["previous_prefix"]] = KeyRecord(key_id, name, role, previous_hash, first_end, account)
    return records


class CurrentSnapshots:
    """Publishes the snapshots, and wakes the watches that wait for new ones. Each process has one object, which all
    watches share.
    """

    def __init__(self, cache: ConfigurationCache, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.cache = cache
        self._clock = clock
        self._changed = asyncio.Event()
        self.closed = False

    def refresh(self) -> None:
        """Publishes the state of the cache. If something is new, wakes the watches."""
        if not self.cache.publish(self._clock()):
            return
        for name, consumer_snapshot in (("policy", self.cache.of_policy), ("relay", self.cache.of_relay)):
            SNAPSHOT_DIGEST.labels(name).set(fingerprint(consumer_snapshot.digest))
        self._wake()

    async def newer(self, consumer_snapshot: ConsumerSnapshot, digest: bytes, revision: int) -> bool:
        """Waits until the consumer's snapshot has another revision or digest than these, and returns True. Returns
        False when the process stops.
        """
        while not self.closed and (consumer_snapshot.digest, consumer_snapshot.revision) == (digest, revision):
            await self._changed.wait()
        return not self.closed

    def close(self) -> None:
        """Ends all waits."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
