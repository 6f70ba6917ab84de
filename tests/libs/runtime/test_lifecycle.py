"""How a process ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
    """C137"""
    ended = subprocess.run(
        [sys.executable, "-c", _ENDING.format(name=name)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout.endswith("to the end\n")) == (0, True), ended.stderr
