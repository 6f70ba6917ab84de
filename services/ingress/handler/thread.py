"""The thread in which a site's handler runs, with its own event loop, because handlers may block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class HandlerThread:
    """One thread and its event loop, until `stop`. Callers wait in their own event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        # A handler that blocks without end must not prevent the process from ending.
        self._thread = threading.Thread(target=self._run, name="handler", daemon=True)
        self._thread.start()

    async def call(self, function: Callable[..., Awaitable[T]], *arguments: object) -> T:
        """Returns the result of the function's coroutine. An exception that would end the thread is raised as
        RuntimeError. A cancellation cancels the coroutine, which never runs if it has not begun.
        """
        future = asyncio.run_coroutine_threadsafe(_guarded(function, arguments), self.loop)
        return await asyncio.wrap_future(future)

    def stop(self) -> None:
        """Ends the event loop as soon as the running code allows it."""
        self.loop.call_soon_threadsafe(self.loop.stop)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()


async def _guarded(function: Callable[..., Awaitable[T]], arguments: tuple[object, ...]) -> T:
    try:
        return await function(*arguments)
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"the handler raised {type(error).__name__}") from error
