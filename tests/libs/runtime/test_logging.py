"""The log: one line an event, in order; where it can't be written a line is lost, and nothing else."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from libs.runtime.logging import Output, _Unfailing

ROOT = Path(__file__).parents[3]


class SmallDisk(io.StringIO):
    """Text goes in while there is room."""

    full = False
    on_flush: Callable[[], None] | None = None

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)

    def flush(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.on_flush is not None:
            self.on_flush()


def test_lines_are_lost_on_a_full_disk_and_counted_when_there_is_room_again() -> None:
    """C133"""
    disk = SmallDisk()
    stream = _Unfailing(disk)
    stream.write("one\n")
    disk.full = True
    for line in ("two\n", "three\n"):
        stream.write(line)
        stream.flush()
    disk.full = False
    stream.write("four\n")
    first, lost, last = disk.getvalue().splitlines()
    assert (first, last) == ("one", "four")
    assert json.loads(lost)["count"] == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_process_goes_on_when_its_log_is_full() -> None:
    code = (
        "import logging, structlog, libs.runtime.logging as own; own.configure('relay', 'info');"
        "structlog.get_logger().info('submission_stored'); logging.getLogger('grpc').error('x'); print('went on')"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=full, text=True, check=False
        )
    assert (done.stdout, done.returncode) == ("went on\n", 0)


async def test_gathered_lines_are_written_together_soon_and_before_those_of_others() -> None:
    disk = SmallDisk()
    lines = Output(_Unfailing(disk))
    lines.gather("one\n")
    lines.gather("two\n")
    assert disk.getvalue() == ""
    lines.write("three\n")
    assert disk.getvalue() == "one\ntwo\nthree\n"
    written = asyncio.Event()
    disk.on_flush = written.set
    lines.gather("four\n")
    assert "four" not in disk.getvalue()
    await asyncio.wait_for(written.wait(), 60)
    assert disk.getvalue().endswith("four\n")


async def test_gathered_lines_that_are_lost_are_counted_each() -> None:
    disk = SmallDisk()
    lines = Output(_Unfailing(disk))
    disk.full = True
    lines.gather("one\n")
    lines.gather("two\n")
    lines.flush()
    disk.full = False
    lines.write("three\n")
    assert json.loads(disk.getvalue().splitlines()[0])["count"] == 2


async def test_many_lines_do_not_wait() -> None:
    disk = SmallDisk()
    lines = Output(_Unfailing(disk))
    for number in range(500):
        lines.gather(f"{number}\n")
    assert disk.getvalue().count("\n") == 500


def test_without_an_event_loop_nothing_is_gathered() -> None:
    disk = SmallDisk()
    Output(_Unfailing(disk)).gather("one\n")
    assert disk.getvalue() == "one\n"


_TELLS = """
import asyncio, sys, structlog, libs.runtime.logging as own
own.configure("relay", "info", console=sys.argv[1] == "console")
event = own.FrequentEvent("relay", "delivery_attempt")

async def main():
    event.tell(1_700_000_000_000_001, f'"text": {own.quoted(chr(10) + chr(34))}')
    structlog.get_logger().info("later", sender=b"\\xff@x")
    event.tell(1_700_000_000_999_999, '"number": 2')

asyncio.run(main())
"""


def _told(form: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _TELLS, form],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stderr.splitlines()


def test_frequent_events_look_like_all_others_and_the_end_of_the_process_writes_the_last() -> None:
    first, later, last = map(json.loads, _told("json"))
    assert first == {
        "timestamp": "2023-11-14T22:13:20.000001Z",
        "level": "info",
        "event": "delivery_attempt",
        "service": "relay",
        "text": '\n"',
    }
    assert first.keys() - {"text"} == later.keys() - {"sender"}
    assert (later["event"], later["sender"]) == ("later", "\\xff@x")
    assert (last["timestamp"], last["number"]) == ("2023-11-14T22:13:20.999999Z", 2)


def test_frequent_events_for_persons() -> None:
    first, _, last = _told("console")
    assert first.startswith("timestamp='2023-11-14T22:13:20.000001Z' level='info' event='delivery_attempt' ")
    assert last.endswith(" number=2")
