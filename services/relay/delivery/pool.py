"""Open sessions that wait for the next message to the same destination."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable

from services.relay.delivery.session import Session


class Pool:
    """Bounded in number and time. A key stands for all that a session must match: destination, TLS, login, name."""

    def __init__(self, idle_seconds: float, limit: int, clock: Callable[[], float]) -> None:
        self._idle_seconds = idle_seconds
        self._limit = limit
        self._clock = clock
        self._idle: dict[Hashable, deque[Session]] = {}
        self._count = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self, key: Hashable) -> Session | None:
        """The session that was used last, which the server is least likely to have given up."""
        waiting = self._idle.get(key)
        while waiting:
            session = waiting.pop()
            self._count -= 1
            if not waiting:
                del self._idle[key]
            if session.usable:
                return session
        return None

    def give(self, key: Hashable, session: Session) -> None:
        """Keeps a usable session for later, or closes it."""
        if self._closed or not session.usable or self._count >= self._limit:
            session.protocol.quit()
            return
        session.idle_since = self._clock()
        self._idle.setdefault(key, deque()).append(session)
        self._count += 1
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._idle_seconds, self._sweep)

    def drop(self, key: Hashable) -> None:
        """Closes all that wait under the key."""
        for session in self._idle.pop(key, ()):
            self._count -= 1
            session.protocol.quit()

    def close(self) -> None:
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for key in list(self._idle):
            self.drop(key)

    def _sweep(self) -> None:
        """Closes what has waited long enough; comes back when the next one has."""
        self._sweeper = None
        now = self._clock()
        oldest = now
        for key, waiting in list(self._idle.items()):
            while waiting and (now - waiting[0].idle_since >= self._idle_seconds or not waiting[0].usable):
                self._count -= 1
                waiting.popleft().protocol.quit()
            if waiting:
                oldest = min(oldest, waiting[0].idle_since)
            else:
                del self._idle[key]
        if self._idle:
            delay = max(0.05, oldest + self._idle_seconds - now)
            self._sweeper = asyncio.get_running_loop().call_later(delay, self._sweep)
