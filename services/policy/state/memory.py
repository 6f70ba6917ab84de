"""The counters of one process, in its memory. They are kept for a bounded number of clients, except open sessions,
which the connections of ingress limit. Blocked clients are also stored on disk.
"""

from __future__ import annotations

import asyncio
import time
from bisect import insort
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from services.policy.rules.counting import READ_ONLY, Counter, Operation
from services.policy.state.block_file import BlockFile
from services.policy.state.store import UNKNOWN_RECIPIENTS, WORKER_SECONDS, Blocked, FrameStamp

# The largest number of clients in one window. When a table is full, new clients are not counted.
MAX_CLIENTS = 500_000
# After this time, no set of open sessions can arrive that still contains a closed session.
_REMEMBER_SECONDS = 30.0

_BLOCKED, _CONNECTIONS = Counter.BLOCKED, Counter.CONNECTIONS
_UNKNOWN_RECIPIENTS = Counter.UNKNOWN_RECIPIENTS_TODAY


class _Window:
    """The counts of one window, which ends at a time that is the same for all clients, and the counts of the previous
    window.

    The previous window is kept, so that a clock that steps back and forth between two minutes does not clear the
    counts.
    """

    __slots__ = ("_before", "counts", "ends_at")

    def __init__(self) -> None:
        self.ends_at = 0
        self.counts: dict[str, int] = {}
        self._before: tuple[int, dict[str, int]] = (0, {})

    def add(self, client: str, ends_at: int) -> int | None:
        if ends_at != self.ends_at:
            self._turn(ends_at)
        count = self.counts.get(client, 0)
        if count == 0 and len(self.counts) >= MAX_CLIENTS:
            return None
        self.counts[client] = count + 1
        return count + 1

    def peek(self, client: str, ends_at: int) -> int:
        return self.counts.get(client, 0) + 1 if ends_at == self.ends_at else 1

    def _turn(self, ends_at: int) -> None:
        now, self._before = self._before, (self.ends_at, self.counts)
        self.ends_at, self.counts = now if now[0] == ends_at else (ends_at, {})


@dataclass(slots=True)
class _Worker:
    """The sessions of a worker of ingress, and the time of its last frame."""

    # The time of its last frame, by the monotonic clock.
    heard_at: float
    # Its open sessions. Each session has its client, and the number of the frame that opened it.
    sessions: dict[str, tuple[str, int]] = field(default_factory=dict)
    # The number of the frame with the last set of all open sessions, and the number of the frame up to which this set
    # is complete.
    set_counter: int = 0
    settled_before: int = 0
    # The sessions that closed while a set was not yet complete, with the time of their end.
    closed: dict[str, float] = field(default_factory=dict)


