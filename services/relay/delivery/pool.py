"""Open sessions that wait for the next message to the same destination."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

from services.relay.delivery.session import Session


class Pool:
    """Bounded in number and time. A key stands for all that a session must match: destination, TLS, login, name."""

    def __init__(self, idle_seconds: float, limit: int, clock: Callable[[], float]) -> None:
        self._idle_seconds = idle_seconds
        self._limit = limit
        self._clock = clock
        self._by_key: dict[Hashable, list[Session]] = {}
        # All of them, by identity, the one that has waited longest first.
        self._by_age: dict[int, tuple[Hashable, Session]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self, key: Hashable) -> Session | None:
        """The session that was used last, which the server is least likely to have given up."""
        waiting = self._by_key.get(key)
        while waiting:
            session = waiting[-1]
            self._remove(key, session)
            if session.usable:
                return session
        return None

    def give(self, key: Hashable, session: Session) -> None:
        """Keeps a usable session for later; when there are too many, the one that has waited longest goes."""
        if self._closed or not session.usable:
            session.protocol.quit()
            return
        session.idle_since = self._clock()
        self._by_key.setdefault(key, []).append(session)
        self._by_age[id(session)] = (key, session)
        if len(self._by_age) > self._limit:
            self._drop(*next(iter(self._by_age.values())))
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._idle_seconds, self._sweep)

    def close(self) -> None:
        """Ends all that wait, and from now on every session that is given back."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for key, session in list(self._by_age.values()):
            self._drop(key, session)

    def _sweep(self) -> None:
        """Closes what has waited long enough; comes back when the next one has."""
        self._sweeper = None
        now = self._clock()
        for key, session in list(self._by_age.values()):
            left = session.idle_since + self._idle_seconds - now
            if left > 0:
                self._sweeper = asyncio.get_running_loop().call_later(left, self._sweep)
                return
            self._drop(key, session)

    def _drop(self, key: Hashable, session: Session) -> None:
        self._remove(key, session)
        session.protocol.quit()

    def _remove(self, key: Hashable, session: Session) -> None:
        del self._by_age[id(session)]
        waiting = self._by_key[key]
        # Mostly the last one; sessions compare by what they are, not by what they hold.
        position = next(index for index in range(len(waiting) - 1, -1, -1) if waiting[index] is session)
        del waiting[position]
        if not waiting:
            del self._by_key[key]
