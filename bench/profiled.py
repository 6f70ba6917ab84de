"""Runs a service under a profiler, which signals start and stop: `python -m bench.profiled calls|samples OUT MODULE`.

SIGUSR1 starts the profiler. SIGUSR2 stops it and writes the results. So the figures include neither the start of the
process nor its idle time.
"""

from __future__ import annotations

import contextlib
import cProfile
import json
import os
import runpy
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

_SAMPLE_SECONDS = 0.001


class _Profiler(Protocol):
    def begin(self) -> None: ...

    def end(self, out: Path) -> None: ...


class Calls:
    """Runs cProfile in every thread. The counts of calls are exact. The CPU time is too high where many small calls are
    made. Only the CPU time of the thread counts, so waiting is not included, not even for the interpreter's lock.
    """

    def __init__(self) -> None:
        self._main = cProfile.Profile(time.thread_time)
        self._threads: dict[str, cProfile.Profile] = {}
        self._before: dict[str, dict[str, Row]] = {}
        threading.setprofile(self._adopt)

    def begin(self) -> None:
        self._before = {name: _rows(profile) for name, profile in self._threads.items()}
        self._main.enable()

    def end(self, out: Path) -> None:
        self._main.disable()
        rows_by_thread = {"main": _rows(self._main)}
        for name, profile in self._threads.items():
            before = self._before.get(name, {})
            rows = {key: row.since(before[key]) if key in before else row for key, row in _rows(profile).items()}
            rows_by_thread[name] = {key: row for key, row in rows.items() if row.calls}
        plain = {name: [(key, *astuple(row)) for key, row in rows.items()] for name, rows in rows_by_thread.items()}
        out.write_text(json.dumps(plain))

    def _adopt(self, *_event: object) -> None:
        """Gives a new thread its own profile, at its first event."""
        profile = cProfile.Profile(time.thread_time)
        self._threads[f"{threading.current_thread().name} #{len(self._threads)}"] = profile
        profile.enable()


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one function. `own` is the CPU time in the function itself, and `total` includes all functions
    that it called. Both are in seconds.
    """

    calls: int
    own: float
    total: float

    def since(self, before: Row) -> Row:
        return Row(self.calls - before.calls, self.own - before.own, self.total - before.total)


def _rows(profile: cProfile.Profile) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for entry in profile.getstats():
        code = entry.code
        key = code if isinstance(code, str) else f"{code.co_filename}:{code.co_firstlineno} {code.co_qualname}"
        so_far = rows.get(key, Row(0, 0.0, 0.0))
        rows[key] = Row(so_far.calls + entry.callcount, so_far.own + entry.inlinetime, so_far.total + entry.totaltime)
    return rows


class Samples:
    """Samples the main thread's stack at each millisecond of the process's CPU time. The shares of functions are
    correct, but there are no counts of calls.

    Python sees the signal between two byte codes, so the time of a C function is counted for the line that called it.
    """

    def __init__(self) -> None:
        self._stacks: Counter[tuple[str, ...]] = Counter()

    def begin(self) -> None:
        signal.signal(signal.SIGPROF, self._take)
        signal.setitimer(signal.ITIMER_PROF, _SAMPLE_SECONDS, _SAMPLE_SECONDS)

    def end(self, out: Path) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        out.write_text(json.dumps([[list(stack), count] for stack, count in self._stacks.items()]))

    def _take(self, _number: int, frame: FrameType | None) -> None:
        self._stacks[tuple(_named(frame))] += 1


def _named(frame: FrameType | None) -> Iterator[str]:
    """Yields `file:line function`, from the innermost frame outwards."""
    while frame is not None:
        code = frame.f_code
        yield f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}"
        frame = frame.f_back


def main() -> None:
    kind, out, module = sys.argv[1:4]
    profiler: _Profiler = Calls() if kind == "calls" else Samples()

    def end(_number: int, _frame: FrameType | None) -> None:
        fresh = Path(out + ".new")
        profiler.end(fresh)
        fresh.replace(out)

    signal.signal(signal.SIGUSR1, lambda _number, _frame: profiler.begin())
    signal.signal(signal.SIGUSR2, end)
    # The file tells the parent process that the signal handlers are ready.
    Path(out + ".pid").write_text(str(os.getpid()))
    sys.argv = [module]
    with contextlib.suppress(SystemExit):
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
