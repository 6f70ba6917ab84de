"""The whole configuration in memory, as the consumers' snapshots ready to send, kept in step with the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.runtime.metrics import fingerprint
from services.config_api.metrics import SNAPSHOT_DIGEST
from services.config_api.resources.catalogue import RESOURCES
from services.config_api.resources.defaults import complete
from services.config_api.resources.description import Body
from services.config_api.secrets.sealing import Sealer
from services.config_api.snapshot import encoding
from services.config_api.snapshot.pages import Pages
from services.config_api.storage import recipients
from services.config_api.storage.diff import load
from services.config_api.storage.documents import Store, every
from services.config_api.storage.tables import changes, head

# Of one part, unless a single object is larger. A change makes one part anew; each costs the watchers a message.
PART_OCTETS = 256 * 1024
# So many changed objects are encoded before the event loop gets a turn.
_TURN = 500


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consumer's configuration, ready to send: the parts are serialised messages, shared by all watchers."""

    revision: int
    digest: bytes
    parts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key as calls are checked against it."""

    id: str
    name: str
    role: str
    key_hash: str
    expires_at: datetime | None


class Replica:
    """Follows the database revision by revision; `revision` is the newest that it holds."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self.revision = -1
        # By prefix.
        self.keys: dict[str, KeyRecord] = {}
        self._store = store
        self._sealer = sealer
        self._of_policy = Pages(PART_OCTETS, encoding.framed)
        self._of_relay = Pages(PART_OCTETS, encoding.framed)
        # In the order in which the database gives them at the start.
        self._ranks = {kind: f"{rank:02}" for rank, kind in enumerate(sorted(RESOURCES))}
        # Place in policy's snapshot to the end of the access rule there.
        self._ends: dict[str, datetime] = {}
        self._key_prefixes: dict[str, tuple[str, ...]] = {}

    async def load(self) -> None:
        """Reads everything. Raises SealError when secrets are sealed under another key."""
        async with self._store.database.reading() as connection:
            revision = int((await connection.execute(select(head.c.revision))).scalar_one())
            number = 0
            async for document in every(connection, list(RESOURCES)):
                self._take(document.kind, document.id, document.body)
                number += 1
                if number % _TURN == 0:
                    await asyncio.sleep(0)
            await self._take_buckets(connection, None)
        self.revision = revision

    async def behind(self) -> bool:
        """Whether the database has a newer revision."""
        return await self._store.newest() != self.revision

    async def catch_up(self) -> bool:
        """Takes the changes since; false when there were none."""
        async with self._store.database.reading() as connection:
            newest = int((await connection.execute(select(head.c.revision))).scalar_one())
            if newest == self.revision:
                return False
            query = (
                select(changes.c.kind, changes.c.document_id, changes.c.after)
                .where(changes.c.revision > self.revision, changes.c.revision <= newest)
                .order_by(changes.c.revision)
            )
            async with connection.stream(query, execution_options={"yield_per": _TURN}) as rows:
                async for batch in rows.partitions(_TURN):
                    for kind, document_id, after in batch:
                        if kind not in RESOURCES or kind == recipients.KIND:
                            continue
                        stored = load(after)
                        body = None if stored is None else complete(RESOURCES[kind], stored)
                        self._take(kind, document_id, body)
                    await asyncio.sleep(0)
            numbers = await recipients.changed_buckets(connection, self.revision, newest)
            if numbers:
                await self._take_buckets(connection, numbers)
        self.revision = newest
        return True

    def assemble(self, *, of_policy: bool, now: datetime) -> Snapshot:
        """The snapshot of now. Only parts that changed are made anew."""
        if of_policy:
            self._drop_ended(now)
        pages = self._of_policy if of_policy else self._of_relay
        digest = pages.digest()
        ending = encoding.ending(self.revision, digest, of_policy=of_policy)
        return Snapshot(self.revision, digest, (*pages.parts(), ending))

    def _drop_ended(self, now: datetime) -> None:
        for place in [place for place, end in self._ends.items() if end <= now]:
            del self._ends[place]
            self._of_policy.put(place, b"")

    def _take(self, kind: str, document_id: str, body: Body | None) -> None:
        if kind == "api-keys":
            self._take_key(document_id, body)
            return
        place = self._ranks[kind] + document_id
        made = encoding.NOTHING if body is None else encoding.pieces(kind, document_id, body, self._sealer)
        self._of_policy.put(place, made.policy)
        self._of_relay.put(place, made.relay)
        self._ends.pop(place, None)
        if made.policy and kind == "access-rules" and body is not None and body["expires_at"] is not None:
            self._ends[place] = datetime.fromisoformat(body["expires_at"])

    async def _take_buckets(self, connection: AsyncConnection, numbers: frozenset[int] | None) -> None:
        """Reads these buckets of the recipients, or all."""
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
        # Behind all other objects, so that they are in order at the start.
        place = f"recipients{number:05}"
        made = encoding.recipient_bucket(number, keys)
        self._of_policy.put(place, made.policy)
        self._of_relay.put(place, made.relay)

    def _take_key(self, key_id: str, body: Body | None) -> None:
        for prefix in self._key_prefixes.pop(key_id, ()):
            self.keys.pop(prefix, None)
        if body is not None:
            records = key_records(key_id, body)
            self.keys.update(records)
            self._key_prefixes[key_id] = tuple(records)


def key_records(key_id: str, body: Body) -> dict[str, KeyRecord]:
    """The keys under one id, by prefix: the present one, and for a while that of before its rotation."""
    ends_at = None if body["expires_at"] is None else datetime.fromisoformat(body["expires_at"])
    name, role = body["name"], body["role"]
    records = {body["prefix"]: KeyRecord(key_id, name, role, body["key_hash"], ends_at)}
    if "previous_prefix" in body:
        overlap_ends_at = datetime.fromisoformat(body["previous_key_ends_at"])
        first_end = overlap_ends_at if ends_at is None else min(ends_at, overlap_ends_at)
        records[body["previous_prefix"]] = KeyRecord(key_id, name, role, body["previous_key_hash"], first_end)
    return records


class Feed:
    """The current snapshots, and the waiting for the next. One per process, shared by all watchers."""

    def __init__(self, replica: Replica, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.replica = replica
        self._clock = clock
        self._current: dict[bool, Snapshot] = {}
        self._changed = asyncio.Event()
        self.closed = False

    def refresh(self) -> None:
        """Brings both snapshots up to date; watchers whose snapshot has a new digest are woken."""
        now = self._clock()
        changed = False
        for of_policy in (True, False):
            built = self.replica.assemble(of_policy=of_policy, now=now)
            held = self._current.get(of_policy)
            if held is None or held.digest != built.digest:
                self._current[of_policy] = built
                SNAPSHOT_DIGEST.labels("policy" if of_policy else "relay").set(fingerprint(built.digest))
                changed = True
        if changed:
            self._wake()

    async def next(self, *, of_policy: bool, held: bytes) -> Snapshot | None:
        """The snapshot as soon as its digest is not the one held; None when the process stops."""
        while not self.closed:
            current = self._current.get(of_policy)
            if current is not None and current.digest != held:
                return current
            await self._changed.wait()
        return None

    def current(self, *, of_policy: bool) -> Snapshot | None:
        return self._current.get(of_policy)

    def close(self) -> None:
        """Lets all watchers go."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
