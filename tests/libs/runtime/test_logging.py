"""The log has one line for each event, in order. A line that cannot be written is lost, and no other line."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from libs.runtime.logging import Output

ROOT = Path(__file__).parents[3]


class Lines:
    """Collects the lines that an Output writes. A test can wait for them."""

    def __init__(self) -> None:
        self.text = ""
        self.written = asyncio.Event()

    def write(self, text: str) -> None:
        self.text += text
        self.written.set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_process_continues_when_its_log_is_full() -> None:
    code = (
        "import logging, structlog, libs.runtime.logging as own; own.configure('relay', 'info');"
        "structlog.get_logger().info('submission_stored'); logging.getLogger('grpc').error('x'); print('went on')"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=full, text=True, check=False
        )
    assert (done.stdout, done.returncode) == ("went on\n", 0)


async def test_collected_lines_are_written_together_soon_and_before_other_lines() -> None:
    sink = Lines()
    lines = Output(sink)
    lines.gather("one\n")
    lines.gather("two\n")
    assert sink.text == ""
    lines.write("three\n")
    assert sink.text == "one\ntwo\nthree\n"
    sink.written.clear()
    lines.gather("four\n")
    assert "four" not in sink.text
    await asyncio.wait_for(sink.written.wait(), 60)
    assert sink.text.endswith("four\n")


async def test_collected_lines_are_written_when_there_are_many() -> None:
    sink = Lines()
    lines = Output(sink)
    for number in range(500):
        lines.gather(f"{number}\n")
    assert sink.text.count("\n") == 500


def test_without_an_event_loop_lines_are_written_at_once() -> None:
    sink = Lines()
    Output(sink).gather("one\n")
    assert sink.text == "one\n"


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


def test_frequent_events_have_the_same_format_as_others_and_are_all_written_at_the_end() -> None:
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


def test_frequent_events_are_readable_in_the_console_format() -> None:
    first, later, last = _told("console")
    assert first == r'22:13:20Z info    delivery_attempt text="\n\""'
    assert later.endswith(r'Z info    later sender="\\xff@x"')
    assert last == "22:13:20Z info    delivery_attempt number=2"
