"""Which processors a process runs on, and how eagerly."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection


def parse(text: str) -> tuple[int, ...]:
    """Processors by their numbers as the system counts them, `0,2-4`, in the order given. Raises ValueError."""
    return tuple(number for part in map(str.strip, text.split(",")) if part for number in _range(part))


def _range(part: str) -> range:
    first, dash, last = part.partition("-")
    ends = [first, last] if dash else [first]
    if not all(end.isascii() and end.isdigit() and len(end) <= 5 for end in ends):
        raise ValueError(f"processors are numbers as 0,2-4, not {part!r}")
    found = range(int(ends[0]), int(ends[-1]) + 1)
    if not found:
        raise ValueError(f"{part!r} ends before it begins")
    return found


def usable() -> tuple[int, ...]:
    """Those that this thread may run on; empty where the system does not say."""
    try:
        return tuple(sorted(os.sched_getaffinity(0)))
    except (AttributeError, OSError):
        return ()


def keep_to(processors: Collection[int]) -> None:
    """This thread, and those that it starts from now on, run on these only. Raises ValueError when they can't."""
    try:
        os.sched_setaffinity(0, processors)
    except (AttributeError, OSError) as error:
        raise ValueError(f"can't run on {','.join(map(str, processors))} ({error})") from None


def without_haste() -> None:
    """A thread that wakes up waits for the one at work on its processor instead of interrupting it (SCHED_BATCH).

    The services wake each other at every step of a session, and each interruption is two switches and a cold cache.
    Threads that are started later do as the one that starts them. What somebody chose otherwise stays.
    """
    with contextlib.suppress(AttributeError, OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
