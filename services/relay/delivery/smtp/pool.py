"""Open sessions that wait for the next message to the same destination."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.relay.delivery.smtp.session import Session

# All that a session must match, the destination's name first: TLS, login, our name. Compared, never hashed: most of it
# is the very same object from one message to the next, while hashing goes through every field.
Key = tuple[str, *tuple[object, ...]]


class Pool:
    """Bounded in number and time."""

    def __init__(self, idle_seconds: float, limit: int, clock: Callable[[], float]) -> None:
        self._idle_seconds = idle_seconds
        self._limit = limit
        self._clock = clock
        # Keys and sessions of each destination; the session that was used last stands at the end.
        self._waiting: dict[str, list[tuple[Key, Session]]] = {}
        # All of them, by identity, the one that has waited longest first.
        self._by_age: dict[int, tuple[Key, Session]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self, key: Key) -> Session | None:
        """The session that was used last, which the server is least likely to have given up."""
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
        """Keeps a usable session for later; when there are too many, the one that has waited longest goes."""
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
        """Ends all that wait, and from now on every session that is given back."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for entry in list(self._by_age.values()):
            self._drop(entry)

    def _sweep(self) -> None:
        """Closes what has waited long enough; comes back when the next one has."""
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
