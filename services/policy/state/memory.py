"""Counters of one process, in its memory; every table is bounded. Blocked clients outlive it on disk."""

from __future__ import annotations

import asyncio
import time
from bisect import insort
from collections.abc import Callable, Sequence

from services.policy.rules.counting import READ_ONLY, Counter, Operation
from services.policy.state.block_file import BlockFile
from services.policy.state.store import UNKNOWN_RECIPIENTS, Blocked

# Clients in one window. When a table is full, who is not in it is not counted.
MAX_CLIENTS = 500_000

_BLOCKED, _CONNECTIONS = Counter.BLOCKED, Counter.CONNECTIONS
_UNKNOWN_RECIPIENTS = Counter.UNKNOWN_RECIPIENTS_TODAY


class _Window:
    """Counts of one window that ends at a fixed time, the same for all clients; and of the one that was before.

    A clock that is set back must not empty the counts at each step between two minutes.
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


class MemoryStore:
    """A `Store` that never waits."""

    trouble = ""

    def __init__(self, file: BlockFile | None = None, clock: Callable[[], float] = time.time) -> None:
        """`file`: where blocks outlive the process; None: nowhere."""
        self._file = file
        self._clock = clock
        # Client to its open sessions, each with its owner.
        self._sessions: dict[str, dict[str, str]] = {}
        self._minutes = {Counter.CONNECTIONS_THIS_MINUTE: _Window(), Counter.MESSAGES_THIS_MINUTE: _Window()}
        # Client to (end of day, recipients named).
        self._named: dict[str, tuple[int, set[str]]] = {}
        self._blocked: dict[str, Blocked] = {}
        self._blocked_order: list[str] = []

    async def start(self) -> None:
        if self._file is not None:
            blocked = await asyncio.to_thread(self._file.read, self._clock())
            self._blocked = {one.client: one for one in blocked[:MAX_CLIENTS]}
            self._blocked_order = sorted(self._blocked)

    async def stop(self) -> None:
        if self._file is not None:
            await self._file.close()

    def apply_now(self, operations: Sequence[Operation], owner: str, now: float) -> list[int | None]:
        answers: list[int | None] = []
        for operation in operations:
            counter = operation.counter
            if counter is _BLOCKED:
                blocked = self._blocked.get(operation.client)
                answers.append(0 if blocked is None or now >= blocked.ends_at else 1)
            elif counter is _CONNECTIONS:
                answers.append(self._open(operation.client, operation.member, owner))
            elif counter is _UNKNOWN_RECIPIENTS:
                answers.append(self._name(operation, now))
            elif operation.limit == READ_ONLY:
                answers.append(self._minutes[counter].peek(operation.client, operation.ends_at) - 1)
            else:
                answers.append(self._minutes[counter].add(operation.client, operation.ends_at))
        return answers

    async def apply(self, operations: Sequence[Operation], owner: str, now: float) -> list[int | None]:
        return self.apply_now(operations, owner, now)

    def close_sessions(self, sessions: Sequence[tuple[str, str]], owner: str) -> None:
        for client, session in sessions:
            of_client = self._sessions.get(client)
            if of_client is not None and of_client.get(session) == owner:
                del of_client[session]
                if not of_client:
                    del self._sessions[client]

    def resume_sessions(self, sessions: Sequence[tuple[str, str]], owner: str) -> None:
        for client, session in sessions:
            self._open(client, session, owner)

    async def peek(self, operations: Sequence[Operation], now: float) -> list[int | None]:
        answers: list[int | None] = []
        for operation in operations:
            client = operation.client
            if operation.counter is Counter.BLOCKED:
                answers.append(self._is_blocked(client, now))
            elif operation.counter is Counter.CONNECTIONS:
                answers.append(len(self._sessions.get(client, {}).keys() | {operation.member}))
            elif operation.counter is Counter.UNKNOWN_RECIPIENTS_TODAY:
                ends_at, named = self._named.get(client, (0, set()))
                answers.append(len(named | {operation.member}) if ends_at == operation.ends_at else 1)
            else:
                answers.append(self._minutes[operation.counter].peek(client, operation.ends_at))
        return answers

    async def blocked_clients(self, now: float, *, after: str, limit: int) -> list[Blocked]:
        self._drop_ended(now)
        return [self._blocked[client] for client in self._blocked_order if client > after][:limit]

    async def unblock(self, client: str, now: float) -> Blocked | None:
        self._drop_ended(now)
        found = self._blocked.pop(client, None)
        if found is not None:
            self._blocked_order.remove(client)
            self._named.pop(client, None)
            if self._file is not None:
                self._file.lift(client)
        return found

    @property
    def open_sessions(self) -> int:
        return sum(map(len, self._sessions.values()))

    def _open(self, client: str, session: str, owner: str) -> int:
        of_client = self._sessions.setdefault(client, {})
        of_client[session] = owner
        return len(of_client)

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
            self._blocked = {client: each for client, each in self._blocked.items() if client not in ended}
            self._blocked_order = [client for client in self._blocked_order if client not in ended]
