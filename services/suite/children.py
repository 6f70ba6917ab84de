"""Child processes: started so that none outlives its parent, their output prefixed, ended in order."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from services.suite.topology import Process

_PR_SET_PDEATHSIG = 1
_LINE_LIMIT = 1024 * 1024
# Kept of each child, to be shown when it dies.
_LAST_LINES = 12


class Child:
    """A running service."""

    def __init__(self, process: Process, run_folder: Path, print_line: Callable[[str], None], width: int) -> None:
        self.process = process
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._pid_file = run_folder / f"{process.name}.pid"
        self._print_line = print_line
        self._prefix = f"{process.name:<{width}} | "
        self._running: asyncio.subprocess.Process | None = None
        self._started_at = 0.0
        self._pumps: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Starts the service and writes its pid to `<run folder>/<name>.pid`."""
        self._running = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"services.{self.process.service}",
            env=dict(self.process.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Its own session: Ctrl-C in a terminal reaches only the parent, which stops the children in order.
            start_new_session=True,
            preexec_fn=_end_with_parent,
            limit=_LINE_LIMIT,
        )
        self._pid_file.write_text(f"{self._running.pid}\n")
        self._started_at = time.monotonic()
        self._pumps = []
        for stream in (self._running.stdout, self._running.stderr):
            assert stream is not None  # noqa: S101 - both are PIPE
            self._pumps.append(asyncio.create_task(self._pump(stream)))

    @property
    def age(self) -> float:
        """Seconds since its last start."""
        return time.monotonic() - self._started_at

    async def wait(self) -> int:
        """The exit status, once it ended and all its output was shown; negative for a signal."""
        if self._running is None:
            return 0
        status = await self._running.wait()
        await asyncio.gather(*self._pumps)
        self._pid_file.unlink(missing_ok=True)
        return status

    async def stop(self, seconds: float) -> None:
        """SIGTERM, and SIGKILL to what still runs after `seconds`."""
        if self._running is None or self._running.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds):
                await self.wait()
        except TimeoutError:
            self._print_line(f"{self._prefix}still running after {seconds:g} s, killed")
            self._signal(signal.SIGKILL)
            await self.wait()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._running is not None:
            with contextlib.suppress(ProcessLookupError):
                self._running.send_signal(number)

    async def _pump(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than the limit: the stream has dropped it
                continue
            if not line:
                return
            text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
            self.last_lines.append(text)
            self._print_line(self._prefix + text)


def _end_with_parent() -> None:
    """In the child before exec: SIGTERM when the parent dies, whatever kills it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
