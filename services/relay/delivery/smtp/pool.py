"""Idle sessions that wait for the next message to the same destination."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.relay.delivery.smtp.session import Session

# All values that a session must match, first the name of the destination, then TLS, login and our name. Keys are
# compared and never hashed: most fields are the same object from one message to the next, while a hash reads every
# field.
Key = tuple[str, *tuple[object, ...]]


class Pool:
    """Keeps idle sessions. Their number, and the time that each one waits, are bounded."""

    def __init__(self, idle_seconds: float, limit: int, clock: Callable[[], float]) -> None:
        self._idle_seconds = idle_seconds
        self._limit = limit
        self._clock = clock
        # The keys and sessions of each destination. The session that was used last is at the end.
        self._waiting: dict[str, list[tuple[Key, Session]]] = {}
        # All sessions, by identity. The session that has waited longest is first.
        self._by_age: dict[int, tuple[Key, Session]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self, key: Key) -> Session | None:
        """Removes and returns a usable session, or returns None. The session that was used last is preferred, because
        the server is least likely to have closed it.
        """
        waiting = self._waiting.get(key[0])
        if waiting is None:
            return None
        for index in range(len(waiting) - 1, -1, -1):
            kept, session = waiting[index]
            if kept == key:
                del waiting[index], self._by_age[id(session)]
                if not waiting:
                    del self._waiting[key[0]]
                if session.protocol.usable:
                    return session
        return None

    def give(self, key: Key, session: Session) -> None:
        """Stores a usable session. When there are too many, the one that has waited longest is closed."""
        if self._closed or not session.protocol.usable:
            session.protocol.quit()
            return
        session.idle_since = self._clock()
        entry = (key, session)
        waiting = self._waiting.get(key[0])
        if waiting is None:
            self._waiting[key[0]] = [entry]
        else:
            waiting.append(entry)
        self._by_age[id(session)] = entry
        if len(self._by_age) > self._limit:
            self._drop(next(iter(self._by_age.values())))
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._idle_seconds, self._sweep)

    def close(self) -> None:
        """Closes all idle sessions, and from now on every session that is given back."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for entry in list(self._by_age.values()):
            self._drop(entry)

    def _sweep(self) -> None:
        """Closes the sessions that have waited too long, and sets a timer for the next one."""
        self._sweeper = None
        now = self._clock()
        for entry in list(self._by_age.values()):
            left = entry[1].idle_since + self._idle_seconds - now
            if left > 0:
                self._sweeper = asyncio.get_running_loop().call_later(left, self._sweep)
                return
            self._drop(entry)

    def _drop(self, entry: tuple[Key, Session]) -> None:
        key, session = entry
        del self._by_age[id(session)]
        waiting = self._waiting[key[0]]
        position = next(index for index, (_, each) in enumerate(waiting) if each is session)
        del waiting[position]
        if not waiting:
            del self._waiting[key[0]]
        session.protocol.quit()
