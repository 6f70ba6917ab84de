"""One event loop in a thread of its own.

The scripted peers run in it, whether or not the test runs in an event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")

DEADLINE_SECONDS = 60.0


class NotReachedError(AssertionError):
    """A condition did not become true within the time for which the test waited."""


class Background:
    """A running event loop in a thread.

    `call` runs a coroutine in this loop and returns its result to the calling thread.
    """

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
    """Returns the loop that all scripted peers of this process share. The first call starts it."""
    global _background
    with _lock:
        if _background is None:
            _background = Background()
        return _background


class Gate:
    """A point at which a peer waits until the test opens the gate.

    `reached` returns when the peer has arrived at the gate, so the test knows that the peer waits there. After `open`,
    the gate stops nothing more: the peer goes on, and nothing waits at the gate later.
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
        """Blocks until the gate was reached `times` times. Raises NotReachedError."""
        wait_for(self._changed, lambda: self._arrived >= times, lambda: f"the gate was reached {times} times", seconds)

    async def reached(self, times: int = 1, seconds: float = DEADLINE_SECONDS) -> None:
        """Waits as `wait_reached` does, for tests that run in an event loop."""
        await asyncio.to_thread(self.wait_reached, times, seconds)

    async def passing(self) -> None:
        """Waits until the gate is open. Peers call this."""
        with self._changed:
            self._arrived += 1
            self._changed.notify_all()
        await self._opened.wait()


def wait_for(
    changed: threading.Condition, reached: Callable[[], bool], what: Callable[[], str], seconds: float
) -> None:
    """Waits on the condition variable `changed` until `reached` returns true.

    Raises NotReachedError with the text that `what` returns; `what` is called after the wait.
    """
    with changed:
        if not changed.wait_for(reached, seconds):
            raise NotReachedError(f"this did not become true within {seconds:g} s: {what()}")
