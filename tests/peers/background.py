"""One event loop in a thread of its own, in which the scripted peers run whatever the test itself runs in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")

DEADLINE_SECONDS = 60.0


class NotReachedError(AssertionError):
    """What a test waited for did not happen in its time."""


class Background:
    """A running event loop. `call` runs a coroutine in it and returns its result to this thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="peers", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[object, object, Result], seconds: float = DEADLINE_SECONDS) -> Result:
        future: Future[Result] = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(seconds)
        except TimeoutError:
            future.cancel()
            raise

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()


_background: Background | None = None
_lock = threading.Lock()


def background() -> Background:
    """The loop that all scripted peers of this process share, started at the first use."""
    global _background
    with _lock:
        if _background is None:
            _background = Background()
        return _background


class Gate:
    """Holds whatever comes to it in a peer until the test opens it.

    `reached` waits until something stands before the gate, so a test knows that its moment has come; `open` lets all
    of it pass, now and later.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._arrived = 0
        self._opened = asyncio.Event()

    @property
    def arrived(self) -> int:
        return self._arrived

    def open(self) -> None:
        background().loop.call_soon_threadsafe(self._opened.set)

    def wait_reached(self, times: int = 1, seconds: float = DEADLINE_SECONDS) -> None:
        """Blocks until `times` have come to the gate. Raises NotReachedError."""
        wait_for(self._changed, lambda: self._arrived >= times, lambda: f"{times} at the gate", seconds)

    async def reached(self, times: int = 1, seconds: float = DEADLINE_SECONDS) -> None:
        """`wait_reached` for tests that run in an event loop."""
        await asyncio.to_thread(self.wait_reached, times, seconds)

    async def passing(self) -> None:
        """For the peers: returns when the gate is open."""
        with self._changed:
            self._arrived += 1
            self._changed.notify_all()
        await self._opened.wait()


def wait_for(
    changed: threading.Condition, reached: Callable[[], bool], what: Callable[[], str], seconds: float
) -> None:
    """Waits on `changed` until `reached`. Raises NotReachedError with `what`, told after the wait."""
    with changed:
        if not changed.wait_for(reached, seconds):
            raise NotReachedError(f"not within {seconds:g} s: {what()}")
