"""A process runs on the configured processors and with the configured scheduling, as the kernel reports."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from libs.runtime import processors

_ROOT = Path(__file__).parents[3]
_PRINTING = """
import os
from libs.runtime.lifecycle import run

async def main(_):
    print(os.sched_getscheduler(0))

{before}
run(main)
"""


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", ()), ("0", (0,)), ("3,1", (3, 1)), (" 0, 2-4 ,9", (0, 2, 3, 4, 9)), ("5-5,", (5,))],
)
def test_numbers_and_ranges_of_processors_are_read(text: str, numbers: tuple[int, ...]) -> None:
    assert processors.parse(text) == numbers


@pytest.mark.parametrize("text", ["x", "-1", "1-", "1-2-3", "4-2", "0x1", "\u0661", "1;2", "1234567"])
def test_an_invalid_processor_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"processors are numbers|ends before it begins"):
        processors.parse(text)


def test_a_thread_and_its_child_threads_run_on_the_given_processors() -> None:
    everywhere = processors.usable()
    found: list[tuple[int, ...]] = []

    def keep() -> None:
        processors.set_affinity([everywhere[-1]])
        child = threading.Thread(target=lambda: found.append(processors.usable()))
        child.start()
        child.join()

    thread = threading.Thread(target=keep)
    thread.start()
    thread.join()
    assert found == [(everywhere[-1],)]
    assert processors.usable() == everywhere, "only that thread is bound to a processor"


def test_a_missing_processor_is_an_error() -> None:
    with pytest.raises(ValueError, match="can't run on 99999"):
        processors.set_affinity([99999])


@pytest.mark.parametrize(
    ("before", "policy"),
    [("", os.SCHED_BATCH), ("os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))", os.SCHED_IDLE)],
    ids=["as started", "chosen otherwise"],
)
def test_services_use_batch_scheduling_unless_another_class_is_set(before: str, policy: int) -> None:
    printed = subprocess.run(
        [sys.executable, "-c", _PRINTING.format(before=before)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert int(printed.stdout.split()[-1]) == policy
