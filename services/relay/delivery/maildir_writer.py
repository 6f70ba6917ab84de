"""Threads that write into Maildirs. A file system that does not answer may block the threads that write to it, but no
other threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from services.relay.model.outcome import ReplyMeaning

_THREADS = 32
# The largest number of these threads that work for the Maildirs of one domain.
_SHARE = 4

Store = Callable[[str, bytes, bytes, bytes], ReplyMeaning]


class MaildirWriter:
    """Starts threads when they are needed. There is one in each process."""

    def __init__(self, store_one: Store) -> None:
        self._store = store_one
        self._threads = ThreadPoolExecutor(_THREADS, "maildir")
        # The key is the template of the path. An entry exists only while a write there runs or waits.
        self._places: dict[str, asyncio.Semaphore] = {}
        self._users: dict[str, int] = {}

    async def store(self, template: str, sender: bytes, recipient: bytes, content: bytes) -> ReplyMeaning:
        """Writes one message durably (maildir.store)."""
        places = self._places.get(template)
        if places is None:
            places = self._places[template] = asyncio.Semaphore(_SHARE)
        self._users[template] = self._users.get(template, 0) + 1
        try:
            await places.acquire()
        except BaseException:
            self._left(template)
            raise
        loop = asyncio.get_running_loop()
        writing = self._threads.submit(self._store, template, sender, recipient, content)

        def ended(_: Future[ReplyMeaning]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._release, template, places)

        # The caller may give up waiting, but the thread becomes free only when the write returns.
        writing.add_done_callback(ended)
        return await asyncio.wrap_future(writing)

    def close(self) -> None:
        """Accepts no more writes. Writes that have begun are completed."""
        self._threads.shutdown(wait=False)

    def _release(self, template: str, places: asyncio.Semaphore) -> None:
        places.release()
        self._left(template)

    def _left(self, template: str) -> None:
        self._users[template] -= 1
        if not self._users[template]:
            del self._users[template], self._places[template]
