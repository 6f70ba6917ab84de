"""Child processes: they never outlive their parent, their output is shown, and they are ended in order."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections import deque
from pathlib import Path

from libs.runtime.service_manager import SOCKET_VARIABLE
from services.suite.output import Output
from services.suite.topology import Process

_PR_SET_PDEATHSIG = 1
_LINE_LIMIT = 1024 * 1024
# The number of lines of each child that are shown again when it dies.
_LAST_LINES = 12
# The longest time for reading the output of a child that has ended, because a worker that the child left behind may
# still hold the pipe.
_OUTPUT_SECONDS = 1.0
# The time for the end of a child that did not report how long it needs.
_STOP_SECONDS = 30.0
# A child gets this time in addition to the time that it requests, before it is killed.
_STOP_MARGIN_SECONDS = 10.0

# The library is loaded here, because only few calls are safe between fork and exec.
_LIBC = ctypes.CDLL(None)


class Child:
    """A service that runs, has run, or will run. `ready` is set from the report that it is ready until it ends."""

    def __init__(self, process: Process, run_folder: Path, output: Output) -> None:
        self.process = process
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self.ready = asyncio.Event()
        self._stop_seconds = _STOP_SECONDS
        self._pid_file = run_folder / f"{process.name}.pid"
        self._output = output
        self._running: asyncio.subprocess.Process | None = None
        self._output_tasks: list[asyncio.Task[None]] = []

    async def start(self, notify_address: str) -> None:
        """Starts the service and writes its pid to `<run folder>/<name>.pid`."""
        self.ready.clear()
        self.last_lines.clear()
        self._stop_seconds = _STOP_SECONDS
        self._running = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"services.{self.process.service}",
            env={**self.process.environment, SOCKET_VARIABLE: notify_address},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Each child has its own session, so that Ctrl-C in a terminal reaches only the parent, which stops the
            # children in order.
            start_new_session=True,
            preexec_fn=_end_with_parent,
            limit=_LINE_LIMIT,
        )
        # A full disk must not end the running services.
        with contextlib.suppress(OSError):
            self._pid_file.write_text(f"{self._running.pid}\n")
        self._output_tasks = []
        for stream in (self._running.stdout, self._running.stderr):
            assert stream is not None  # noqa: S101 - both are PIPE
            self._output_tasks.append(asyncio.create_task(self._show(stream)))

    @property
    def pid(self) -> int:
        """Returns the process id of the last start. It is 0 before the first start."""
        return 0 if self._running is None else self._running.pid

    @property
    def runs(self) -> bool:
        return self._running is not None and self._running.returncode is None

    async def wait(self) -> int:
        """Waits until the child has ended and its output was shown. Returns the exit status, which is negative for a
        signal.
        """
        if self._running is None:
            return 0
        status = await self._running.wait()
        self.ready.clear()
        if self._output_tasks:
            await asyncio.wait(self._output_tasks, timeout=_OUTPUT_SECONDS)
        with contextlib.suppress(OSError):
            self._pid_file.unlink(missing_ok=True)
        return status

    def needs_time(self, seconds: float) -> None:
        """Notes that the child has reported that it ends within the given seconds."""
        self._stop_seconds = seconds + _STOP_MARGIN_SECONDS

    async def stop(self) -> None:
        """Sends SIGTERM. If the child runs longer than the time that it reported, it and its workers get SIGKILL."""
        if not self.runs:
            return
        self._signal(signal.SIGTERM)
        loop = asyncio.get_running_loop()
        began = loop.time()
        ended = asyncio.create_task(self.wait())
        # After this signal the child reports how much time it needs.
        while not ended.done() and loop.time() < began + self._stop_seconds:
            await asyncio.wait({ended}, timeout=min(1.0, began + self._stop_seconds - loop.time()))
        if not ended.done():
            self._output.tell(
                "child_killed",
                f"posthouse: {self.process.name} still runs after {self._stop_seconds:g} s and is killed",
                level="error",
                child=self.process.name,
            )
            self.kill()
        await ended

    def kill(self) -> None:
        """Sends SIGKILL to the service and to its workers, which are in its process group."""
        if self.runs:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._running is not None:
            with contextlib.suppress(ProcessLookupError):
                self._running.send_signal(number)

    async def _show(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # The line is longer than the limit, so the stream has dropped it.
                self._output.show(self.process.name, f"(a line of more than {_LINE_LIMIT} octets is left out)")
                continue
            if not line:
                return
            text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
            self.last_lines.append(text)
            self._output.show(self.process.name, text)


def _end_with_parent() -> None:
    """Runs in the child before exec. The child gets SIGTERM when its parent dies, whatever kills the parent."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
