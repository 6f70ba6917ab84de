"""The whole configuration in memory, as pieces of the consumers' snapshots, kept in step with the database."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select

from services.config_api import snapshot
from services.config_api.access_rules.resource import expired
from services.config_api.catalogue import RESOURCES
from services.config_api.diff import load
from services.config_api.resources import Body
from services.config_api.sealing import Sealer
from services.config_api.store import Store, every
from services.config_api.tables import changes, head

# A part is closed when the next piece would pass this.
PART_OCTETS = 1024 * 1024
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
        self._pieces: dict[str, dict[str, snapshot.Pieces]] = {kind: {} for kind in RESOURCES}
        self._expiring: dict[str, Body] = {}
        self._key_prefixes: dict[str, str] = {}

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
        self.revision = revision

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
                        self._take(kind, document_id, load(after))
                    await asyncio.sleep(0)
        self.revision = newest
        return True

    async def assemble(self, *, of_policy: bool, now: datetime) -> Snapshot:
        """The snapshot of now; joining and hashing run in a thread."""
        found = list(self._of(of_policy=of_policy, now=now))
        return await asyncio.to_thread(_build, of_policy, self.revision, found)

    def _of(self, *, of_policy: bool, now: datetime) -> Iterator[bytes]:
        ended = {rule_id for rule_id, body in self._expiring.items() if expired(body, now)}
        for of_kind in self._pieces.values():
            for document_id in sorted(of_kind):
                if document_id in ended:
                    continue
                piece = of_kind[document_id]
                if of_policy and piece.policy:
                    yield piece.policy
                elif not of_policy and piece.relay:
                    yield piece.relay

    def _take(self, kind: str, document_id: str, body: Body | None) -> None:
        if kind not in RESOURCES:
            return
        self._expiring.pop(document_id, None)
        if kind == "api-keys":
            self._take_key(document_id, body)
            return
        if body is None:
            self._pieces[kind].pop(document_id, None)
            return
        self._pieces[kind][document_id] = snapshot.pieces(kind, document_id, body, self._sealer)
        if kind == "access-rules" and body["expires_at"] is not None:
            self._expiring[document_id] = {"expires_at": body["expires_at"]}

    def _take_key(self, key_id: str, body: Body | None) -> None:
        prefix = self._key_prefixes.pop(key_id, None)
        if prefix is not None:
            self.keys.pop(prefix, None)
        if body is not None:
            self.keys[body["prefix"]] = key_record(key_id, body)
            self._key_prefixes[key_id] = body["prefix"]


def key_record(key_id: str, body: Body) -> KeyRecord:
    ends = body["expires_at"]
    return KeyRecord(
        key_id, body["name"], body["role"], body["key_hash"], None if ends is None else datetime.fromisoformat(ends)
    )


def _build(of_policy: bool, revision: int, found: list[bytes]) -> Snapshot:
    digest = hashlib.sha256()
    chunks: list[bytes] = []
    gathered: list[bytes] = []
    size = 0
    for piece in found:
        digest.update(piece)
        if gathered and size + len(piece) > PART_OCTETS:
            chunks.append(b"".join(gathered))
            gathered, size = [], 0
        gathered.append(piece)
        size += len(piece)
    chunks.append(b"".join(gathered))
    return Snapshot(revision, digest.digest(), tuple(snapshot.parts(of_policy, revision, chunks, digest.digest())))


class Feed:
    """The current snapshots, and the waiting for the next. One per process, shared by all watchers."""

    def __init__(self, replica: Replica, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.replica = replica
        self._clock = clock
        self._current: dict[bool, Snapshot] = {}
        self._changed = asyncio.Event()
        self.closed = False

    async def refresh(self) -> None:
        """Builds both snapshots anew; watchers whose snapshot has a new digest are woken."""
        now = self._clock()
        changed = False
        for of_policy in (True, False):
            built = await self.replica.assemble(of_policy=of_policy, now=now)
            held = self._current.get(of_policy)
            if held is None or held.digest != built.digest:
                self._current[of_policy] = built
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
