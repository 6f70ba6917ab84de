"""How a process begins and ends: the event loop, the signals, the order of stopping."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import structlog
import uvloop

from libs.runtime import processors

log = structlog.get_logger(__name__)


# A process that still runs so many seconds after it was told to end is ended (F54). No orderly end takes as long.
LAST_SECONDS = 120.0
_WORD_SECONDS = 1.0

# Called when the process ends, whatever ends it.
_at_end: list[Callable[[], None]] = []


def at_end(end: Callable[[], None]) -> None:
    """`end` is called when `run` ends."""
    _at_end.append(end)


class StartupError(Exception):
    """The process can't start; the message says why in one line for the operator."""

    status = 1


class SettingsError(StartupError):
    """The settings are wrong, so that starting again would change nothing. Status 2, as for wrong arguments."""

    status = 2


class Shutdown:
    """Set once, by SIGTERM or SIGINT or `request`; a second signal changes nothing (C137)."""

    def __init__(self, last_seconds: float = 0) -> None:
        """`last_seconds`: from the request on, the longest that the process may still run; 0: as long as it takes."""
        self._event = asyncio.Event()
        self._last_seconds = last_seconds

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def request(self, reason: str) -> None:
        if not self._event.is_set():
            log.info("shutdown_requested", reason=reason)
            self._event.set()
            if self._last_seconds:
                end_after(self._last_seconds)

    async def wait(self) -> None:
        """Returns when shutdown is requested."""
        await self._event.wait()


def end_after(seconds: float) -> None:
    """Ends the process with 1 when it still runs after so many seconds.

    What hangs may be the event loop, a thread, or Python's own end, so nothing of these is needed to end it.
    """

    def end() -> None:
        # The word about it may hang itself, where nobody reads the log.
        word = threading.Thread(target=log.error, args=("ended_by_force",), kwargs={"seconds": seconds}, daemon=True)
        word.start()
        word.join(_WORD_SECONDS)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def run(main: Callable[[Shutdown], Coroutine[Any, Any, None]], last_seconds: float = LAST_SECONDS) -> None:
    """Runs `main` on uvloop until it returns; signals set its Shutdown. Ends the process on StartupError, and when it
    still runs `last_seconds` after it was told to end.
    """

    async def supervised() -> None:
        shutdown = Shutdown(last_seconds)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, shutdown.request, number.name)
        try:
            await main(shutdown)
        finally:
            if not shutdown.requested:
                end_after(last_seconds)
            # Python's own end gives the signals back to the system, by which a second one ends a process that is about
            # to end by itself, with the status of one that was killed (C137). What is ignored stays so.
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)

    processors.without_haste()
    try:
        uvloop.run(supervised())
    except StartupError as error:
        log.error("startup_failed", reason=str(error))
        sys.exit(error.status)
    finally:
        for end in _at_end:
            end()


class Background:
    """Tasks that live as long as the process. One that dies of an exception stops the process, with the reason."""

    def __init__(self, shutdown: Shutdown) -> None:
        self._shutdown = shutdown
        self._tasks: set[asyncio.Task[None]] = set()
        self.failure: BaseException | None = None

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self.failure = self.failure or error
            log.error("background_task_died", task=task.get_name(), exc_info=error)
            self._shutdown.request(f"{task.get_name()} died")

    async def stop(self) -> None:
        """Cancels what still runs and waits for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def within(seconds: float, work: Awaitable[Any]) -> bool:
    """Waits at most `seconds` for `work`; false when it was cut off."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await work
            return True
    return False


async def at_most(seconds: float, work: Coroutine[Any, Any, Any]) -> bool:
    """Waits at most `seconds` for `work`; false when it had not ended then. What it raises is raised.

    Unlike `within` it does not wait for the cancelled work either, which may take its cancellation for something else
    and go on, as database drivers do (F54). It costs a task.
    """
    task = asyncio.ensure_future(work)
    # An end that nobody waits for any more is not reported as lost.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()
    if task in done:
        task.result()
    return task in done


def write_private(path: Path, content: bytes) -> None:
    """Replaces the file in one step, readable by its owner alone (mode 0600)."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_bytes(content)
    fresh.replace(path)
