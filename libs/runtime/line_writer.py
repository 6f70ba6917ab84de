"""Writes lines in a thread, so that the caller never waits for the log."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable

# The largest number of octets that wait for a slow reader. Further lines are dropped and counted.
_MAX_WAITING_OCTETS = 8 * 1024 * 1024
# The largest number of octets of one system call, which is the size of a pipe on Linux.
_BLOCK_OCTETS = 65_536


class LineWriter:
    """Writes lines to a file descriptor in a separate thread. The log may be on a full disk, in a pipe that nobody
    reads, or on a stopped terminal. Such a log must not stop mail (F14), so `write` neither waits nor fails. Lines that
    cannot be written are dropped and counted, and the next written line tells how many were lost.
    """

    def __init__(
        self,
        describe_loss: Callable[[int], str],
        *,
        file_descriptor: int = 2,
        max_waiting_octets: int = _MAX_WAITING_OCTETS,
    ) -> None:
        """`describe_loss` makes the line that tells how many lines were lost."""
        self._describe_loss = describe_loss
        self._file_descriptor = file_descriptor
        self._max_waiting_octets = max_waiting_octets
        # This condition protects all attributes below, and wakes the thread and the callers that wait for it.
        self._changed = threading.Condition()
        self._waiting: list[bytes] = []
        self._waiting_octets = 0
        self._being_written = False
        self._untold_loss = 0
        self._inside_a_line = False
        self._thread: threading.Thread | None = None
        # This function is called with the number of lost lines, in any thread.
        self.on_loss: Callable[[int], None] = lambda _: None

    def write(self, text: str) -> None:
        """Accepts whole lines, which the thread writes. It may be called in any thread."""
        octets = text.encode("utf-8", "backslashreplace")
        with self._changed:
            if self._waiting_octets + len(octets) > self._max_waiting_octets:
                self._lose(octets.count(b"\n"))
                return
            self._waiting.append(octets)
            self._waiting_octets += len(octets)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def finish(self, seconds: float) -> None:
        """Waits until everything is written, for at most `seconds`."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._waiting or self._being_written:
                if not self._changed.wait(deadline - time.monotonic()):
                    return

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                octets = b"".join(self._waiting)
                self._waiting.clear()
                self._being_written = True
                if self._untold_loss:
                    octets = self._describe_loss(self._untold_loss).encode() + octets
                reported_loss, self._untold_loss = self._untold_loss, 0
            unwritten = self._write_out(octets)
            with self._changed:
                self._waiting_octets = sum(map(len, self._waiting))
                self._being_written = False
                if unwritten is not None:
                    lines = unwritten.count(b"\n")
                    if reported_loss and len(unwritten) == len(octets):
                        # The line about the earlier loss was not written either. It is not one of the
                        # caller's lines, so it is not counted as lost.
                        self._untold_loss += reported_loss
                        lines -= 1
                    self._lose(lines)
                self._changed.notify_all()

    def _write_out(self, octets: bytes) -> bytes | None:
        """Writes all octets. Returns the octets that could not be written, or None when all were written."""
        written = 0
        try:
            if self._inside_a_line:
                # Half of a line was written before the disk was full. The next line must not continue it.
                os.write(self._file_descriptor, b"\n")
                self._inside_a_line = False
            while written < len(octets):
                try:
                    count = os.write(self._file_descriptor, octets[written : written + _BLOCK_OCTETS])
                except BlockingIOError:
                    # Another process that shares this pipe or terminal has made it non-blocking.
                    select.select([], [self._file_descriptor], [])
                    continue
                written += count
                self._inside_a_line = octets[written - 1 : written] != b"\n"
        except (OSError, ValueError):
            return octets[written:]
        return None

    def _lose(self, lines: int) -> None:
        self._untold_loss += lines
        self.on_loss(lines)
