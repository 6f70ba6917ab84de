"""A process ends in time, whatever happens at its end."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from libs.runtime.lifecycle import at_most

_ROOT = Path(__file__).parents[3]
_ENDING = """
import os, signal
from libs.runtime.lifecycle import Shutdown, at_end, run

async def main(shutdown: Shutdown) -> None:
    os.kill(os.getpid(), signal.{name})
    await shutdown.wait()

class Late:
    # Python takes modules apart when it has done so with its handling of signals.
    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.{name}):
        kill(pid, number)

late = Late()
at_end(lambda: os.kill(os.getpid(), signal.{name}))
run(main)
print("to the end")
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_second_signal_changes_nothing_even_at_the_very_end(name: str) -> None:
    """Case C137 of docs/cases.md describes this behaviour."""
    ended = subprocess.run(
        [sys.executable, "-c", _ENDING.format(name=name)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout.endswith("to the end\n")) == (0, True), ended.stderr


_HANGING = """
import asyncio, os, signal, threading
from libs.runtime.lifecycle import Shutdown, run

async def main(shutdown: Shutdown) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    await shutdown.wait()
    {hang}

run(main, last_seconds=0.2)
print("to the end")
"""


@pytest.mark.parametrize(
    "hang",
    [
        "await asyncio.Event().wait()",
        # The event loop itself is blocked for ever.
        "threading.Event().wait()",
        # At its end Python waits for this thread.
        "threading.Thread(target=threading.Event().wait).start()",
    ],
)
def test_f54_the_process_ends_even_if_something_hangs_at_the_end(hang: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _HANGING.format(hang=hang)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert "ended_by_force" in ended.stdout + ended.stderr


async def test_f54_the_process_does_not_wait_for_work_that_ignores_its_cancellation() -> None:
    """A driver that waits for its own thread ignores cancellation in this way."""
    go_on = asyncio.Event()

    async def stubborn() -> None:
        while not go_on.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go_on.wait()

    assert not await at_most(0.01, stubborn())
    go_on.set()


async def test_work_that_ends_in_time_is_awaited() -> None:
    async def fails() -> None:
        raise ValueError

    assert await at_most(60, asyncio.sleep(0))
    with pytest.raises(ValueError):
        await at_most(60, fails())
