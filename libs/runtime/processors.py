"""The processors on which a process runs, and its scheduling class."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection


def parse(text: str) -> tuple[int, ...]:
    """Returns the numbers of the processors that a setting such as `0,2-4` names, in the order of the setting. Raises
    ValueError.
    """
    return tuple(number for part in map(str.strip, text.split(",")) if part for number in _range(part))


def _range(part: str) -> range:
    first, dash, last = part.partition("-")
    ends = [first, last] if dash else [first]
    if not all(end.isascii() and end.isdigit() and len(end) <= 5 for end in ends):
        raise ValueError(f"processors are numbers such as 0,2-4, not {part!r}")
    numbers = range(int(ends[0]), int(ends[-1]) + 1)
    if not numbers:
        raise ValueError(f"{part!r} ends before it begins")
    return numbers


def usable() -> tuple[int, ...]:
    """Returns the processors on which this thread may run. The result is empty where the system does not tell."""
    try:
        return tuple(sorted(os.sched_getaffinity(0)))
    except (AttributeError, OSError):
        return ()


def set_affinity(processors: Collection[int]) -> None:
    """Lets this thread, and those that it starts from now on, run only on these processors.

    Raises ValueError when the system refuses.
    """
    try:
        os.sched_setaffinity(0, processors)
    except (AttributeError, OSError) as error:
        raise ValueError(f"can't run on {','.join(map(str, processors))} ({error})") from None


def use_batch_scheduling() -> None:
    """Puts this thread, and those that it starts later, under SCHED_BATCH, unless another class is set.

    Under SCHED_BATCH, a thread that wakes up does not interrupt the thread that runs on its processor. The services
    wake each other at every step of a session, and each interruption costs two switches of context and a cold cache.
    """
    with contextlib.suppress(AttributeError, OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