class MemoryStore:
    """A `Store` in memory, which never waits."""

    unavailable_reason = ""

    def __init__(
        self,
        file: BlockFile | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`file` stores the blocks for a restart. None means that blocks are not stored."""
        self._file = file
        self._clock = clock
        self._monotonic = monotonic
        self._workers: dict[str, _Worker] = {}
        # For each client its open sessions, each with its worker.
        self._sessions: dict[str, dict[str, str]] = {}
        self._minutes = {
            Counter.CONNECTIONS_THIS_MINUTE: _Window(),
            Counter.MESSAGES_THIS_MINUTE: _Window(),
            Counter.FAILED_LOGINS_OF_CLIENT: _Window(),
            Counter.FAILED_LOGINS_OF_LOGIN: _Window(),
        }
        # For each client: (end of the day, recipients that it named).
        self._named: dict[str, tuple[int, set[str]]] = {}
        self._blocked: dict[str, Blocked] = {}
        self._blocked_order: list[str] = []

    async def start(self) -> None:
        if self._file is not None:
            blocked = await asyncio.to_thread(self._file.read, self._clock())
            self._blocked = {block.client: block for block in blocked[:MAX_CLIENTS]}
            self._blocked_order = sorted(self._blocked)

    async def stop(self) -> None:
        if self._file is not None:
            await self._file.close()

    def apply_now(self, operations: Sequence[Operation], stamp: FrameStamp, now: float) -> list[int | None]:
        numbers: list[int | None] = []
        for operation in operations:
            counter = operation.counter
            if counter is _BLOCKED:
                blocked = self._blocked.get(operation.client)
                numbers.append(0 if blocked is None or now >= blocked.ends_at else 1)
            elif counter is _CONNECTIONS:
                numbers.append(self._open(operation, stamp))
            elif counter is _UNKNOWN_RECIPIENTS:
                numbers.append(self._name(operation, now))
            elif operation.limit == READ_ONLY:
                numbers.append(self._minutes[counter].peek(operation.client, operation.ends_at) - 1)
            else:
                numbers.append(self._minutes[counter].add(operation.client, operation.ends_at))
        return numbers

    async def apply(self, operations: Sequence[Operation], stamp: FrameStamp, now: float) -> list[int | None]:
        return self.apply_now(operations, stamp, now)

    def close_sessions(self, sessions: Sequence[tuple[str, str]], stamp: FrameStamp, *, remember: bool = False) -> None:
        worker = self._worker(stamp.worker)
        for _, session in sessions:
            if remember:
                worker.closed[session] = self._monotonic()
            _, counter = worker.sessions.get(session, ("", 0))
            if counter <= stamp.counter:
                self._drop(session, worker)

    def replace_sessions(self, sessions: Sequence[tuple[str, str]], stamp: FrameStamp, settled_before: int) -> None:
        worker = self._worker(stamp.worker)
        if stamp.counter <= worker.set_counter:
            return
        worker.heard_at = self._monotonic()
        worker.set_counter, worker.settled_before = stamp.counter, settled_before
        listed = {session: client for client, session in sessions if session not in worker.closed}
        for session, (_, counter) in list(worker.sessions.items()):
            if session not in listed and counter < settled_before:
                self._drop(session, worker)
        for session, client in listed.items():
            self._count(client, session, stamp, worker)

    async def keep_alive(self, workers: Sequence[str]) -> Collection[str]:
        now = self._monotonic()
        for name, worker in list(self._workers.items()):
            if worker.heard_at + WORKER_SECONDS < now and name not in workers:
                self._forget(name, worker)
        unknown = []
        for name in workers:
            worker = self._worker(name)
            worker.heard_at = now
            worker.closed = {session: at for session, at in worker.closed.items() if now - at < _REMEMBER_SECONDS}
            if not worker.set_counter:
                unknown.append(name)
        return unknown

    async def peek(self, operations: Sequence[Operation], now: float) -> list[int | None]:
        numbers: list[int | None] = []
        for operation in operations:
            client = operation.client
            if operation.counter is Counter.BLOCKED:
                numbers.append(self._is_blocked(client, now))
            elif operation.counter is Counter.CONNECTIONS:
                numbers.append(len(self._sessions.get(client, {}).keys() | {operation.member}))
            elif operation.counter is Counter.UNKNOWN_RECIPIENTS_TODAY:
                ends_at, named = self._named.get(client, (0, set()))
                numbers.append(len(named | {operation.member}) if ends_at == operation.ends_at else 1)
            else:
                numbers.append(self._minutes[operation.counter].peek(client, operation.ends_at))
        return numbers

    async def blocked_clients(self, now: float, *, after: str, limit: int) -> list[Blocked]:
        self._drop_ended(now)
        return [self._blocked[client] for client in self._blocked_order if client > after][:limit]

    async def unblock(self, client: str, now: float) -> Blocked | None:
        self._drop_ended(now)
        block = self._blocked.pop(client, None)
        if block is not None:
            self._blocked_order.remove(client)
            self._named.pop(client, None)
            if self._file is not None:
                self._file.lift(client)
        return block

    @property
    def open_sessions(self) -> int:
        return sum(map(len, self._sessions.values()))

    def _open(self, operation: Operation, stamp: FrameStamp) -> int:
        client, worker = operation.client, self._worker(stamp.worker)
        worker.heard_at = self._monotonic()
        if stamp.counter >= worker.settled_before:
            self._count(client, operation.member, stamp, worker)
        # A session from an older frame is not counted, because its worker has already reported its end.
        count = len(self._sessions.get(client, ()))
        if 0 < operation.limit < count:
            self._forget_dead_workers(client)
            count = len(self._sessions[client])
        return count

    def _worker(self, name: str) -> _Worker:
        worker = self._workers.get(name)
        if worker is None:
            worker = self._workers[name] = _Worker(self._monotonic())
        return worker

    def _count(self, client: str, session: str, stamp: FrameStamp, worker: _Worker) -> None:
        _, counter = worker.sessions.get(session, ("", 0))
        worker.sessions[session] = (client, max(counter, stamp.counter))
        self._sessions.setdefault(client, {})[session] = stamp.worker

    def _drop(self, session: str, worker: _Worker) -> None:
        client, _ = worker.sessions.pop(session, ("", 0))
        sessions = self._sessions.get(client)
        if sessions is not None:
            del sessions[session]
            if not sessions:
                del self._sessions[client]

    def _forget_dead_workers(self, client: str) -> None:
        """Removes dead workers that have sessions of this client."""
        earliest = self._monotonic() - WORKER_SECONDS
        for name in set(self._sessions[client].values()):
            worker = self._workers[name]
            if worker.heard_at < earliest:
                self._forget(name, worker)

    def _forget(self, name: str, worker: _Worker) -> None:
        del self._workers[name]
        for session in list(worker.sessions):
            self._drop(session, worker)

    def _is_blocked(self, client: str, now: float) -> int:
        blocked = self._blocked.get(client)
        return int(blocked is not None and now < blocked.ends_at)

    def _name(self, operation: Operation, now: float) -> int | None:
        client = operation.client
        ends_at, named = self._named.get(client, (0, set()))
        if ends_at != operation.ends_at:
            named = set()
            if len(self._named) >= MAX_CLIENTS:
                self._named = {key: day for key, day in self._named.items() if day[0] > now}
                if len(self._named) >= MAX_CLIENTS:
                    return None
            self._named[client] = (operation.ends_at, named)
        if len(named) < operation.limit:
            named.add(operation.member)
        if len(named) >= operation.limit and not self._is_blocked(client, now):
            self._block(Blocked(client, UNKNOWN_RECIPIENTS, len(named), now, operation.ends_at), now)
        return len(named)

    def _block(self, blocked: Blocked, now: float) -> None:
        if len(self._blocked) >= MAX_CLIENTS:
            self._drop_ended(now)
            if len(self._blocked) >= MAX_CLIENTS:
                return
        if blocked.client not in self._blocked:
            insort(self._blocked_order, blocked.client)
        self._blocked[blocked.client] = blocked
        if self._file is not None:
            self._file.block(blocked)

    def _drop_ended(self, now: float) -> None:
        ended = {client for client, blocked in self._blocked.items() if blocked.ends_at <= now}
        if ended:
            self._blocked = {client: block for client, block in self._blocked.items() if client not in ended}
            self._blocked_order = [client for client in self._blocked_order if client not in ended]
