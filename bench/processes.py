"""Measures the CPU time and the memory of processes in /proc."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

_TICKS = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS = 0.5


def cpu_seconds(pid: int) -> float:
    """Returns the user and system time of a process and of the children that it has waited for, or 0 when
    it has ended.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(fields[index]) for index in (11, 12, 13, 14)) / _TICKS


def memory_octets(pid: int) -> int:
    """Returns the proportional set size of a process: its own pages, and its share of pages that it shares with others.
    The result is 0 when the process has ended.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


def total_cpu(processes: Mapping[str, Sequence[int]]) -> dict[str, float]:
    return {name: sum(map(cpu_seconds, pids)) for name, pids in processes.items()}


def total_memory(processes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    return {name: sum(map(memory_octets, pids)) for name, pids in processes.items()}


class Watched(Protocol):
    """A program whose processes can be measured."""

    def processes(self) -> Mapping[str, Sequence[int]]:
        """Returns the process ids, by the name that the report has for each kind of process."""
        ...


class MemoryWatch:
    """Reads the memory of each process every half a second while the block runs, and keeps the highest value."""

    def __init__(self, gateway: Watched) -> None:
        self._gateway = gateway
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.highest: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            for name, octets in total_memory(self._gateway.processes()).items():
                self.highest[name] = max(octets, self.highest.get(name, 0))
            if self._ended.wait(_SAMPLE_SECONDS):
                return
