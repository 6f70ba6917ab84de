"""The start and the end of a process: the event loop, the signals, and the order of stopping."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import structlog
import uvloop

from libs.runtime import processors, service_manager

log = structlog.get_logger(__name__)


# A process that still runs for this time after it was told to end is ended by force (F54). No orderly end takes this
# long.
LAST_SECONDS = 120.0
_LAST_LINE_SECONDS = 1.0

# The longest wait for a server that the process needs, and the pause between two tries to reach it.
SERVER_SECONDS = 60.0
_SERVER_PAUSE_SECONDS = 2.0

# The functions that are called when `run` ends, with or without an error. They are not called when the process is ended
# by force.
_at_end: list[Callable[[], None]] = []


def at_end(end: Callable[[], None]) -> None:
    """Registers a function that is called when `run` ends."""
    _at_end.append(end)


class StartupError(Exception):
    """The process cannot start; the message tells the operator why, in one line."""

    status = 1


class SettingsError(StartupError):
    """The settings are wrong, so another start would not help. The exit status is 2, as for wrong arguments."""

    status = 2


class UnreachableServerError(StartupError):
    """A server that the process needs cannot be reached now. The message has its host and port."""


class EndedEarlyError(StartupError):
    """The process was told to end before it had started."""

    status = 0


class Shutdown:
    """The event that ends the process. It is set once, by SIGTERM, SIGINT or `request`. A second signal changes nothing
    (C137).
    """

    def __init__(self, last_seconds: float = 0) -> None:
        """The process is ended by force when it still runs `last_seconds` after the request. 0 means never."""
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
                service_manager.tell_stopping(self._last_seconds)
                end_after(self._last_seconds)

    def allow(self, seconds: float) -> None:
        """Allows the end of the process to take at least the given seconds, if its time is limited."""
        if self._last_seconds:
            self._last_seconds = max(self._last_seconds, seconds)

    async def wait(self) -> None:
        """Waits until shutdown is requested."""
        await self._event.wait()


def end_after(seconds: float) -> None:
    """Ends the process with status 1 when it still runs after the given seconds. The event loop, another thread, or the
    end of the Python interpreter may hang. So this function uses its own thread and os._exit.
    """

    def end() -> None:
        # Writing the line may also hang, if nobody reads the log.
        last_line = threading.Thread(
            target=log.error, args=("ended_by_force",), kwargs={"seconds": seconds}, daemon=True
        )
        last_line.start()
        last_line.join(_LAST_LINE_SECONDS)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def run(main: Callable[[Shutdown], Coroutine[Any, Any, None]], last_seconds: float = LAST_SECONDS) -> None:
    """Runs `main` on uvloop until it returns; SIGTERM and SIGINT set its Shutdown.

    Ends the process on StartupError, and by force when it still runs `last_seconds` after it was told to end.
    """

    async def supervised() -> None:
        shutdown = Shutdown(last_seconds)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, shutdown.request, number.name)
        watchdog = loop.create_task(service_manager.tell_alive_for_ever())
        try:
            await main(shutdown)
        finally:
            watchdog.cancel()
            if not shutdown.requested:
                end_after(last_seconds)
            # At its end, Python restores the default handlers, and then a second signal would end the process with the
            # status of a killed process (C137). Ignored signals stay ignored.
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)

    processors.use_batch_scheduling()
    try:
        uvloop.run(supervised())
    except StartupError as error:
        log.error("startup_failed", reason=str(error))
        sys.exit(error.status)
    finally:
        for end in _at_end:
            end()


class Background:
    """Tasks that run as long as the process. When one ends with an exception, the process stops and reports it."""

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
        """Cancels the running tasks and waits for them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def wait_for_server(reach: Callable[[], Awaitable[None]], shutdown: Shutdown) -> None:
    """Calls `reach` until it no longer raises UnreachableServerError. After SERVER_SECONDS the error is raised.

    Servers that are started together become ready in any order (F13). Raises EndedEarlyError when shutdown is
    requested.
    """
    began = time.monotonic()
    while True:
        try:
            await reach()
            return
        except UnreachableServerError as error:
            left = SERVER_SECONDS - (time.monotonic() - began)
            if left <= 0:
                raise
            log.warning("waiting_for_server", reason=str(error), seconds_left=round(left))
        if await at_most(_SERVER_PAUSE_SECONDS, shutdown.wait()):
            raise EndedEarlyError("the process was told to end while it waited for a server")


async def finished_within(seconds: float, work: Awaitable[Any]) -> bool:
    """Waits at most `seconds` for `work`, then cancels it. Returns whether it finished."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await work
            return True
    return False


async def at_most(seconds: float, work: Coroutine[Any, Any, Any]) -> bool:
    """Waits at most `seconds` for `work`, then cancels it. Returns whether it finished. Raises the errors of `work`.
    Unlike `finished_within`, it does not wait for the end of the cancelled work, because database drivers may catch a
    cancellation and continue (F54). It runs `work` in a new task.
    """
    task = asyncio.ensure_future(work)
    # The exception is fetched, so that asyncio does not report it when nobody waits for the task any more.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()
    if task in done:
        task.result()
    return task in done


def write_private(path: Path, content: bytes) -> None:
    """Replaces the file in one step, after the new content was written to the disk. Only the owner can read the new
    file (mode 0600). Raises OSError.
    """
    with _private_file(path, content) as fresh:
        fresh.replace(path)


def write_private_once(path: Path, content: bytes) -> None:
    """Writes a file as `write_private` does, but never replaces an existing file. If several processes call this
    function, the file of the first process stays.
    """
    with _private_file(path, content) as fresh, contextlib.suppress(FileExistsError):
        path.hardlink_to(fresh)


@contextlib.contextmanager
def _private_file(beside: Path, content: bytes) -> Iterator[Path]:
    """Makes a file with this content in the folder of `beside`. The new file is removed at the end, unless it was
    renamed.
    """
    file, name = tempfile.mkstemp(dir=beside.parent, prefix=f".{beside.name}.")
    fresh = Path(name)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)
