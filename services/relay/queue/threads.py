"""Threads that run pieces of work one after the other. Each thread has its own connection.

Passing work to such a thread costs the event loop one future and one wake-up. An executor of the standard library needs
two futures, their locks and a callback between them, which costs more than SQLite's work on a small transaction.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar


class Closable(Protocol):
    def close(self) -> None: ...


Own = TypeVar("Own", bound=Closable)
T = TypeVar("T")


class Threads(Generic[Own]):
    """A number of threads. Each gets its own object from `open_own`, which is made and closed in the thread."""

    def __init__(self, name: str, count: int, open_own: Callable[[], Own]) -> None:
        self._open_own = open_own
        self._tasks: SimpleQueue[tuple[Callable[[Own], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._serve, name=name, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    async def run(self, work: Callable[[Own], T]) -> T:
        """Runs `work` in one of the threads, and returns or raises its result. If the caller is cancelled before the
        work begins, the work is not run.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tasks.put((work, future))
        return await future

    def close(self) -> None:
        """Waits until all work that was handed over is done."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        own = self._open_own()
        while (task := self._tasks.get()) is not None:
            _do(own, *task)
            # The reference to the finished task is dropped, because the task may use much memory, and the next one may
            # come much later.
            del task
        own.close()


def _do(own: Own, work: Callable[[Own], Any], future: asyncio.Future[Any]) -> None:
    if future.cancelled():
        return
    result: Any = None
    failure: BaseException | None = None
    try:
        result = work(own)
    except BaseException as error:  # noqa: BLE001 - raised where it is waited for
        failure = error
    loop = future.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(_resolve, future, result, failure)


def _resolve(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
