"""Logging never blocks and never fails, whatever reads the log (F14, C133)."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from libs.runtime.line_writer import LineWriter
from tests.peers.process import until

ROOT = Path(__file__).parents[3]


def described(count: int) -> str:
    return f"lost {count}\n"


@pytest.fixture
def pipe() -> tuple[int, int]:
    return os.pipe()


def read_until(reader: int, end: bytes) -> bytes:
    octets = b""
    while not octets.endswith(end):
        block = os.read(reader, 65_536)
        assert block, octets
        octets += block
    return octets


def counting(writer: LineWriter) -> Callable[[], int]:
    """Returns a function that returns how many lines were lost so far."""
    losses: list[int] = []
    writer.on_loss = losses.append
    return lambda: sum(losses)


def test_a_pipe_that_nobody_reads_causes_no_delay_and_lost_lines_are_counted(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    writer = LineWriter(described, file_descriptor=end, max_waiting_octets=200_000)
    lost = counting(writer)
    line = "x" * 999 + "\n"
    for _ in range(1000):
        writer.write(line)
    assert 700 < lost() < 1000, "the pipe and the writer hold fewer than 300 lines"
    lost_before = lost()
    octets = b""
    while octets.count(b"x\n") < 1000 - lost_before:
        octets += os.read(reader, 65_536)
    # The writer counts as full until its thread has seen that everything is written.
    writer.finish(60)
    writer.write("next\n")
    lines = (octets + read_until(reader, b"next\n")).decode().splitlines(keepends=True)
    told = [int(text.removeprefix("lost ")) for text in lines if text.startswith("lost ")]
    assert sum(told) == lost_before == lost()
    assert lines.count(line) == 1000 - lost_before, "every accepted line is complete"
    assert len(lines) == 1000 - lost_before + len(told) + 1


def test_a_closed_pipe_loses_lines_and_has_no_other_effect(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    writer = LineWriter(described, file_descriptor=end)
    lost = counting(writer)
    os.close(reader)
    for count in range(1, 4):
        writer.write("line\n")
        until(lambda count=count: lost() == count, "the line is counted as lost")  # type: ignore[misc]


def test_after_a_full_disk_whole_lines_are_written(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    full = os.open("/dev/full", os.O_WRONLY)
    end = os.dup(file)
    writer = LineWriter(described, file_descriptor=end)
    lost = counting(writer)
    writer.write("one\n")
    writer.finish(60)
    os.dup2(full, end)
    writer.write("two\nthree\n")
    writer.finish(60)
    assert lost() == 2
    writer.write("four\n")
    writer.finish(60)
    assert lost() == 3
    os.dup2(file, end)
    writer.write("five\n")
    writer.finish(60)
    assert path.read_text() == "one\nlost 3\nfive\n"


def test_the_line_after_an_incomplete_line_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a disk becomes full, it stores only the beginning of a line."""
    path = tmp_path / "log"
    end = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    writer = LineWriter(described, file_descriptor=end)
    lost = counting(writer)
    room = 8
    write = os.write

    def into_small_room(file_descriptor: int, octets: bytes) -> int:
        nonlocal room
        if file_descriptor != end:
            return write(file_descriptor, octets)
        if not room:
            raise OSError(28, "No space left on device")
        written = write(file_descriptor, octets[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", into_small_room)
    writer.write("first\nsecond\nthird\n")
    writer.finish(60)
    assert lost() == 2
    room = 1000
    writer.write("fourth\n")
    writer.finish(60)
    assert path.read_text() == "first\nse\nlost 2\nfourth\n"


def test_the_writer_waits_for_a_descriptor_that_somebody_made_non_blocking(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    fcntl.fcntl(end, fcntl.F_SETFL, os.O_NONBLOCK)
    writer = LineWriter(described, file_descriptor=end)
    lines = "".join(f"{number:09}\n" for number in range(20_000))
    writer.write(lines)
    assert read_until(reader, b"000019999\n") == lines.encode()


def test_lines_of_several_threads_stay_whole(pipe: tuple[int, int]) -> None:
    reader, end = pipe
    writer = LineWriter(described, file_descriptor=end)

    def log(letter: str) -> None:
        for _ in range(200):
            writer.write(letter * 99 + "\n")

    threads = [threading.Thread(target=log, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    octets = b""
    while octets.count(b"\n") < 800:
        octets += os.read(reader, 65_536)
    for thread in threads:
        thread.join()
    assert sorted(octets.splitlines()) == sorted(letter.encode() * 99 for letter in "abcd" for _ in range(200))


_ENDS = """
import structlog, libs.runtime.logging as own
from prometheus_client import REGISTRY
own.configure("relay", "info")
log = structlog.get_logger()
for number in range(400):
    log.info("submission_stored", text="x" * 1000)
print("went on")
"""


def test_a_process_whose_log_nobody_reads_works_and_ends() -> None:
    """A pipe holds 64 KiB, and this process logs 400 KiB."""
    reader, end = os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", _ENDS], cwd=ROOT, stdout=subprocess.PIPE, stderr=end, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("went on\n", 0)
    os.close(end)
    whole = os.read(reader, 65_536).split(b"\n")[:-1]
    assert all(json.loads(line)["event"] == "submission_stored" for line in whole)
    os.close(reader)
